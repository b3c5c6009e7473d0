// Tests plugins/riscv_virt: places, device tree, layout of RAM and how harts enter.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeTree, formatTree, type TreeNode } from "../../core/device_tree.ts";
import type { Board, BootContext, DeviceTreePart, Placeable } from "../../core/plugin.ts";
import riscvVirt from "../../plugins/riscv_virt/board.ts";
import { bootFiles, type BytesToBoot, elf, linuxImage, LOOP } from "../support/boot_files.ts";
import { dtc, hasDtc } from "../support/dtc.ts";
import { FakeEngine } from "../support/fake_engine.ts";

const MEBIBYTE = 2 ** 20;

function board({ ramSize = 16 * MEBIBYTE, harts = 1, bios = false } = {}): Board {
  return riscvVirt.create({ config: riscvVirt.config.parse({}, "board"), harts, ramSize, bios });
}

function device(plugin: string, more: Partial<Placeable> & { size?: number; name?: string } = {}): Placeable {
  const { size = 0x1000, ...rest } = more;
  return { name: `${plugin}0`, plugin, regions: [{ name: "regs", size }], irq: true, ...rest };
}

function places(...devices: Placeable[]): string[] {
  return board().place(devices).map(({ addresses, irq }) =>
    `${addresses.map((at) => at.toString(16)).join(" ")} irq ${irq}`
  );
}

Deno.test("known devices stand where guests expect them", () => {
  assertEquals(
    places(
      device("clint", { irq: false, size: 0x10000 }),
      device("plic", { irq: false, size: 0x60_0000 }),
      device("syscon", { irq: false }),
      device("goldfish_rtc"),
      device("serial_16550", { size: 0x100 }),
      device("virtio_blk"),
      device("virtio_net"),
    ),
    [
      "2000000 irq undefined",
      "c000000 irq undefined",
      "100000 irq undefined",
      "101000 irq 11",
      "10000000 irq 10",
      "10001000 irq 1",
      "10002000 irq 2",
    ],
  );
});

Deno.test("virtio devices past the eighth get the next places and later interrupts", () => {
  const all = places(...Array.from({ length: 33 }, (_, i) => device("virtio_blk", { name: `disk${i}` })));
  assertEquals(all[7], "10008000 irq 8");
  assertEquals(all[8], "10009000 irq 32");
  assertEquals(all[31], "10020000 irq 55");
  assertEquals(all[32], "20000000 irq 64");
});

Deno.test("other devices stand in the free space, in order, on their size's multiples", () => {
  assertEquals(
    places(
      device("serial_16550"),
      device("serial_16550", { name: "serial1" }),
      device("ring", { size: 0x18000 }),
      device("lamp", { regions: [{ name: "a", size: 4 }, { name: "b", size: 4 }], irq: false }),
      device("clint", { size: 0x20000 }),
      device("constructor"),
      device("thought", { regions: [] }),
    ),
    [
      "10000000 irq 10",
      "20000000 irq 64",
      "20020000 irq 65",
      "20010000 20040000 irq undefined",
      "20060000 irq 66",
      "20050000 irq 67",
      " irq 68",
    ],
  );
});

Deno.test("pinned places come first and the rest goes around them", () => {
  assertEquals(
    places(
      device("serial_16550"),
      device("lamp", { at: 0x1000_0000 }),
      device("ring", { irqNumber: 64 }),
      device("bell", { irqNumber: 64 }),
      device("horn"),
      device("virtio_blk", { at: 0x1000_3000 }),
      device("virtio_net"),
    ),
    [
      "20000000 irq 65",
      "10000000 irq 10",
      "20010000 irq 64",
      "20020000 irq 64",
      "20030000 irq 66",
      "10003000 irq 3",
      "10001000 irq 1",
    ],
  );
});

