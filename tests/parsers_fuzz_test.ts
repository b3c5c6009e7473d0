// Everything that reads files, before files that are nearly right, and files made to hurt: a result or one clear error,
// in bounded time, and (under parsers_memory_test.ts) in bounded memory.

import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { findPackages, parseRelease } from "../cli/images/archive.ts";
import { cpio, type CpioEntry } from "../cli/images/cpio.ts";
import { stripModule } from "../cli/images/elf_strip.ts";
import { ImageError } from "../cli/images/errors.ts";
import { collect, once, packageFiles, unxz } from "../cli/images/unpack.ts";
import { JsonError, parseJson } from "../cli/json.ts";
import { Random } from "../cli/fuzz/random.ts";
import { checkDescription } from "../core/description.ts";
import { decodeTree, encodeTree, formatTree, node } from "../core/device_tree.ts";
import { decodePlain, encodePlain } from "../core/plain.ts";
import type { BootContext, BootFile, Bytes, MachineDescription, Plain } from "../core/plugin.ts";
import { boot as bootPc } from "../plugins/pc_micro/boot.ts";
import { boot as bootRiscv } from "../plugins/riscv_virt/boot.ts";
import { bootFiles, bzImage, elf, type ElfSegment, linuxImage, LOOP, notes, pvhNote } from "./support/boot_files.ts";
import { deb } from "./support/fake_archive.ts";
import { FakeEngine } from "./support/fake_engine.ts";
import { type Parser, SEED, SLOW, testNearlyRight } from "./support/nearly_right.ts";
import { XZ_COMPRESSED, XZ_CONTENT, xzWithDictionary } from "./support/xz_compressed.ts";
import { xzStored } from "./support/xz_stored.ts";

const MIB = 2 ** 20;

const RAM_SIZE = 16 * MIB;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A module as the kernel has it: code, a debug section, symbols and relocations. */
function kernelModule(): Uint8Array {
  const names = encoder.encode("\0local\0unused\0global\0");
  const symbols = new Uint8Array(24 * 4);
  [0, 1, 7, 14].forEach((name, i) => new DataView(symbols.buffer).setUint32(24 * i, name, true));
  const relocations = new Uint8Array(24);
  new DataView(relocations.buffer).setUint32(12, 1, true);
  const bodies = [new Uint8Array(0), new Uint8Array(64).fill(0x13), new Uint8Array(32), symbols, names, relocations];
  const headers = [[0, 0, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0], [2, 0, 4, 3], [3, 0, 0, 0], [4, 0, 3, 1]];
  let end = 64;
  const places = bodies.map((body) => (end += body.length) - body.length);
  const table = Math.ceil(end / 8) * 8;
  const file = new Uint8Array(table + 64 * bodies.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 1, true);
  view.setBigUint64(40, BigInt(table), true);
  view.setUint16(60, bodies.length, true);
  bodies.forEach((body, i) => {
    const at = table + 64 * i;
    const [type, flags, link, info] = headers[i];
    file.set(body, places[i]);
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 8, BigInt(flags), true);
    view.setBigUint64(at + 24, BigInt(places[i]), true);
    view.setBigUint64(at + 32, BigInt(body.length), true);
    view.setUint32(at + 40, link, true);
    view.setUint32(at + 44, info, true);
    view.setBigUint64(at + 48, 8n, true);
  });
  return file;
}

const TREE = encodeTree(node("", { compatible: "test", "#address-cells": 2 }, [
  node("memory@80000000", { reg: [0, 0x8000_0000] }),
  node("cpus", {}, [node("cpu@0", { status: "okay" })]),
]));

const DESCRIPTION = JSON.stringify({
  name: "m",
  memory: "256M",
  cpus: 2,
  clock: "host",
  boot: { kernel: "vmlinux", append: "quiet" },
  devices: [{
    use: "virtio_blk",
    name: "disk0",
    at: 4096,
    irq: 3,
    backends: { block: { use: "file_disk", config: { path: "x" } } },
  }],
});

