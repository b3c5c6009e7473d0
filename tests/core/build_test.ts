// Building: services, wires, boot files, and closing what was opened when building fails.

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { defineBackend, defineBoard, type MachineDescription, type Plain } from "../../core/plugin.ts";
import { object } from "../../core/schema.ts";
import { FakeHost } from "../support/fake_host.ts";
import { DEVICES, plainBoard, RAM } from "../support/script_engine.ts";
import { device, scriptMachine, type ScriptOptions } from "../support/script_machine.ts";

async function refusal(options: ScriptOptions): Promise<string> {
  return (await assertRejects(() => scriptMachine(options)) as Error).message;
}

const registers = {
  regions: [{ name: "regs", size: 0x100, widths: [4] as const, read: () => 0, write: () => {} }],
};

Deno.test("a device gets the services that it declared, its name and configuration, and nothing else", async () => {
  const seen: Record<string, string[]> = {};
  const note = (name: string, needs: readonly ("irq" | "dma" | "clock" | "stream" | "wallTime" | "power")[]) =>
    device(name, needs, (context) => (seen[name] = Object.keys(context).sort(), {}));
  await using _ = await scriptMachine({
    plugins: { none: note("none", []), some: note("some", ["irq", "stream", "wallTime"]) },
  });
  assertEquals(seen, {
    none: ["config", "machine", "name"],
    some: ["config", "irq", "machine", "name", "stream", "wallTime"],
  });
});

Deno.test("devices reach memory, interrupts and registers through their services", async () => {
  const log: string[] = [];
  const plic = device("plic", ["cpus"], ({ cpus }) => ({
    controller: { inputs: 16, set: (input, level) => (log.push(`input ${input} ${level}`), cpus.set(0, 9, level)) },
  }));
  const gadget = device("gadget", ["irq", "dma"], ({ irq, dma }) => ({
    regions: [{
      name: "regs",
      size: 0x100,
      widths: [4],
      read: (offset) => dma.load(RAM + offset, 4),
      write: (offset, value) => (dma.store(RAM + offset, value, 4), irq.set(value !== 0)),
    }],
  }));
  await using rig = await scriptMachine({
    plugins: { plic, gadget },
    *script({ context: { bus } }) {
      const gadget = DEVICES + 0x1000;
      log.push(
        `${bus.write(gadget + 8, 77, 4)} ${bus.read(gadget + 8, 4)} ${bus.read(gadget + 8, 1)} ${bus.read(0, 4)}`,
      );
      yield;
      bus.write(gadget, 0, 4);
      yield { off: 3 };
    },
  });
  assertEquals(await rig.machine.run(), { code: 3 });
  assertEquals(log, ["input 2 false", "input 2 true", "true 77 -1 -1", "input 2 false"]);
  assertEquals(rig.engine.invalidated, [`0x80000008+4`, `0x80000000+4`]);
});

Deno.test("regions that overlap each other or RAM are refused, and what was open is closed", async () => {
  const closed: string[] = [];
  const backend = (name: string) =>
    defineBackend({
      name,
      provides: "stream",
      permissions: [],
      config: object({}),
      open: () => ({ read: () => null, write: () => {}, close: () => void closed.push(name) }),
    });
  const gadget = device("gadget", ["stream"], ({ name }) => ({ ...registers, dispose: () => void closed.push(name) }));
  const plugins = { gadget, one: backend("one"), two: backend("two") };
  const at = (second: number): MachineDescription => ({
    devices: [
      { use: "gadget", name: "a", at: 0x1000, backends: { stream: { use: "one" } } },
      { use: "gadget", name: "b", at: second, backends: { stream: { use: "two" } } },
    ],
  });
  assertStringIncludes(
    await refusal({ plugins, description: at(0x10fc) }),
    "b.regs at 0x10fc…0x11fb: it overlaps a.regs",
  );
  assertEquals(closed, ["b", "a", "two", "one"]);
  assertEquals(
    await refusal({ plugins, description: at(RAM + 0xfff00) }),
    "Cannot place b.regs at 0x800fff00: it overlaps RAM",
  );
});

Deno.test("what a plugin throws is told with its place, and a sentence of its own as it is", async () => {
  const throws = (message: string) => () => {
    throw new Error(message);
  };
  const refusals = async (message: string) => {
    const store = defineBackend({
      name: "store",
      provides: "block",
      permissions: [],
      config: object({}),
      open: throws(message),
    });
    const description = { devices: [{ use: "disk", backends: { block: { use: "store" } } }] };
    return [
      await refusal({ plugins: { gadget: device("gadget", [], throws(message)) } }),
      await refusal({ plugins: { disk: device("disk", ["block"]), store }, description }),
    ];
  };
  assertEquals(await refusals("out of luck"), [
    "Cannot create gadget0: gadget.create: out of luck",
    "Cannot open disk0.backends.block: store.open: out of luck",
  ]);
  assertEquals(await refusals("Cannot find luck"), ["Cannot find luck", "Cannot find luck"]);
});

