// Programs in ELF64, as far as they are the same for every machine: System V ABI (gABI 4.1), chapters 4 and 5.

import { type BootFile, type Bytes, filePart } from "../../core/plugin.ts";
import { Fields } from "./fields.ts";
import { hex } from "./hex.ts";
import { type Extent, type Program, refusal, type Role, type Segment } from "./program.ts";

/** The fields of the file's header. */
export const HEADER = {
  class: 4,
  data: 5,
  e_machine: 18,
  e_entry: 24,
  e_phoff: 32,
  e_shoff: 40,
  e_phentsize: 54,
  e_phnum: 56,
  e_shentsize: 58,
  e_shnum: 60,
  size: 64,
} as const;
/** The fields of a program header. */
export const PROGRAM = {
  p_type: 0,
  p_offset: 8,
  p_vaddr: 16,
  p_paddr: 24,
  p_filesz: 32,
  p_memsz: 40,
  size: 56,
} as const;
const MAGIC = 0x464c457f; // "\x7fELF"
const CLASS64 = 2;
const LITTLE_ENDIAN = 1;
const PT_LOAD = 1;

/** What a program has to be for. */
export interface Target {
  readonly role: Role;
  readonly machine: { readonly name: string; readonly number: number };
  readonly ram: Extent;
}

/** A loaded segment, with the addresses it was linked for. */
export interface Loaded extends Segment {
  readonly linkedAt: bigint;
  readonly size: number;
}

/** A range of the file. */
export interface Block {
  readonly at: number;
  readonly size: number;
}

/** Whether a file that begins with `head` is an ELF file. */
export function isElf(head: Bytes): boolean {
  return head.length >= 4 && new Fields(head).u32(0) === MAGIC;
}

/** Whether it is one for the machine of this number. */
export function isElfFor(head: Bytes, machine: number): boolean {
  return isElf(head) && head.length >= HEADER.size && new Fields(head).u16(HEADER.e_machine) === machine;
}

/** A program for one kind of machine. Whatever is read of it throws a `RangeError` where it is broken. */
export class Elf {
  readonly header: Fields;
  readonly #file: BootFile;
  readonly #target: Target;

  constructor(file: BootFile, target: Target) {
    this.#file = file;
    this.#target = target;
    if (file.length < HEADER.size) throw this.wrong("its ELF header is cut off");
    const header = this.header = new Fields(file.slice(0, HEADER.size));
    if (header.u8(HEADER.class) !== CLASS64 || header.u8(HEADER.data) !== LITTLE_ENDIAN) {
      throw this.wrong("wanted an ELF file of 64 bits, little-endian");
    }
    const { name, number } = target.machine;
    const machine = header.u16(HEADER.e_machine);
    if (machine !== number) {
      throw this.wrong(`wanted an ELF file for ${name} (machine ${number}), got one for machine ${machine}`);
    }
  }

  wrong(why: string): RangeError {
    return refusal(this.#target.role, why);
  }

  /** A range of the file that two header fields give. */
  block(what: string, at: bigint, size: bigint): Block {
    if (at + size > BigInt(this.#file.length)) throw this.wrong(`its ${what} is cut off`);
    return { at: Number(at), size: Number(size) };
  }

  /** The bytes of such a range. */
  bytes({ at, size }: Block): Bytes {
    return this.#file.slice(at, size);
  }

  /** The entries of a header table. */
  table(what: string, offset: bigint, count: number, wanted: number, found: number): Fields[] {
    if (count && found !== wanted) throw this.wrong(`its ${what} has entries of ${found} bytes, wanted ${wanted}`);
    const entries = this.bytes(this.block(what, offset, BigInt(count * wanted)));
    return Array.from({ length: count }, (_, i) => new Fields(entries.subarray(i * wanted, (i + 1) * wanted)));
  }

  /** The program headers of a type. */
  programHeaders(type: number): Fields[] {
    return this.table(
      "program header table",
      this.header.u64(HEADER.e_phoff),
      this.header.u16(HEADER.e_phnum),
      PROGRAM.size,
      this.header.u16(HEADER.e_phentsize),
    ).filter((header) => header.u32(PROGRAM.p_type) === type);
  }

  /** What is to be loaded, by physical addresses. */
  segments(): Loaded[] {
    const { ram } = this.#target;
    const segments = this.programHeaders(PT_LOAD)
      .filter((header) => header.u64(PROGRAM.p_memsz) > 0n)
      .map((header) => this.#segment(header));
    // Each lies in RAM; thousands that lie on each other would be loaded for hours.
    const total = segments.reduce((sum, { size }) => sum + size, 0);
    if (total > ram.size) throw this.wrong(`its segments of ${hex(total)} bytes overlap, or do not fit into RAM`);
    return segments;
  }

  /** The program of such segments that begins at `entry`, a physical address. */
  program(segments: readonly Loaded[], entry: number | bigint | undefined): Program {
    if (entry === undefined || !segments.some(({ at, size }) => entry >= at && entry < at + size)) {
      throw this.wrong("its entry point lies in none of its segments");
    }
    return {
      segments,
      entry: Number(entry),
      start: segments.reduce((start, { at }) => Math.min(start, at), Infinity),
      end: segments.reduce((end, { at, size }) => Math.max(end, at + size), 0),
    };
  }

  #segment(header: Fields): Loaded {
    const filesz = header.u64(PROGRAM.p_filesz);
    const memsz = header.u64(PROGRAM.p_memsz);
    const at = header.u64(PROGRAM.p_paddr);
    const { ram } = this.#target;
    if (at < BigInt(ram.base) || at + memsz > BigInt(ram.base + ram.size)) {
      throw this.wrong(
        `its segment of ${hex(memsz)} bytes at ${hex(at)} does not lie in RAM, ` +
          `which is ${hex(ram.base)} to ${hex(ram.base + ram.size - 1)}`,
      );
    }
    if (filesz > memsz) throw this.wrong("it has a segment with more bytes in the file than in memory");
    const block = this.block("segment", header.u64(PROGRAM.p_offset), filesz);
    return {
      at: Number(at),
      content: filePart(this.#file, block.at, block.size),
      zeroes: Number(memsz - filesz),
      size: Number(memsz),
      linkedAt: header.u64(PROGRAM.p_vaddr),
    };
  }
}