const INDEX = `Package: alpha\nVersion: 1\nFilename: pool/a.deb\nSize: 10\nSHA256: aa\n\nPackage: beta\nVersion: 2\n` +
  `Depends: tools (>= 1), kernel (= 2-1) | other\nFilename: pool/k.deb\nSize: 20\nSHA256: bb\n`;

const STATE: Plain = { list: [1, 2n, "three", null, undefined, true, Uint8Array.of(1, 2)], deep: { deeper: [[], {}] } };

/** A machine that loads a kernel and starts, and runs nothing. */
function loader(base: number, boot: (context: BootContext) => void): (kernel: Uint8Array) => void {
  const engine = new FakeEngine(RAM_SIZE, 1, base);
  engine.description.modes = ["real", "protected", "long"];
  return (kernel) => {
    engine.reset();
    const write = (at: number, content: Bytes | BootFile) => engine.write(at, content);
    boot({ engine, files: bootFiles({ kernel, append: "quiet" }), write, devices: [] });
  };
}

const loadRiscv = loader(0x8000_0000, (context) => bootRiscv(context, 10_000_000));
const loadPc = loader(0, (context) => bootPc(context, { flat: "long", entry: "auto" }));
const loadPcReal = loader(0, (context) => bootPc(context, { flat: "real", entry: "linux" }));

const packagePath = Deno.makeTempFileSync({ suffix: ".deb" });
globalThis.addEventListener("unload", () => {
  try {
    Deno.removeSync(packagePath);
  } catch {
    // Another run of this file has removed it.
  }
});

const PARSERS: Record<string, Parser> = {
  "ELF programs": {
    valid: [
      elf({ segments: [{}, { paddr: 0x8000_1000n, memsz: 0x1000n }], symbols: { tohost: 0x8000_0000n, other: 1n } }),
    ],
    read: loadRiscv,
    errors: [RangeError],
    message: /^Cannot boot/,
  },
  "Linux Images and flat programs": {
    valid: [linuxImage({ length: 512 }), new Uint8Array([...LOOP, ...new Uint8Array(200)])],
    read: loadRiscv,
    errors: [RangeError],
    message: /^Cannot boot/,
  },
  "ELF programs for a PC": {
    valid: [
      elf({ machine: 62, entry: 0x10_0000n, segments: [{ paddr: 0x10_0000n, memsz: 0x1000n }] }),
      elf({
        machine: 62,
        segments: [{ paddr: 0x20_0000n }, { paddr: 0x20_1000n }, notes(4, 1, 7, 0x756e47, 0), pvhNote(0x20_0000)],
      }),
    ],
    read: loadPc,
    errors: [RangeError],
    message: /^Cannot boot/,
  },
  "bzImages and flat programs for a PC": {
    valid: [bzImage({ address: 0x10_0000n }), new Uint8Array(300).fill(0x90)],
    read(bytes) {
      loadPc(bytes);
      loadPcReal(bytes);
    },
    errors: [RangeError],
    message: /^Cannot boot/,
  },
  "device trees": {
    valid: [TREE],
    read: (bytes) => formatTree(decodeTree(bytes)),
    errors: [RangeError, TypeError],
    message: /^Cannot (read|encode|print) /,
  },
  "saved states": {
    valid: [encodePlain(STATE)],
    read: decodePlain,
    errors: [RangeError],
    message: /^Cannot decode state: /,
  },
  "configurations": {
    valid: [encoder.encode(DESCRIPTION)],
    read: (bytes) => checkDescription(parseJson(decoder.decode(bytes), "m.json") as MachineDescription),
    errors: [JsonError, TypeError, RangeError],
    message: /^Cannot (read m\.json:\d+:\d+: wanted|configure machine)/,
  },
  "package indexes": {
    valid: [encoder.encode(INDEX)],
    read: (bytes) => findPackages(once(bytes), () => true),
    errors: [ImageError],
    message: /give another --mirror$/,
  },
  "release files": {
    valid: [encoder.encode("Origin: Debian\nCodename: trixie\nSHA256:\n aa 1 main/a\n bb 22 main/b\n")],
    read: (bytes) => parseRelease(decoder.decode(bytes)),
    errors: [],
    message: /never/,
  },
  "kernel modules": {
    valid: [kernelModule()],
    read: stripModule,
    errors: [ImageError],
    message: /^A kernel module is broken/,
  },
  "xz streams": {
    valid: [xzStored(encoder.encode("content ".repeat(100))), XZ_COMPRESSED],
    read: (bytes) => collect(unxz(once(bytes))),
    errors: [ImageError],
    message: /^A compressed file /,
    share: 4,
  },
  "Debian packages": {
    valid: [deb({ "usr/bin/one": encoder.encode("1".repeat(700)), "usr/bin/two": encoder.encode("2") })],
    async read(bytes) {
      await Deno.writeFile(packagePath, bytes);
      const found: string[] = [];
      for await (const { path, bytes } of packageFiles(packagePath)) found.push(`${path} ${(await bytes()).length}`);
      return found;
    },
    errors: [ImageError],
    message: /is not a (whole )?Debian package$|^A compressed file |^Cannot unpack |too large$/,
    share: 4,
  },
};

