// Tells boot files apart: ELF, flat program, Linux Image (Linux, Documentation/arch/riscv/boot-image-header.rst).

import type { Address, BootFile, Bytes } from "../../core/plugin.ts";
import { isElf } from "../boards/elf.ts";
import { Fields } from "../boards/fields.ts";
import { mistake, type Mistaken } from "../boards/mistaken.ts";
import { type Extent, type Program, refusal, type Role } from "../boards/program.ts";
import { readElf, type RiscvProgram } from "./elf.ts";

/** The fields of a Linux Image's header. */
const HEADER = { text_offset: 8, image_size: 16, flags: 24, magic2: 56, size: 64 } as const;
const MAGIC2 = 0x05435352; // "RSC\x05"
const BIG_ENDIAN = 1n;

/** Kernels often given in place of one for RISC-V. */
const MISTAKEN: readonly Mistaken[] = [
  { at: 4, bytes: [0x7a, 0x69, 0x6d, 0x67], what: "it is a compressed EFI image (zboot), wanted an Image" },
  { at: 56, bytes: [0x41, 0x52, 0x4d, 0x64], what: "it is a kernel for arm64, wanted one for riscv64" },
  { at: 514, bytes: [0x48, 0x64, 0x72, 0x53], what: "it is a kernel for x86, wanted one for riscv64" },
];

/** As much of a file's beginning as tells what it is. */
const HEAD_SIZE = 1024;

/** Whether a file is no program: text, or an instruction that RISC-V reserves for being illegal. */
function isNoProgram(head: Bytes): boolean {
  const text = head.subarray(0, 64).every((byte) => byte >= 0x20 && byte < 0x7f || byte >= 0x09 && byte <= 0x0d);
  return text || head.length < 2 || head[0] === head[1] && (head[0] === 0 || head[0] === 0xff);
}

function readLinux(file: BootFile, header: Fields, ramBase: Address): Program {
  if (header.u64(HEADER.flags) & BIG_ENDIAN) {
    throw refusal("kernel", "it is big-endian, wanted a little-endian one");
  }
  const start = ramBase + Number(header.u64(HEADER.text_offset));
  const size = Math.max(Number(header.u64(HEADER.image_size)), file.length);
  return { segments: [{ at: start, content: file, zeroes: 0 }], entry: start, start, end: start + size };
}

/**
 * Recognizes a boot file; a flat program goes to `flatAt`.
 *
 * @throws {RangeError} for a file that is none, with one sentence.
 */
export function readProgram(role: Role, file: BootFile, ram: Extent, flatAt: Address): RiscvProgram {
  const head = file.slice(0, HEAD_SIZE);
  if (isElf(head)) return readElf(role, file, ram);
  const header = new Fields(head);
  if (role === "kernel" && head.length >= HEADER.size && header.u32(HEADER.magic2) === MAGIC2) {
    return readLinux(file, header, ram.base);
  }
  const mistaken = mistake(head, MISTAKEN);
  if (mistaken) throw refusal(role, mistaken);
  if (isNoProgram(head)) throw refusal(role, "it is no Linux Image, no ELF file and no RISC-V program");
  return {
    segments: [{ at: flatAt, content: file, zeroes: 0 }],
    entry: flatAt,
    start: flatAt,
    end: flatAt + file.length,
  };
}