Deno.test("a place that can not be had is refused with both names", () => {
  const refuse = (message: string, ...devices: Placeable[]): void => {
    const error = assertThrows(() => places(...devices), RangeError);
    assertEquals((error as Error).message, message);
  };
  refuse(
    "Cannot place bell0 at 0x30000ffc: lamp0 is at 0x30000000, 0x1000 bytes long",
    device("lamp", { at: 0x3000_0000 }),
    device("bell", { at: 0x3000_0ffc }),
  );
  refuse(
    "Cannot place lamp0 at 0x7ffff004: RAM is at 0x80000000, 0x1000000 bytes long",
    device("lamp", { at: 0x7fff_f004 }),
  );
  refuse(
    "Cannot place lamp0 at 0x30000002: wanted an address that is a multiple of 4",
    device("lamp", { at: 0x3000_0002 }),
  );
  refuse("Cannot place lamp0 at 0x1000: it has no registers", device("lamp", { at: 0x1000, regions: [] }));
  refuse(
    "Cannot place lamp0: no room for its 0x60000000 bytes of registers",
    device("lamp", { size: 0x6000_0000 }),
  );
  refuse("Cannot wire lamp0.irq: wanted a whole number from 1 to 127, got 128", device("lamp", { irqNumber: 128 }));
  const many = Array.from({ length: 65 }, (_, i) => device("lamp", { name: `lamp${i}` }));
  refuse("Cannot wire lamp64: no interrupt is left; pin one with irq", ...many);
});

const PARTS: Record<string, DeviceTreePart> = {
  clint: { compatible: ["sifive,clint0", "riscv,clint0"], cpuLines: [3, 7] },
  plic: {
    compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
    properties: { "interrupt-controller": true, "#interrupt-cells": 1, "#address-cells": 0, "riscv,ndev": 127 },
    cpuLines: [11, 9],
  },
  syscon: {
    compatible: "syscon",
    companions: { poweroff: { compatible: "syscon-poweroff", regmap: { phandle: "self" }, offset: 0, value: 0x5555 } },
  },
  serial_16550: { node: "serial", compatible: "ns16550a", properties: { "clock-frequency": 3686400, hidden: false } },
  lamp: { compatible: "acme,lamp", properties: { "acme,chain": ["self", 3], levels: [1, 2], names: ["low", "high"] } },
  thought: { compatible: "acme,thought" },
};

/** A machine about to boot. */
function context(
  files: BytesToBoot,
  { ramSize = 16 * MEBIBYTE, harts = 1, extra = [] as Placeable[] } = {},
): { board: Board; engine: FakeEngine; boot: BootContext } {
  const engine = new FakeEngine(ramSize, harts);
  const made = board({ ramSize, harts, bios: files.bios !== undefined });
  const devices = [
    device("clint", { irq: false, size: 0x10000 }),
    device("plic", { irq: false, size: 0x60_0000 }),
    device("syscon", { irq: false }),
    device("serial_16550", { size: 0x100 }),
    ...extra,
  ];
  const placements = made.place(devices);
  return {
    board: made,
    engine,
    boot: {
      engine,
      files: bootFiles(files),
      write: (at, content) => engine.write(at, content),
      devices: devices.map((part, i) => ({
        ...part,
        ...placements[i],
        irq: placements[i].irq,
        tree: PARTS[part.plugin],
      })),
    },
  };
}

function find(tree: TreeNode, path: string): TreeNode {
  return path.split("/").slice(1).reduce((at, name) => {
    const child = at.children.find((candidate) => candidate.name === name);
    assert(child, `${path} is missing`);
    return child;
  }, tree);
}

Deno.test("the device tree tells the devices' places, interrupts and each other", () => {
  const { board, boot } = context({ append: "quiet" }, {
    harts: 2,
    extra: [
      device("lamp"),
      device("thought", { regions: [], irq: false }),
      device("syscon", { name: "second", irq: false }),
    ],
  });
  const text = formatTree(decodeTree(board.describe(boot)));
  for (
    const part of [
      'bootargs = "quiet";\n\t\tstdout-path = "/soc/serial@10000000";',
      'serial0 = "/soc/serial@10000000";',
      'memory@80000000 {\n\t\tdevice_type = "memory";\n\t\treg = <0x0 0x80000000 0x0 0x1000000>;',
      "timebase-frequency = <0x989680>;",
      'mmu-type = "riscv,sv57";',
      'riscv,isa = "rv64imafdc_zicsr_zifencei_sstc";',
      'riscv,isa-extensions = "i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "sstc";',
      'serial@10000000 {\n\t\t\tcompatible = "ns16550a";\n\t\t\treg = <0x0 0x10000000 0x0 0x100>;\n' +
      "\t\t\tclock-frequency = <0x384000>;\n\t\t\tinterrupt-parent = <0x3>;\n\t\t\tinterrupts = <0xa>;\n\t\t};",
      "interrupts-extended = <0x1 0x3 0x1 0x7 0x2 0x3 0x2 0x7>;",
      "interrupts-extended = <0x1 0xb 0x1 0x9 0x2 0xb 0x2 0x9>;",
      'acme,chain = <0x4 0x3>;\n\t\t\tlevels = <0x1 0x2>;\n\t\t\tnames = "low", "high";',
      '\tpoweroff {\n\t\tcompatible = "syscon-poweroff";\n\t\tregmap = <0x5>;',
      '\tpoweroff-2 {\n\t\tcompatible = "syscon-poweroff";\n\t\tregmap = <0x6>;',
      '\n\tthought {\n\t\tcompatible = "acme,thought";\n\t};',
    ]
  ) assertStringIncludes(text, part);
  assertEquals(text.includes("hidden"), false);
  assertEquals(text.includes("initrd"), false);
});

