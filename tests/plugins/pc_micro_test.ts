// The PC board without a processor: where devices stand, what boot files mean, what the guest is told.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { bytesFile, type Placeable } from "../../core/plugin.ts";
import pc_micro from "../../plugins/pc_micro/board.ts";
import { readProgram } from "../../plugins/pc_micro/program.ts";
import { bootFiles, type BytesToBoot, bzImage, elf as makeElf, type ElfParts, pvhNote } from "../support/boot_files.ts";
import { FakeEngine } from "../support/fake_engine.ts";

const MIB = 2 ** 20;
const PORTS = 2 ** 52;

function board(ramSize = 64 * MIB, config = {}) {
  return pc_micro.create({ config: pc_micro.config.parse(config, "board"), harts: 2, ramSize, bios: false });
}

function device(plugin: string, more: Partial<Placeable> = {}): Placeable {
  return { name: plugin, plugin, regions: [{ name: "regs", size: 0x1000 }], irq: true, ...more };
}

Deno.test("pc_micro places devices where guests look for them", () => {
  const placed = board().place([
    device("serial_16550", { regions: [{ name: "regs", size: 0x100 }] }),
    device("virtio_blk"),
    device("virtio_net", { irqNumber: 6 }),
    device("virtio_rng"),
    device("thermometer"),
    device("lamp", { at: PORTS + 0x500, irq: false }),
  ]);
  assertEquals(placed, [
    { addresses: [PORTS + 0x3f8], irq: 4 },
    { addresses: [0xd000_0000], irq: 5 },
    { addresses: [0xd000_1000], irq: 6 },
    { addresses: [0xd000_2000], irq: 7 },
    { addresses: [0xd100_0000], irq: 9 },
    { addresses: [PORTS + 0x500], irq: undefined },
  ]);
});

Deno.test("pc_micro refuses places and interrupts that can not be had", () => {
  const refused = (devices: Placeable[], message: string) =>
    assertThrows(() => board().place(devices), RangeError, message);
  refused([device("a", { at: 0xfee0_0000 })], "Cannot place a at 0xfee00000: the local APIC is at 0xfee00000");
  refused(
    [device("a", { at: PORTS + 0x100 }), device("b", { at: PORTS + 0x800 })],
    "Cannot place b at port 0x800: a is at port 0x100",
  );
  refused([device("a", { at: PORTS + 2 })], "Cannot place a at port 0x2: wanted an address that is a multiple of 4");
  refused([device("a", { at: 0x1000, regions: [] })], "Cannot place a at 0x1000: it has no registers");
  refused([device("a", { irqNumber: 24 })], "Cannot wire a.irq: wanted a whole number from 1 to 23, got 24");
  const many = Array.from({ length: 18 }, (_, i) => device("virtio_rng", { name: `rng${i}` }));
  refused(many, "Cannot wire rng17: no interrupt is left");
  assertThrows(() => board(3584 * MIB), RangeError, "takes at most 3328M");
});

/** A boot of the board on an engine that runs nothing. */
function boot(
  files: BytesToBoot,
  {
    config = {},
    ramSize = 64 * MIB,
    description = { modes: ["real", "protected", "long"] } as Record<string, string[]>,
  } = {},
) {
  const engine = new FakeEngine(ramSize, 2, 0);
  const notified: string[] = [];
  Object.assign(engine, {
    description,
    notify: (at: number, width: number, values: readonly number[]) =>
      notified.push(`${at.toString(16)}/${width} ${values}`),
  });
  const made = board(ramSize, config);
  const placeables = [device("virtio_blk"), device("lamp")];
  const placements = made.place(placeables);
  const devices = placeables.map(({ irq: _asked, ...placeable }, i) => ({ ...placeable, ...placements[i] }));
  made.boot({
    engine,
    files: bootFiles(files),
    devices,
    write: (at, content) => engine.write(at, content),
  });
  return { engine, notified, entry: engine.harts[0].entry!, view: new DataView(engine.ram.buffer) };
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));

Deno.test("pc_micro enters a flat binary in real or in long mode", () => {
  const kernel = Uint8Array.of(0xf4);
  const real = boot({ kernel });
  assertEquals([real.entry.mode, real.entry.pc, real.engine.bytes(0x7c00, 1)[0]], ["real", 0x7c00n, 0xf4]);
  const long = boot({ kernel }, { config: { flat: "long" } });
  assertEquals([long.entry.mode, long.entry.pc, long.engine.bytes(0x10_0000, 1)[0]], ["long", 0x10_0000n, 0xf4]);
  assertEquals(long.entry.registers?.cr3, 0x9000n);
  // The page tables map the last page of 4 GiB to itself: 2 MiB, present, writable.
  assertEquals(long.view.getBigUint64(0x9000 + 5 * 4096 + 511 * 8, true), 0xffe0_0083n);
  assert(long.engine.harts[1].stopped);
});

