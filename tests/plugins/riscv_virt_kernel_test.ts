// Tests plugins/riscv_virt/kernel.ts and elf.ts, and plugins/boards under them: what they recognize, and what they refuse with one sentence.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { bytesFile } from "../../core/plugin.ts";
import type { Role, Segment } from "../../plugins/boards/program.ts";
import { readProgram } from "../../plugins/riscv_virt/kernel.ts";
import { elf, linuxImage, LOOP } from "../support/boot_files.ts";

const RAM = { base: 0x8000_0000, size: 0x10_0000 };

function read(file: Uint8Array, role: Role = "kernel") {
  return readProgram(role, bytesFile(file), RAM, RAM.base);
}

function contents({ at, content, zeroes }: Segment) {
  return { at, bytes: content.slice(0, content.length), zeroes };
}

function refuse(file: Uint8Array, message: string, role: Role = "kernel"): void {
  const error = assertThrows(() => read(file, role), RangeError);
  assertEquals((error as Error).message, `Cannot boot the ${role}: ${message}`);
}

Deno.test("a Linux Image goes to its offset and keeps the memory it asks for", () => {
  const file = linuxImage({ imageSize: 0x8_0000n });
  const { segments, entry, start, end } = read(file);
  assertEquals(segments.map(contents), [{ at: 0x8020_0000, bytes: file, zeroes: 0 }]);
  assertEquals([entry, start, end], [0x8020_0000, 0x8020_0000, 0x8028_0000]);
});

Deno.test("a Linux Image without a size takes its file's", () => {
  assertEquals(read(linuxImage({ imageSize: 0n })).end, 0x8020_1000);
});

Deno.test("a big-endian Linux Image is refused", () => {
  refuse(linuxImage({ flags: 1n }), "it is big-endian, wanted a little-endian one");
});

Deno.test("a flat program goes where it is told", () => {
  const program = readProgram("bios", bytesFile(LOOP), RAM, 0x8000_1000);
  assertEquals(program.segments.map(contents), [{ at: 0x8000_1000, bytes: LOOP, zeroes: 0 }]);
  assertEquals([program.entry, program.start, program.end], [0x8000_1000, 0x8000_1000, 0x8000_1004]);
});

Deno.test("a file that is no program is refused with what it is", () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const none = "it is no Linux Image, no ELF file and no RISC-V program";
  refuse(new Uint8Array(0), none);
  refuse(text("console=ttyS0\n"), none);
  refuse(new Uint8Array(4096), none, "bios");
  refuse(new Uint8Array(4096).fill(0xff), none);
  refuse(Uint8Array.of(0x1f, 0x8b, 8, 0), "it is compressed by gzip; decompress it first");
  refuse(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0), "it is compressed by zstd; decompress it first");
  refuse(Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a), "it is compressed by xz; decompress it first");
  refuse(text("MZ\0\0zimg"), "it is a compressed EFI image (zboot), wanted an Image");
  const arm = new Uint8Array(64);
  arm.set(text("ARM\x64"), 56);
  refuse(arm, "it is a kernel for arm64, wanted one for riscv64");
  const x86 = new Uint8Array(1024);
  x86.set(text("HdrS"), 514);
  refuse(x86, "it is a kernel for x86, wanted one for riscv64");
});

Deno.test("an ELF goes by physical addresses, with its entry and zeroes", () => {
  const file = elf({
    entry: 0xffff_ffc0_0000_0004n,
    segments: [
      { bytes: LOOP, vaddr: 0xffff_ffc0_0000_0000n, paddr: 0x8000_1000n, memsz: 32n },
      { bytes: new Uint8Array(8), paddr: 0x8000_3000n },
      { bytes: new Uint8Array(0), paddr: 0n },
    ],
  });
  const { segments, entry, start, end, tohost } = read(file);
  assertEquals(segments.map(({ at, content, zeroes }) => [at, content.length, zeroes]), [
    [0x8000_1000, 4, 28],
    [0x8000_3000, 8, 0],
  ]);
  assertEquals([entry, start, end, tohost], [0x8000_1004, 0x8000_1000, 0x8000_3008, undefined]);
});

Deno.test("an ELF tells the words of a test program", () => {
  const symbols = { _start: 0x8000_0000n, tohost: 0x8000_0040n, fromhost: 0x8000_0080n, tohosted: 0x8000_0000n };
  const { tohost, fromhost } = read(elf({ segments: [{ memsz: 0x100n }], symbols }));
  assertEquals([tohost, fromhost], [0x8000_0040, 0x8000_0080]);
  assertEquals(read(elf({ symbols: { tohost: 0x9000_0000n } })).tohost, undefined);
});

Deno.test("an ELF for another machine is refused", () => {
  refuse(elf({ machine: 62 }), "wanted an ELF file for RISC-V (machine 243), got one for machine 62");
  const small = elf();
  small[4] = 1;
  refuse(small, "wanted an ELF file of 64 bits, little-endian");
});

Deno.test("an ELF that does not lie in RAM is refused", () => {
  const where = "does not lie in RAM, which is 0x80000000 to 0x800fffff";
  refuse(elf({ segments: [{ paddr: 0x7fff_fffen }] }), `its segment of 0x4 bytes at 0x7ffffffe ${where}`);
  refuse(elf({ segments: [{ paddr: 0x800f_fffen }] }), `its segment of 0x4 bytes at 0x800ffffe ${where}`);
  refuse(elf({ segments: [{ memsz: 1n << 40n }] }), `its segment of 0x10000000000 bytes at 0x80000000 ${where}`);
  refuse(
    elf({ segments: [{ memsz: (1n << 64n) - 1n }] }),
    `its segment of 0xffffffffffffffff bytes at 0x80000000 ${where}`,
  );
  refuse(
    elf({ segments: [{ paddr: 0xffff_ffff_8000_0000n }] }),
    `its segment of 0x4 bytes at 0xffffffff80000000 ${where}`,
  );
});

Deno.test("a broken ELF is refused", () => {
  refuse(elf({ segments: [] }), "its entry point lies in none of its segments");
  refuse(elf({ entry: 0x8000_0004n }), "its entry point lies in none of its segments");
  refuse(elf({ segments: [{ offset: 1n << 63n }] }), "its segment is cut off");
  refuse(elf({ segments: [{ filesz: 9000n }] }), "its segment is cut off");
  refuse(
    elf({ segments: [{ filesz: 4n, memsz: 2n }] }),
    "it has a segment with more bytes in the file than in memory",
  );
  const strange = elf();
  strange[54] = 32;
  refuse(strange, "its program header table has entries of 32 bytes, wanted 56");
});

Deno.test("loaders survive every cut and every changed byte", () => {
  const files = [elf({ symbols: { tohost: 0x8000_0000n } }), linuxImage({ length: 128 })];
  for (const file of files) {
    const attempt = (bytes: Uint8Array): void => {
      try {
        read(bytes);
      } catch (error) {
        assert(error instanceof RangeError && error.message.startsWith("Cannot boot the kernel: "), String(error));
      }
    };
    for (let length = 0; length < file.length; length++) attempt(file.subarray(0, length));
    for (let i = 0; i < file.length; i++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const changed = file.slice();
        changed[i] = value;
        attempt(changed);
      }
    }
  }
});
