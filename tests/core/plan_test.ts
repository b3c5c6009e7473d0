// Descriptions and plugins: every fault is one sentence with its place, and nothing is opened before all is checked.

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  defineBackend,
  defineBoard,
  defineDevice,
  type MachineDescription,
  type PluginDefinition,
} from "../../core/plugin.ts";
import { integer, object } from "../../core/schema.ts";
import { FakeHost } from "../support/fake_host.ts";
import { plainBoard, scriptEngine } from "../support/script_engine.ts";
import { device, scriptMachine, type ScriptOptions, waiting } from "../support/script_machine.ts";

const disk = device("disk", ["block"]);
const sized = defineDevice({
  name: "sized",
  needs: [],
  config: object({ size: integer({ min: 1, max: 8 }) }),
  stateVersion: 1,
  create: () => ({ state: {}, regions: [] }),
});
const store = defineBackend({
  name: "store",
  provides: "block",
  permissions: [],
  config: object({ sectors: integer() }),
  open: () => {
    throw new Error("a back end was opened");
  },
});

/** The sentence that a description is refused with. */
async function refusal(description: unknown, options: ScriptOptions = {}): Promise<string> {
  const error = await assertRejects(() =>
    scriptMachine({
      plugins: { disk, sized, store },
      ...options,
      description: description as MachineDescription,
    })
  );
  return (error as Error).message;
}

Deno.test("a description is refused by the path of its first fault", async () => {
  const refused: [unknown, string][] = [
    [{ memroy: 1 }, "Cannot configure machine.memroy: no such option (known: name, engine, "],
    [{ memory: "lots" }, 'Cannot configure machine.memory: wanted a size such as 4096, "64K"'],
    [
      { memory: "512K" },
      'Cannot configure machine.memory: wanted a size from 1M to 3584M, a multiple of 4K, got "512K"',
    ],
    [{ memory: "4G" }, 'wanted a size from 1M to 3584M, a multiple of 4K, got "4G"'],
    [{ memory: 2 ** 20 + 1 }, "a multiple of 4K, got 1048577"],
    [{ cpus: 0 }, "Cannot configure machine.cpus: wanted a whole number from 1 to 32, got 0"],
    [{ cpus: 33 }, "wanted a whole number from 1 to 32, got 33"],
    [{ clock: "wall" }, 'Cannot configure machine.clock: wanted one of "host", "instructions", got "wall"'],
    [{ boot: { kernel: 5 } }, "Cannot configure machine.boot.kernel: wanted a path, a URL or bytes, got 5"],
    [{ boot: { kernal: "x" } }, "Cannot configure machine.boot.kernal: no such option"],
    [{ devices: {} }, "Cannot configure machine.devices: wanted a list"],
    [{ devices: [{}] }, "Cannot configure machine.devices[0].use: wanted text, got undefined"],
    [
      { devices: [{ use: "sized", name: "a b" }] },
      "machine.devices[0].name: wanted a name of letters, digits, _ and -",
    ],
    [{ devices: [{ use: "sized", config: [] }] }, "machine.devices[0].config: wanted an object of options, got a list"],
    [
      { devices: [{ use: "disk", backends: { block: 4 } }] },
      "machine.devices[0].backends.block: wanted an object with use, config, got 4",
    ],
  ];
  for (const [description, sentence] of refused) assertStringIncludes(await refusal(description), sentence);
});

Deno.test("a device's configuration is refused under the device's name", async () => {
  const config = { size: 9 };
  assertEquals(
    await refusal({ devices: [{ use: "sized", config }] }),
    "Cannot configure sized0.size: wanted a whole number from 1 to 8, got 9",
  );
  assertEquals(
    await refusal({ devices: [{ use: "sized", name: "mine", config: { size: 1, colour: 1 } }] }),
    "Cannot configure mine.colour: no such option (known: size)",
  );
  assertEquals(
    await refusal({ devices: [{ use: "disk", backends: { block: { use: "store", config: { sectors: "many" } } } }] }),
    'Cannot configure disk0.backends.block.sectors: wanted a whole number from 0 to 9007199254740991, got "many"',
  );
});

Deno.test("names are unique, and made up where they are left out", async () => {
  const named = device("serial_8", []);
  const twice = [{ use: "serial_8", name: "a" }, { use: "serial_8", name: "a" }];
  assertEquals(
    await refusal({ devices: twice }, { plugins: { serial_8: named } }),
    'Cannot configure machine.devices[1].name: "a" is taken',
  );
  const names: string[] = [];
  const seen = device("disk", [], ({ name }) => (names.push(name), {}));
  const digits = device("serial_8", [], ({ name }) => (names.push(name), {}));
  await using _ = await scriptMachine({
    plugins: { disk: seen, serial_8: digits },
    description: { devices: [{ use: "disk" }, { use: "disk", name: "disk1" }, { use: "disk" }, { use: "serial_8" }] },
  });
  assertEquals(names, ["disk0", "disk1", "disk2", "serial_8_0"]);
});