/** An ELF file for x86-64 with one segment, and a PVH note if there is an entry for it. */
function elf(at: number, bytes: Uint8Array, { pvh = 0, machine = 62 } = {}): Uint8Array {
  const segment = { bytes, paddr: BigInt(at), memsz: BigInt(bytes.length + 16) };
  return makeElf({ machine, entry: BigInt(at), segments: pvh ? [segment, pvhNote(pvh)] : [segment] });
}

Deno.test("pc_micro loads an ELF kernel and tells it by the zero page what there is", () => {
  const kernel = elf(0x20_0000, Uint8Array.of(1, 2, 3));
  const initrd = new Uint8Array(5000).fill(9);
  const { entry, engine, view, notified } = boot({ kernel, initrd, append: "console=ttyS0" });
  assertEquals([entry.mode, entry.pc, entry.registers?.rsi], ["long", 0x20_0000n, 0x7000n]);
  assertEquals([...engine.bytes(0x20_0000, 4)], [1, 2, 3, 0]);
  const page = 0x7000;
  assertEquals(view.getUint32(page + 0x202, true), 0x53726448);
  assertEquals(
    text(engine.bytes(view.getUint32(page + 0x228, true), 200)),
    "reboot=t console=ttyS0 virtio_mmio.device=4K@0xd0000000:5",
  );
  const at = view.getUint32(page + 0x218, true);
  assertEquals([at, view.getUint32(page + 0x21c, true), engine.bytes(at, 1)[0]], [64 * MIB - 8192, 5000, 9]);
  const map = Array.from({ length: view.getUint8(page + 0x1e8) }, (_, i) => {
    const entry = page + 0x2d0 + 20 * i;
    return [view.getBigUint64(entry, true), view.getBigUint64(entry + 8, true), view.getUint32(entry + 16, true)];
  });
  assertEquals(map, [[0n, 0x9fc00n, 1], [0x9fc00n, 0x400n, 2], [0x10_0000n, 63n * BigInt(MIB), 1]]);
  assertEquals(notified, ["d0000050/4 0,1,2,3,4,5,6,7"]);
});

Deno.test("pc_micro's MP table adds up, and names every CPU and interrupt", () => {
  const { engine, view } = boot({ kernel: elf(0x20_0000, Uint8Array.of(1)) });
  const sum = (at: number, length: number) => engine.bytes(at, length).reduce((sum, byte) => sum + byte, 0) & 0xff;
  const at = 0x9fc00;
  assertEquals([view.getUint32(at, true), sum(at, 16)], [0x5f504d5f, 0]);
  const table = view.getUint32(at + 4, true);
  assertEquals([view.getUint32(table, true), sum(table, view.getUint16(table + 4, true))], [0x504d4350, 0]);
  const types: number[] = [];
  for (let entry = table + 44; entry < table + view.getUint16(table + 4, true);) {
    types.push(view.getUint8(entry));
    entry += types.at(-1) === 0 ? 20 : 8;
  }
  assertEquals(types.length, view.getUint16(table + 34, true));
  assertEquals([0, 1, 2, 3, 4].map((type) => types.filter((other) => other === type).length), [2, 1, 1, 24, 2]);
});

Deno.test("pc_micro enters by PVH where the kernel has it and the engine can", () => {
  const kernel = elf(0x20_0000, Uint8Array.of(1), { pvh: 0x20_0001 });
  const { entry, view, engine } = boot({ kernel, initrd: Uint8Array.of(7) });
  assertEquals([entry.mode, entry.pc, entry.registers?.rbx], ["protected", 0x20_0001n, 0x6000n]);
  assertEquals([view.getUint32(0x6000, true), view.getUint32(0x600c, true)], [0x336ec578, 1]);
  const module = Number(view.getBigUint64(0x6010, true));
  assertEquals(engine.bytes(Number(view.getBigUint64(module, true)), 1)[0], 7);
  assertEquals(boot({ kernel }, { description: { modes: ["long"] } }).entry.mode, "long");
  assertEquals(boot({ kernel }, { config: { entry: "linux" } }).entry.mode, "long");
  assertThrows(
    () => boot({ kernel: elf(0x20_0000, Uint8Array.of(1)) }, { config: { entry: "pvh" } }),
    RangeError,
    "Cannot boot the kernel: it has no PVH entry",
  );
});

Deno.test("pc_micro enters a bzImage at its 64-bit entry, with its own setup header", () => {
  const { entry, engine, view } = boot({ kernel: bzImage() });
  assertEquals([entry.mode, entry.pc, engine.bytes(0x100_0200, 1)[0]], ["long", 0x100_0200n, 0x90]);
  assertEquals([view.getUint16(0x7206, true), view.getUint8(0x7210), view.getUint32(0x7260, true)], [
    0x20f,
    0xff,
    0x20_0000,
  ]);
});