Deno.test({
  name: "the device tree satisfies dtc",
  ignore: !hasDtc(),
  async fn() {
    const { board, boot } = context({ kernel: linuxImage(), initrd: new Uint8Array(5000), append: "quiet" }, {
      harts: 3,
      extra: [device("lamp"), device("thought", { regions: [], irq: false })],
    });
    const blob = Uint8Array.from(board.describe(boot));
    assertEquals((await dtc("dtb", "dts", blob)).complaints, "");
  },
});

Deno.test("an engine without an ISA is refused", () => {
  const { board, engine, boot } = context({});
  engine.description.isa = "x86";
  const message = 'Cannot describe the CPUs: wanted an ISA text such as "rv64imafdc_zicsr", got x86';
  assertThrows(() => board.describe(boot), TypeError, message);
});

/** The device tree that hart `id` was given. */
function treeOf(engine: FakeEngine, id = 0): TreeNode {
  return decodeTree(engine.bytes(Number(engine.harts[id].get("a1")), 8192).slice());
}

Deno.test("a Linux Image is entered in S-mode by hart 0, with its initrd and device tree", () => {
  const initrd = new Uint8Array(5000).fill(7);
  const kernel = linuxImage();
  const { board, engine, boot } = context({ kernel, initrd, append: "quiet" }, { harts: 2 });
  board.boot(boot);
  const [first, second] = engine.harts;
  assertEquals(second.stopped, true);
  assertEquals([first.entry?.pc, first.entry?.mode], [0x8020_0000n, "S"]);
  assertEquals(["a0", "satp", "scounteren"].map((name) => first.get(name)), [0n, 0n, 7n]);
  assertEquals(engine.bytes(0x8020_0000, kernel.length), kernel);
  const chosen = find(treeOf(engine), "/chosen");
  const cells = (name: string): number => {
    const bytes = chosen.properties[name] as Uint8Array;
    return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
  };
  const start = cells("linux,initrd-start");
  assertEquals([start % 4096, cells("linux,initrd-end") - start], [0, 5000]);
  assertEquals(engine.bytes(start, 5000), initrd);
  assertEquals(board.describe(boot), engine.bytes(Number(first.get("a1")), board.describe(boot).length).slice());
});

Deno.test("the device tree seeds the guest's random numbers, if there is a seed", () => {
  const { board, engine, boot } = context({ kernel: linuxImage() });
  const seed = Uint8Array.from({ length: 32 }, (_, i) => i);
  board.boot({ ...boot, seed });
  assertEquals(find(treeOf(engine), "/chosen").properties["rng-seed"], seed);
  assertEquals(find(decodeTree(board.describe(boot)), "/chosen").properties["rng-seed"], undefined);
});

Deno.test("a machine boots again after a reset", () => {
  const { board, engine, boot } = context({ kernel: elf({ segments: [{ memsz: 200_000n }] }) });
  board.boot(boot);
  engine.bytes(0x8000_0000, 200_000).fill(0xee);
  engine.reset();
  board.boot(boot);
  assertEquals(engine.bytes(0x8000_0000, 4), LOOP);
  assertEquals(engine.bytes(0x8000_0004, 199_996).every((byte) => byte === 0), true);
  assertEquals(engine.bytes(0x8000_0000 + 200_000, 1)[0], 0);
});

