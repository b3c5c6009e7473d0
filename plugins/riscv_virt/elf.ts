// Reads RISC-V programs in ELF64: System V ABI (gABI 4.1), chapters 4 and 5.

import type { Address, Bytes } from "../../core/plugin.ts";
import { hex } from "./memory_map.ts";
import type { Extent, Program, Role, Segment } from "./program.ts";

const HEADER = {
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
const PROGRAM = { p_type: 0, p_offset: 8, p_vaddr: 16, p_paddr: 24, p_filesz: 32, p_memsz: 40, size: 56 } as const;
const SECTION = { sh_type: 4, sh_offset: 24, sh_size: 32, sh_link: 40, size: 64 } as const;
const SYMBOL = { st_name: 0, st_value: 8, size: 24 } as const;
const CLASS64 = 2;
const LITTLE_ENDIAN = 1;
const MACHINE_RISCV = 243;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;

/** A loaded segment, with the addresses it was linked for. */
interface Loaded extends Segment {
  readonly linkedAt: bigint;
  readonly size: number;
}

/** A range of the file. */
interface Block {
  readonly at: number;
  readonly size: number;
}

class Elf {
  readonly #view: DataView;

  constructor(readonly role: Role, readonly file: Bytes, readonly ram: Extent) {
    this.#view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    if (file.length < HEADER.size) throw this.wrong("its ELF header is cut off");
    if (file[HEADER.class] !== CLASS64 || file[HEADER.data] !== LITTLE_ENDIAN) {
      throw this.wrong("wanted an ELF file of 64 bits, little-endian");
    }
    const machine = this.u16(HEADER.e_machine);
    if (machine !== MACHINE_RISCV) {
      throw this.wrong(`wanted an ELF file for RISC-V (machine ${MACHINE_RISCV}), got one for machine ${machine}`);
    }
  }

  wrong(why: string): RangeError {
    return new RangeError(`Cannot boot the ${this.role}: ${why}`);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(at, true);
  }

  /** A range of the file that two header fields give. */
  block(what: string, at: bigint, size: bigint): Block {
    if (at + size > BigInt(this.file.length)) throw this.wrong(`its ${what} is cut off`);
    return { at: Number(at), size: Number(size) };
  }

  /** The entries of a header table. */
  table(what: string, offset: bigint, count: number, wanted: number, found: number): number[] {
    if (count && found !== wanted) throw this.wrong(`its ${what} has entries of ${found} bytes, wanted ${wanted}`);
    const { at } = this.block(what, offset, BigInt(count * wanted));
    return Array.from({ length: count }, (_, i) => at + i * wanted);
  }

  segments(): Loaded[] {
    const headers = this.table(
      "program header table",
      this.u64(HEADER.e_phoff),
      this.u16(HEADER.e_phnum),
      PROGRAM.size,
      this.u16(HEADER.e_phentsize),
    );
    const segments = headers
      .filter((at) => this.u32(at + PROGRAM.p_type) === PT_LOAD && this.u64(at + PROGRAM.p_memsz) > 0n)
      .map((at) => this.#segment(at));
    // Each lies in RAM; thousands that lie on each other would be loaded for hours.
    const total = segments.reduce((sum, { size }) => sum + size, 0);
    if (total > this.ram.size) throw this.wrong(`its segments of ${hex(total)} bytes overlap, or do not fit into RAM`);
    return segments;
  }

  #segment(header: number): Loaded {
    const filesz = this.u64(header + PROGRAM.p_filesz);
    const memsz = this.u64(header + PROGRAM.p_memsz);
    const at = this.u64(header + PROGRAM.p_paddr);
    const { ram } = this;
    if (at < BigInt(ram.base) || at + memsz > BigInt(ram.base + ram.size)) {
      throw this.wrong(
        `its segment of ${hex(memsz)} bytes at ${hex(at)} does not lie in RAM, ` +
          `which is ${hex(ram.base)} to ${hex(ram.base + ram.size - 1)}`,
      );
    }
    if (filesz > memsz) throw this.wrong("it has a segment with more bytes in the file than in memory");
    const block = this.block("segment", this.u64(header + PROGRAM.p_offset), filesz);
    return {
      at: Number(at),
      bytes: this.file.subarray(block.at, block.at + block.size),
      zeroes: Number(memsz - filesz),
      size: Number(memsz),
      linkedAt: this.u64(header + PROGRAM.p_vaddr),
    };
  }

  /** The values of the named symbols. */
  symbols(...wanted: string[]): Map<string, bigint> {
    const found = new Map<string, bigint>();
    const sections = this.table(
      "section header table",
      this.u64(HEADER.e_shoff),
      this.u16(HEADER.e_shnum),
      SECTION.size,
      this.u16(HEADER.e_shentsize),
    );
    const content = (at: number): Block =>
      this.block("symbol table", this.u64(at + SECTION.sh_offset), this.u64(at + SECTION.sh_size));
    const table = sections.find((at) => this.u32(at + SECTION.sh_type) === SHT_SYMTAB);
    if (table === undefined) return found;
    const link = sections[this.u32(table + SECTION.sh_link)];
    if (link === undefined) throw this.wrong("its symbol table has no names");
    const symbols = content(table);
    const names = content(link);
    for (let at = symbols.at; at + SYMBOL.size <= symbols.at + symbols.size; at += SYMBOL.size) {
      const offset = this.u32(at + SYMBOL.st_name);
      const name = wanted.find((name) => this.#isText(name, names, offset));
      if (name) found.set(name, this.u64(at + SYMBOL.st_value));
    }
    return found;
  }

  /** Whether `text` and a NUL stand at `offset` of a string table. */
  #isText(text: string, names: Block, offset: number): boolean {
    if (offset + text.length >= names.size) return false;
    for (let i = 0; i <= text.length; i++) {
      if (this.file[names.at + offset + i] !== (i < text.length ? text.charCodeAt(i) : 0)) return false;
    }
    return true;
  }
}

/** The physical address of one that was linked for. */
function physical(linked: bigint | undefined, segments: readonly Loaded[]): Address | undefined {
  if (linked === undefined) return undefined;
  const segment = segments.find(({ linkedAt, size }) => linked >= linkedAt && linked < linkedAt + BigInt(size));
  return segment && segment.at + Number(linked - segment.linkedAt);
}

/**
 * Reads an ELF program: its segments by physical address, its entry, and the symbols of a test program.
 *
 * @throws {RangeError} for a file that is broken, for another machine, or linked to outside of RAM.
 */
export function readElf(role: Role, file: Bytes, ram: Extent): Program {
  const elf = new Elf(role, file, ram);
  const segments = elf.segments();
  const entry = physical(elf.u64(HEADER.e_entry), segments);
  if (entry === undefined) throw elf.wrong("its entry point lies in none of its segments");
  const symbols = elf.symbols("tohost", "fromhost");
  return {
    segments,
    entry,
    start: segments.reduce((start, { at }) => Math.min(start, at), Infinity),
    end: segments.reduce((end, { at, size }) => Math.max(end, at + size), 0),
    tohost: physical(symbols.get("tohost"), segments),
    fromhost: physical(symbols.get("fromhost"), segments),
  };
}