Deno.test("pc_micro refuses what it can not boot, with one sentence", () => {
  const refused = (files: BytesToBoot, message: string, options = {}) => {
    const error = assertThrows(() => boot(files, options)) as Error;
    assertEquals(error.message, message);
  };
  const kernel = (file: Uint8Array) => ({ kernel: file });
  refused({}, "Cannot boot: wanted a kernel, got none");
  refused({ bios: Uint8Array.of(1) }, "Cannot boot: the board pc_micro takes no bios, only a kernel");
  refused(kernel(new Uint8Array()), "Cannot boot the kernel: it is empty");
  refused(
    kernel(Uint8Array.of(0x1f, 0x8b, 8)),
    "Cannot boot the kernel: it is compressed by gzip; decompress it first",
  );
  refused(
    kernel(elf(0x20_0000, Uint8Array.of(1), { machine: 243 })),
    "Cannot boot the kernel: wanted an ELF file for x86-64 (machine 62), got one for machine 243",
  );
  refused(
    kernel(elf(0x1000, Uint8Array.of(1))),
    "Cannot boot the kernel: it is linked to 0x1000, wanted an address from 0x100000 to 0xcfffffff",
  );
  refused(kernel(bzImage({ version: 0x20b })), "Cannot boot the kernel: it has no 64-bit entry (boot protocol 2.11)");
  refused(
    { kernel: bzImage(), initrd: new Uint8Array(48 * MIB) },
    "Cannot boot: the boot files need at least 67M of memory, the machine has 64M",
  );
  refused(
    { kernel: bzImage(), append: "grüße" },
    `Cannot boot: the command line holds "ü", wanted ASCII`,
  );
  refused(
    kernel(new Uint8Array(640 * 1024).fill(0x90)),
    "Cannot boot the kernel: a flat binary in real mode has 622592 bytes at most, got 655360",
  );
});

Deno.test("pc_micro refuses a broken ELF, or one linked to where no RAM is, with its own numbers", () => {
  const refused = (parts: ElfParts, message: string) => {
    const error = assertThrows(() => boot({ kernel: makeElf({ machine: 62, ...parts }) }), RangeError) as Error;
    assertEquals(error.message, `Cannot boot the kernel: ${message}`);
  };
  const at = { paddr: 0x20_0000n };
  const entry = 0x20_0000n;
  const where = "does not lie in RAM, which is 0x0 to 0x3ffffff";
  refused({ segments: [] }, "its entry point lies in none of its segments");
  refused({ entry: 2n ** 53n + 1n, segments: [at] }, "its entry point lies in none of its segments");
  refused(
    { segments: [{ paddr: 2n ** 53n + 1n }] },
    `its segment of 0x4 bytes at 0x20000000000001 ${where}`,
  );
  refused(
    { segments: [{ ...at, memsz: 2n ** 64n - 1n }] },
    `its segment of 0xffffffffffffffff bytes at 0x200000 ${where}`,
  );
  refused({ segments: [{ ...at, offset: 2n ** 64n - 1n }] }, "its segment is cut off");
  refused(
    { segments: [{ ...at, filesz: 4n, memsz: 2n }] },
    "it has a segment with more bytes in the file than in memory",
  );
  refused({ entry, segments: [at, { type: 4, offset: 2n ** 63n }] }, "its note is cut off");
  refused({ segments: [at, pvhNote(0x30_0000)] }, "its entry point lies in none of its segments");
  const strange = makeElf({ machine: 62 });
  strange[54] = 64;
  assertThrows(() => boot({ kernel: strange }), RangeError, "its program header table has entries of 64 bytes");
});

Deno.test("pc_micro refuses a bzImage that wants to lie where it can not", () => {
  const refused = (address: bigint, message: string) =>
    assertThrows(() => boot({ kernel: bzImage({ address }) }), RangeError, message);
  const wanted = "wanted an address from 0x100000 to 0xcfffffff";
  refused(0x7000n, `Cannot boot the kernel: it is linked to 0x7000, ${wanted}`);
  refused(2n ** 64n - 1n, `Cannot boot the kernel: it is linked to 0xffffffffffffffff, ${wanted}`);
  refused(0x800_0000n, "Cannot boot: the boot files need at least 131M of memory, the machine has 64M");
});

Deno.test("pc_micro knows its kernels from others", () => {
  const takes = (kernel: Uint8Array) => pc_micro.takes!(bytesFile(kernel));
  assertEquals([bzImage(), elf(0x20_0000, Uint8Array.of(1))].map(takes), [true, true]);
  assertEquals([elf(0, Uint8Array.of(1), { machine: 243 }), Uint8Array.of(1), new Uint8Array(4096)].map(takes), [
    false,
    false,
    false,
  ]);
});

Deno.test("pc_micro survives every cut and every changed byte of a kernel", () => {
  const attempt = (kernel: Uint8Array): void => {
    try {
      readProgram(bytesFile(kernel), { ram: { base: 0, size: 64 * MIB }, flat: "long", pvh: true });
    } catch (error) {
      assert(error instanceof RangeError && error.message.startsWith("Cannot boot the kernel: "), String(error));
    }
  };
  for (const kernel of [elf(0x20_0000, Uint8Array.of(1), { pvh: 0x20_0000 }), bzImage()]) {
    for (let length = 0; length < kernel.length; length++) attempt(kernel.subarray(0, length));
    for (let i = 0; i < kernel.length; i++) {
      for (const value of [0, 1, 0x7f, 0xff]) attempt(kernel.with(i, value));
    }
  }
});