Deno.test("a flat kernel is entered at RAM's base", () => {
  const { board, engine, boot } = context({ kernel: LOOP });
  board.boot(boot);
  assertEquals([engine.harts[0].entry?.pc, engine.harts[0].entry?.mode], [0x8000_0000n, "S"]);
});

Deno.test("a test program is entered in M-mode by all harts and speaks HTIF", () => {
  const kernel = elf({ segments: [{ memsz: 0x100n }], symbols: { tohost: 0x8000_0040n, fromhost: 0x8000_0048n } });
  const { board, engine, boot } = context({ kernel }, { harts: 2 });
  board.boot(boot);
  assertEquals(engine.watched, { tohost: 0x8000_0040, fromhost: 0x8000_0048 });
  assertEquals(engine.harts.map(({ entry }) => [entry?.pc, entry?.mode]), Array(2).fill([0x8000_0000n, "M"]));
});

Deno.test("a bios is entered in M-mode by all harts and told of the kernel", () => {
  const { board, engine, boot } = context({ bios: LOOP, kernel: LOOP }, { harts: 2 });
  assertEquals(board.firmware, undefined);
  board.boot(boot);
  engine.harts.forEach((hart, id) => {
    assertEquals([hart.entry?.pc, hart.entry?.mode, hart.get("a0")], [0x8000_0000n, "M", BigInt(id)]);
  });
  const info = Number(engine.harts[1].get("a2"));
  const fields = new DataView(engine.ram.buffer, info - engine.ram.base, 48);
  assertEquals(
    [0, 8, 16, 24, 32, 40].map((at) => fields.getBigUint64(at, true)),
    [0x4942534fn, 2n, 0x8020_0000n, 1n, 0n, 0n],
  );
  assertEquals(engine.bytes(0x8020_0000, 4), LOOP);
  assertEquals(find(treeOf(engine, 1), "/cpus").children.length, 2);
});

Deno.test("files that do not fit are refused with what they need", () => {
  const refuse = (files: BytesToBoot, message: string, ramSize = 4 * MEBIBYTE): void => {
    const { board, engine, boot } = context(files, { ramSize });
    const error = assertThrows(() => board.boot(boot)) as Error;
    assertEquals(error.message, message);
    assertEquals(engine.harts[0].stopped, true);
  };
  const needs = (size: string) => `Cannot boot: the boot files need at least ${size} of memory, the machine has 4M`;
  refuse({}, "Cannot boot: wanted a kernel or a bios, got neither");
  refuse({ kernel: linuxImage({ imageSize: 0x200_0000n }) }, needs("35M"));
  refuse({ kernel: linuxImage(), initrd: new Uint8Array(10 * MEBIBYTE) }, needs("13M"));
  refuse({ kernel: linuxImage({ imageSize: (1n << 64n) - 1n }) }, needs("17592186044419M"));
  refuse({ kernel: linuxImage({ textOffset: 1n << 40n }) }, needs("1048577M"));
  refuse(
    { bios: new Uint8Array(3 * MEBIBYTE).fill(0x13), kernel: LOOP },
    "Cannot boot: the bios, up to 0x80300000, and the kernel, from 0x80200000, overlap",
  );
});

Deno.test("exactly the memory that a refusal asks for is enough", () => {
  const kernel = linuxImage({ imageSize: 0x200_0000n });
  const { board, engine, boot } = context({ kernel, initrd: new Uint8Array(MEBIBYTE) }, { ramSize: 36 * MEBIBYTE });
  board.boot(boot);
  assertEquals(engine.harts[0].stopped, false);
});

Deno.test("board offers firmware unless the guest brings its own", () => {
  assert(board().firmware);
  assertEquals(board({ bios: true }).firmware, undefined);
  assertEquals(board().unassigned(0x4000, 4, false), -1);
  assertEquals(board().defaultDevices.map(({ use }) => use), [
    "clint",
    "plic",
    "syscon",
    "goldfish_rtc",
    "serial_16550",
  ]);
  assertThrows(() => riscvVirt.config.parse({ timebase: 0 }, "board"), TypeError, "Cannot configure board.timebase");
});