Deno.test("a back end must be given, known to the device and of its service", async () => {
  assertEquals(
    await refusal({ devices: [{ use: "disk" }] }),
    "Cannot configure machine.devices[0].backends.block: disk needs a back end that provides block, got none",
  );
  assertEquals(
    await refusal({ devices: [{ use: "disk", backends: { net: { use: "store" } } }] }),
    "Cannot configure machine.devices[0].backends.net: disk takes block",
  );
  assertEquals(
    await refusal({ devices: [{ use: "net", backends: { net: { use: "store" } } }] }, {
      plugins: { net: device("net", ["net"]), store },
    }),
    "Cannot configure machine.devices[0].backends.net: wanted a back end that provides net, store provides block",
  );
});

Deno.test("a plugin is one of the caller's, a built-in one or a module", async () => {
  assertStringIncludes(
    await refusal({ devices: [{ use: "virtio_blkk" }] }),
    'Cannot configure machine.devices[0].use: no plugin is named "virtio_blkk" (known: script, plain, disk, sized, store, clint,',
  );
  const host = new FakeHost();
  const gadget = device("gadget", []);
  host.modules.set("file:///work/gadget.ts", gadget);
  host.modules.set("jsr:@you/gadget", gadget);
  const devices = [{ use: "./gadget.ts" }, { use: "/work/gadget.ts" }, { use: "jsr:@you/gadget" }];
  await using _ = await scriptMachine({ host, base: "file:///work/", description: { devices } });
  assertEquals(host.loaded, ["file:///work/gadget.ts", "jsr:@you/gadget"]);
  assertEquals(
    await refusal({ devices: [{ use: "./nothing.ts" }] }, { base: "file:///work/" }),
    'Cannot configure machine.devices[0].use: ./nothing.ts can not be loaded: Module not found "file:///work/nothing.ts"',
  );
  assertEquals(
    await refusal({ devices: [{ use: "nothing.ts" }] }, { base: "file:///work/" }),
    'Cannot configure machine.devices[0].use: nothing.ts can not be loaded: Module not found "nothing.ts"; ' +
      'write "./nothing.ts" for a file',
  );
  assertStringIncludes(
    await refusal({ devices: [{ use: "./nothing.ts" }] }),
    "./nothing.ts can not be loaded: ./nothing.ts is relative, without a base",
  );
});

Deno.test("what is not a plugin of this API is refused with what is wrong", async () => {
  const good = device("gadget", []);
  const refused: [unknown, string][] = [
    [
      undefined,
      "wanted a plugin made by defineDevice, defineBackend, defineEngine or defineBoard as its default export",
    ],
    [{ kind: "gizmo" }, "Cannot use plugins.gadget: wanted a plugin made by defineDevice"],
    [{ ...good, name: "My Gadget" }, 'wanted a snake_case name, got "My Gadget"'],
    [{ ...good, api: { major: 2, minor: 0 } }, "gadget is made for plugin API 2.0, this is 1.0"],
    [{ ...good, api: { major: 1, minor: 7 } }, "gadget is made for plugin API 1.7, this is 1.0"],
    [{ ...good, api: undefined }, "gadget is made for plugin API undefined.undefined"],
    [{ ...good, needs: "irq" }, 'wanted a list of texts as gadget.needs, got "irq"'],
    [{ ...good, create: undefined }, "wanted a function as gadget.create, got undefined"],
    [{ ...good, stateVersion: 0 }, "wanted a whole number from 1 as gadget.stateVersion, got 0"],
    [{ ...good, config: {} }, "wanted a schema as gadget.config, got an object"],
    [store, "Cannot configure machine.devices[0].use: wanted a device plugin, got backend store"],
  ];
  for (const [gadget, sentence] of refused) {
    const plugins = { gadget: gadget as PluginDefinition };
    assertStringIncludes(await refusal({ devices: [{ use: "gadget" }] }, { plugins }), sentence);
  }
});

Deno.test("engine and board must be made for each other", async () => {
  const foreign = defineBoard({ ...plainBoard, name: "foreign", architecture: "pdp11" });
  assertEquals(
    await refusal({ board: "foreign" }, { plugins: { foreign } }),
    "Cannot configure machine.board: foreign is for pdp11, the engine script runs script",
  );
  assertEquals(
    await refusal({ engine: "foreign" }, { plugins: { foreign } }),
    "Cannot configure machine.engine: wanted an engine plugin, got board foreign",
  );
});

Deno.test("an engine that the host can not run says why", async () => {
  const engine = { ...scriptEngine(waiting), probe: () => Promise.resolve({ usable: false, why: "no /dev/kvm" }) };
  assertEquals(
    await refusal({ engine: "kvm" }, { plugins: { kvm: engine as PluginDefinition } }),
    "Cannot use the engine script here: no /dev/kvm",
  );
});

Deno.test("the board's default devices come first, unless the description names one of the same plugin", async () => {
  const names: string[] = [];
  const note = (name: string) => device(name, [], (context) => (names.push(`${name}:${context.name}`), {}));
  const board = defineBoard({
    ...plainBoard,
    create: (context) => ({
      ...plainBoard.create(context),
      defaultDevices: [{ use: "timer" }, { use: "uart", name: "serial0" }],
    }),
  });
  await using _ = await scriptMachine({
    plugins: { plain: board, timer: note("timer"), uart: note("uart"), other: note("uart") },
    description: { devices: [{ use: "other", name: "mine" }] },
  });
  assertEquals(names, ["timer:timer0", "uart:mine"]);
});