Deno.test("a device that is none is refused with what is missing", async () => {
  const refused: [Record<string, unknown>, string][] = [
    [{ state: new Map() }, "Cannot keep gadget0.state: wanted plain data, got a Map"],
    [{ regions: {} }, "Cannot create gadget0: gadget.create gave a device without a list of regions"],
    [{ regions: [{ name: "regs" }] }, "gave a region without name, size, widths, read or write"],
  ];
  for (const [part, sentence] of refused) {
    assertStringIncludes(await refusal({ plugins: { gadget: device("gadget", [], () => part) } }), sentence);
  }
});

Deno.test("two interrupt controllers are refused", async () => {
  const controller = device("plic", [], () => ({ controller: { inputs: 4, set() {} } }));
  const description = { devices: [{ use: "plic" }, { use: "plic" }] };
  assertEquals(
    await refusal({ plugins: { plic: controller }, description }),
    "Cannot wire interrupts: wanted one interrupt controller, got plic0 and plic1",
  );
});

Deno.test("a pinned interrupt is shared where two devices ask for it", async () => {
  const levels: string[] = [];
  const plic = device("plic", [], () => ({
    controller: { inputs: 16, set: (input, level) => void levels.push(`${input} ${level}`) },
  }));
  const gadget = device("gadget", ["irq"], ({ irq }) => ({
    regions: [{ name: "regs", size: 4, widths: [4], read: () => 0, write: (_, value) => irq.set(value !== 0) }],
  }));
  await using rig = await scriptMachine({
    plugins: { plic, gadget },
    description: { devices: [{ use: "plic" }, { use: "gadget", irq: 7 }, { use: "gadget", irq: 7 }] },
    *script({ context: { bus } }) {
      for (const [device, level] of [[1, 1], [2, 1], [1, 0], [2, 0]]) bus.write(DEVICES + device * 0x1000, level, 4);
      yield;
    },
  });
  await rig.machine.run();
  assertEquals(levels, ["7 false", "7 true", "7 false"]);
});

Deno.test("boot files are read when needed, again at a reset, and are refused by name", async () => {
  const host = new FakeHost();
  host.files.set("file:///work/kernel", Uint8Array.of(1, 2, 3));
  const loaded: number[] = [];
  const boot = (description: MachineDescription) =>
    scriptMachine({
      host,
      base: "file:///work/",
      description,
      *script({ ram }) {
        loaded.push(new Uint8Array(ram.buffer)[0]);
        yield;
      },
    });
  await using rig = await boot({ boot: { kernel: "kernel" } });
  await rig.machine.run();
  host.files.set("file:///work/kernel", Uint8Array.of(9));
  await rig.machine.reset();
  await rig.machine.run();
  assertEquals(loaded, [1, 9]);
  assertEquals(rig.machine.deviceTree(), Uint8Array.of(0xd0, 0x0d));
  const error = await assertRejects(() => boot({ boot: { kernel: "missing" } })) as Error;
  assertEquals(error.message, "Cannot read kernel missing: file:///work/missing does not exist");
});

Deno.test("a boot file larger than RAM is refused", async () => {
  assertEquals(
    await refusal({ description: { boot: { kernel: new Uint8Array(2 ** 20 + 1) } } }),
    "Cannot load 1048577 bytes at 0x80000000: RAM reaches from 0x80000000 to 0x80100000",
  );
});

Deno.test("RAM is shared where the description asks for it", async () => {
  await using rig = await scriptMachine({ description: { sharedMemory: true } });
  assertEquals(rig.engine.ram.buffer instanceof SharedArrayBuffer, true);
});

Deno.test("firmware reaches harts, memory, power and the first console", async () => {
  const board = defineBoard({
    ...plainBoard,
    create: (context) => ({
      ...plainBoard.create(context),
      firmware: ({ harts, memory, power, console }) => ({
        call(hart) {
          harts()[hart].setInterrupt(1, true);
          memory.store(RAM, 5, 1);
          console(new TextEncoder().encode("hello"));
          power("off", memory.load(RAM, 1));
        },
      }),
    }),
  });
  await using rig = await scriptMachine({
    plugins: { plain: board, uart: device("uart", ["stream"]) },
    *script({ context: { firmware } }) {
      firmware?.call(0);
      while (true) yield;
    },
  });
  assertEquals(await rig.machine.run(), { code: 5 });
  const { value } = await rig.machine.console.readable.getReader().read();
  assertEquals(new TextDecoder().decode(value), "hello");
});

Deno.test("a machine that brings its own firmware gets none of the board's", async () => {
  const asked: Plain[] = [];
  const board = defineBoard({
    ...plainBoard,
    create: (context) => ({
      ...plainBoard.create(context),
      firmware: () => {
        asked.push("firmware");
        return { call() {} };
      },
    }),
  });
  await using rig = await scriptMachine({
    plugins: { plain: board },
    description: { boot: { bios: Uint8Array.of(0) } },
  });
  assertEquals([asked, rig.engine.context.firmware], [[], undefined]);
});