for (const [name, parser] of Object.entries(PARSERS)) testNearlyRight(name, parser);

// ---------------------------------------------------------------- what is read is what was written

function randomPlain(random: Random, depth = 4): Plain {
  switch (random.below(depth > 0 ? 9 : 7)) {
    case 0:
      return random.pick([0, -0, 1.5, -1e300, 2 ** 53, Infinity]);
    case 1:
      return BigInt(random.below(2 ** 32)) * random.pick([1n, -1n, 2n ** 70n]);
    case 2:
      return random.oneIn(2);
    case 3:
      return random.pick(["", "text", "\0\ud800 lone", "__proto__"]);
    case 4:
      return random.bytes(random.below(20));
    case 5:
      return null;
    case 6:
      return undefined;
    case 7:
      return Array.from({ length: random.below(5) }, () => randomPlain(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from(
          { length: random.below(5) },
          (_, i) => [`${random.pick(["a", "b", "ä"])}${i}`, randomPlain(random, depth - 1)],
        ),
      );
  }
}

Deno.test("a state that is saved is read as it was", () => {
  for (let seed = SEED; seed < SEED + 300; seed++) {
    const value = randomPlain(new Random(seed));
    assertEquals(decodePlain(encodePlain(value)), value, `DENOVISOR_FUZZ_SEED=${seed}`);
  }
});

Deno.test("a device tree that is read is written again the same", () => {
  for (let seed = SEED; seed < SEED + 100; seed++) {
    const random = new Random(seed);
    const tree = (depth: number, name: string): ReturnType<typeof node> =>
      node(
        name,
        Object.fromEntries(Array.from({ length: random.below(5) }, (_, i) => [`p${i}`, random.bytes(random.below(9))])),
        depth > 0 ? Array.from({ length: random.below(4) }, (_, i) => tree(depth - 1, `n${i}@${i}`)) : [],
      );
    const blob = encodeTree(tree(4, ""));
    assertEquals(encodeTree(decodeTree(blob)), blob, `DENOVISOR_FUZZ_SEED=${seed}`);
  }
});

/** Reads a "newc" archive as the kernel does. */
function readCpio(bytes: Uint8Array): CpioEntry[] {
  const entries: CpioEntry[] = [];
  for (let at = 0;;) {
    assertEquals(decoder.decode(bytes.subarray(at, at + 6)), "070701");
    const field = (i: number): number => parseInt(decoder.decode(bytes.subarray(at + 6 + 8 * i, at + 14 + 8 * i)), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const path = decoder.decode(bytes.subarray(at + 110, at + 109 + nameSize));
    const start = Math.ceil((at + 110 + nameSize) / 4) * 4;
    const data = bytes.slice(start, start + size);
    at = Math.ceil((start + size) / 4) * 4;
    if (path === "TRAILER!!!") return entries;
    const type = mode >> 12;
    if (type === 0o04) entries.push({ path });
    else if (type === 0o12) entries.push({ path, target: decoder.decode(data) });
    else entries.push({ path, data, ...(mode & 0o100 ? { executable: true } : {}) });
  }
}

Deno.test("a cpio archive holds what was put into it", () => {
  for (let seed = SEED; seed < SEED + 100; seed++) {
    const random = new Random(seed);
    const entries = Array.from({ length: random.below(12) }, (_, i): CpioEntry => {
      const path = `${random.pick(["file", "ü", "a b", "x".repeat(random.below(200) + 1)])}${i}`;
      const data = random.bytes(random.pick([0, 1, 2, 3, 4, 5, 511, 2000]));
      return random.pick<CpioEntry>([{ path }, { path, target: "../there" }, { path, data }, {
        path,
        data,
        executable: true,
      }]);
    });
    assertEquals(readCpio(cpio(entries)), entries, `DENOVISOR_FUZZ_SEED=${seed}`);
  }
});

// ---------------------------------------------------------------- files made to hurt

/** Runs `act`, which must not take long; that it takes little memory, parsers_memory_test.ts shows. */
async function assertCheap(act: () => unknown): Promise<void> {
  const started = performance.now();
  await act();
  assertLess(performance.now() - started, SLOW);
}

Deno.test("an ELF file whose segments lie on each other is refused, not loaded for hours", async () => {
  const hostile = (machine: number, paddr: bigint): Uint8Array => {
    const segment = { paddr, memsz: BigInt(RAM_SIZE / 2), bytes: new Uint8Array(4) };
    return elf({ machine, entry: paddr, segments: Array.from({ length: 60_000 }, () => segment) });
  };
  const message = "its segments of 0x7530000000 bytes overlap, or do not fit into RAM";
  await assertCheap(() => assertThrows(() => loadRiscv(hostile(243, 0x8000_0000n)), RangeError, message));
  await assertCheap(() => assertThrows(() => loadPc(hostile(62, 0x10_0000n)), RangeError, message));
});

Deno.test("notes of an ELF file that lead back to themselves, or are all the whole file, are read to an end", async () => {
  const segment = { paddr: 0x10_0000n };
  const kernel = (...segments: ElfSegment[]) =>
    elf({ machine: 62, entry: 0x10_0000n, segments: [segment, ...segments] });
  // A note's size that is negative in 32 bits.
  await assertCheap(() => loadPc(kernel(notes(0, 0xffff_fff4, 18))));
  const whole = Array.from(
    { length: 60_000 },
    () => ({ type: 4, bytes: new Uint8Array(0), offset: 0n, filesz: 3_000_000n }),
  );
  await assertCheap(() =>
    assertThrows(
      () => loadPc(kernel(...whole)),
      RangeError,
      "its notes have 0x29e8d60800 bytes, wanted at most 0x10000",
    )
  );
});

Deno.test("a device tree whose properties share a long name is refused", async () => {
  const [count, length] = [50_000, 1 << 20];
  const words = [1, 0, ...Array.from({ length: count }, () => [3, 0, 0]).flat(), 2, 9];
  const size = 40 + 16 + 4 * words.length;
  const blob = new Uint8Array(size + length).fill(0x61);
  const view = new DataView(blob.buffer);
  [0xd00dfeed, blob.length, 56, size, 40, 17, 16, 0, length, 4 * words.length, 0, 0, 0, 0]
    .forEach((word, i) => view.setUint32(4 * i, word));
  words.forEach((word, i) => view.setUint32(56 + 4 * i, word));
  blob[blob.length - 1] = 0;
  await assertCheap(() =>
    assertThrows(() => decodeTree(blob), RangeError, "it has a name of more than 255 characters")
  );
});

Deno.test("a state that is nested without end is refused", async () => {
  const bytes = new Uint8Array(5 * 200_000);
  // Lists (8) of one item each.
  for (let at = 0; at < bytes.length; at += 5) bytes.set([8, 0, 0, 0, 1], at);
  await assertCheap(() => assertThrows(() => decodePlain(bytes), RangeError, "at most 500 lists in each other"));
});

Deno.test("a configuration that is nested without end is refused with its place", async () => {
  await assertCheap(() =>
    assertThrows(
      () => parseJson("[".repeat(200_000), "m.json"),
      JsonError,
      "Cannot read m.json:1:1001: wanted at most 1000 lists and objects in each other",
    )
  );
  await assertCheap(() =>
    assertThrows(
      () => checkDescription(parseJson("[".repeat(100_000) + "]".repeat(100_000), "m.json") as MachineDescription),
      TypeError,
      "Cannot configure machine: ",
    )
  );
});

Deno.test("an option's name of a mebibyte is not said back", () => {
  const error = assertThrows(() => checkDescription({ ["x\n".repeat(MIB)]: 1 } as MachineDescription), TypeError);
  assertLess(error.message.length, 500);
  assert(!error.message.includes("\n"));
});

Deno.test("an index that is one package without an end is refused", async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 1000; i++) yield await Promise.resolve(encoder.encode("Package: a\n".repeat(6000)));
  }
  let message = "";
  await assertCheap(() => findPackages(endless(), () => true).catch((error) => message = error.message));
  assertEquals(message, "The archive's index holds a package without an end: give another --mirror");
});

