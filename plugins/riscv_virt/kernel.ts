// Tells boot files apart: ELF, flat program, Linux Image (Linux, Documentation/arch/riscv/boot-image-header.rst).

import type { Address, BootFile, Bytes } from "../../core/plugin.ts";
import { readElf } from "./elf.ts";
import type { Extent, Program, Role } from "./program.ts";

/** The fields of a Linux Image's header. */
const HEADER = { text_offset: 8, image_size: 16, flags: 24, magic2: 56, size: 64 } as const;
const MAGIC2 = 0x05435352; // "RSC\x05"
const BIG_ENDIAN = 1n;

/** Files often given in place of a kernel, by the bytes at an offset. */
const MISTAKEN: readonly { readonly at: number; readonly bytes: readonly number[]; readonly what: string }[] = [
  { at: 0, bytes: [0x1f, 0x8b], what: "it is compressed by gzip; decompress it first" },
  { at: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], what: "it is compressed by zstd; decompress it first" },
  { at: 0, bytes: [0xfd, 0x37, 0x7a, 0x58], what: "it is compressed by xz; decompress it first" },
  { at: 0, bytes: [0x42, 0x5a, 0x68], what: "it is compressed by bzip2; decompress it first" },
  { at: 4, bytes: [0x7a, 0x69, 0x6d, 0x67], what: "it is a compressed EFI image (zboot), wanted an Image" },
  { at: 56, bytes: [0x41, 0x52, 0x4d, 0x64], what: "it is a kernel for arm64, wanted one for riscv64" },
  { at: 514, bytes: [0x48, 0x64, 0x72, 0x53], what: "it is a kernel for x86, wanted one for riscv64" },
];

/** As much of a file's beginning as tells what it is. */
const HEAD_SIZE = 1024;

function begins(head: Bytes, at: number, bytes: readonly number[]): boolean {
  return head.length >= at + bytes.length && bytes.every((byte, i) => head[at + i] === byte);
}

/** Whether a file is no program: text, or an instruction that RISC-V reserves for being illegal. */
function isNoProgram(head: Bytes): boolean {
  const text = head.subarray(0, 64).every((byte) => byte >= 0x20 && byte < 0x7f || byte >= 0x09 && byte <= 0x0d);
  return text || head.length < 2 || head[0] === head[1] && (head[0] === 0 || head[0] === 0xff);
}

function readLinux(file: BootFile, view: DataView, ramBase: Address): Program {
  if (view.getBigUint64(HEADER.flags, true) & BIG_ENDIAN) {
    throw new RangeError("Cannot boot the kernel: it is big-endian, wanted a little-endian one");
  }
  const start = ramBase + Number(view.getBigUint64(HEADER.text_offset, true));
  const size = Math.max(Number(view.getBigUint64(HEADER.image_size, true)), file.length);
  return { segments: [{ at: start, content: file, zeroes: 0 }], entry: start, start, end: start + size };
}

/**
 * Recognizes a boot file; a flat program goes to `flatAt`.
 *
 * @throws {RangeError} for a file that is none, with one sentence.
 */
export function readProgram(role: Role, file: BootFile, ram: Extent, flatAt: Address): Program {
  const head = file.slice(0, HEAD_SIZE);
  if (begins(head, 0, [0x7f, 0x45, 0x4c, 0x46])) return readElf(role, file, ram);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (role === "kernel" && head.length >= HEADER.size && view.getUint32(HEADER.magic2, true) === MAGIC2) {
    return readLinux(file, view, ram.base);
  }
  const mistaken = MISTAKEN.find(({ at, bytes }) => begins(head, at, bytes))?.what;
  if (mistaken) throw new RangeError(`Cannot boot the ${role}: ${mistaken}`);
  if (isNoProgram(head)) {
    throw new RangeError(`Cannot boot the ${role}: it is no Linux Image, no ELF file and no RISC-V program`);
  }
  return {
    segments: [{ at: flatAt, content: file, zeroes: 0 }],
    entry: flatAt,
    start: flatAt,
    end: flatAt + file.length,
  };
}
