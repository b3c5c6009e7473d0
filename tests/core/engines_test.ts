// The choice of an engine where a description leaves it open.

import { assertEquals, assertRejects } from "@std/assert";
import { chooseEngine, type EngineChoice } from "../../core/engines.ts";
import { checkDescription } from "../../core/description.ts";
import { bytesFile, defineBoard, defineEngine, type MachineDescription } from "../../core/plugin.ts";
import { Registry } from "../../core/registry.ts";
import { object } from "../../core/schema.ts";
import { FakeHost } from "../support/fake_host.ts";
import { plainBoard, scriptEngine } from "../support/script_engine.ts";

/** An engine for kernels that begin with 7, which is better than the other, `script`, where it works. */
function world({ usable = true, counts = false } = {}) {
  const asked: string[] = [];
  const fast = defineEngine({
    name: "fast",
    architectures: ["seven"],
    defaultBoard: "board_seven",
    counts,
    config: object({}),
    probe: () => {
      asked.push("probe");
      return Promise.resolve(usable ? { usable } : { usable, why: "it is broken" });
    },
    open: () => {
      throw new Error("not opened here");
    },
  });
  const board = defineBoard({
    name: "board_seven",
    architecture: "seven",
    config: object({}),
    takes: (file) => file.slice(0, 1)[0] === 7,
    create: () => {
      throw new Error("not made here");
    },
  });
  const host = new FakeHost();
  const plugins = { fast, board_seven: board, script: scriptEngine(function* () {}), plain: plainBoard };
  const choice: EngineChoice = {
    registry: new Registry(host, {}),
    host: {
      resolve: (location) => location,
      openFile: (location) => {
        asked.push(location);
        return location.endsWith("seven")
          ? Promise.resolve(bytesFile(Uint8Array.of(7)))
          : Promise.reject(new Error("no"));
      },
    },
    engines: ["fast", "script"],
    plugins: plugins as never,
  };
  const choose = async (description: MachineDescription) =>
    (await chooseEngine(checkDescription(description), choice)).use;
  return { choose, asked };
}

Deno.test("the better engine is chosen where it works and the kernel is for it", async () => {
  const { choose } = world();
  assertEquals(await choose({ boot: { kernel: Uint8Array.of(7) } }), "fast");
  assertEquals(await choose({ boot: { kernel: "seven" } }), "fast");
  assertEquals(await choose({ boot: { kernel: Uint8Array.of(8) } }), "script");
  assertEquals(await choose({ boot: { kernel: "missing" } }), "script");
  assertEquals(await choose({}), "script");
});

Deno.test("a guest that is plainly for an engine that does not work is refused with the reason", async () => {
  const { choose } = world({ usable: false });
  const why = "Cannot run the guest: it is for seven, and the engine fast can not be used here: it is broken";
  await assertRejects(() => choose({ boot: { kernel: Uint8Array.of(7) } }), Error, why);
  await assertRejects(() => choose({ boot: { kernel: "file:///seven" } }), Error, why);
  await assertRejects(() => choose({ board: "board_seven" }), Error, why);
  assertEquals(await choose({ boot: { kernel: Uint8Array.of(8) } }), "script");
  assertEquals(await choose({ board: "plain", boot: { kernel: Uint8Array.of(7) } }), "script");
});

Deno.test("a board that is named decides, whatever the kernel", async () => {
  const { choose } = world();
  assertEquals(await choose({ board: "board_seven" }), "fast");
  assertEquals(await choose({ board: "plain", boot: { kernel: Uint8Array.of(7) } }), "script");
  await assertRejects(() => choose({ board: "none" }), TypeError, "Cannot configure machine.board: no plugin is named");
});

Deno.test("the instruction clock wants an engine that counts", async () => {
  const description = { clock: "instructions", boot: { kernel: Uint8Array.of(7) } } as const;
  await assertRejects(
    () => world().choose(description),
    Error,
    "the engine fast can not be used here: it does not count",
  );
  assertEquals(await world().choose({ ...description, boot: { kernel: Uint8Array.of(8) } }), "script");
  assertEquals(await world({ counts: true }).choose(description), "fast");
});

Deno.test("a kernel is not fetched where the better engine does not work", async () => {
  const { choose, asked } = world({ usable: false });
  assertEquals(await choose({ boot: { kernel: "seven" } }), "script");
  assertEquals(asked, ["probe"]);
});