Deno.test("a kernel module whose sections are all the whole file, or lie far apart, is refused", async () => {
  const lie = (change: (view: DataView, table: number) => void): Uint8Array => {
    const module = kernelModule();
    const view = new DataView(module.buffer);
    change(view, Number(view.getBigUint64(40, true)));
    return module;
  };
  const whole = lie((view, table) => {
    for (let i = 1; i < 6; i++) {
      view.setBigUint64(table + 64 * i + 24, 0n, true);
      view.setBigUint64(table + 64 * i + 32, BigInt(view.byteLength), true);
    }
  });
  const apart = lie((view, table) => view.setBigUint64(table + 64 + 48, 2n ** 31n, true));
  for (const module of [whole, apart]) {
    await assertCheap(() => assertThrows(() => stripModule(module), ImageError, "A kernel module is broken"));
  }
});

Deno.test("a compressed file that unpacks to more than it may is refused", async () => {
  const large = xzStored(new Uint8Array(MIB));
  await assertCheap(async () => {
    let message = "";
    await collect(unxz(once(large), 100_000)).catch((error) => message = error.message);
    assertEquals(message, "A compressed file holds more than 100000 bytes: give another --mirror");
  });
});

Deno.test("a compressed file that asks for a dictionary of more than 64 MiB is refused", async () => {
  for (const size of [0, 28]) {
    await assertCheap(async () => assertEquals(await collect(unxz(once(xzWithDictionary(size)))), XZ_CONTENT));
  }
  for (const size of [29, 40, 63]) {
    await assertCheap(() =>
      assertRejects(() => collect(unxz(once(xzWithDictionary(size)))), ImageError, "A compressed file is broken")
    );
  }
});

Deno.test("a package whose names and attributes would fill the memory is refused", async () => {
  const size = 256 * MIB;
  const header = new Uint8Array(512); // of a pax extended header, which is read as a whole
  const put = (at: number, text: string) => header.set(encoder.encode(text), at);
  put(124, `${size.toString(8).padStart(11, "0")}\0`);
  put(148, `${" ".repeat(8)}x`);
  put(257, "ustar\x0000");
  put(148, header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0"));
  const start = `!<arch>\n${"data.tar".padEnd(48)}${String(header.length + size).padEnd(10)}\`\n`;
  await Deno.writeFile(packagePath, new Uint8Array([...encoder.encode(start), ...header]));
  await Deno.truncate(packagePath, start.length + header.length + size);
  await assertCheap(() =>
    assertRejects(() => Array.fromAsync(packageFiles(packagePath)), ImageError, "more than 1048576 bytes of headers")
  );
});
