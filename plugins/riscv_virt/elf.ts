// Reads RISC-V programs in ELF64: System V ABI (gABI 4.1), chapters 4 and 5.

import { type Address, type BootFile, type Bytes, filePart } from "../../core/plugin.ts";
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

/** A header, or an entry of a table, by the offsets of its fields. */
class Fields {
  readonly #view: DataView;

  constructor(bytes: Bytes) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
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
}

class Elf {
  readonly header: Fields;

  constructor(readonly role: Role, readonly file: BootFile, readonly ram: Extent) {
    if (file.length < HEADER.size) throw this.wrong("its ELF header is cut off");
    const header = this.header = new Fields(file.slice(0, HEADER.size));
    if (header.u8(HEADER.class) !== CLASS64 || header.u8(HEADER.data) !== LITTLE_ENDIAN) {
      throw this.wrong("wanted an ELF file of 64 bits, little-endian");
    }
    const machine = header.u16(HEADER.e_machine);
    if (machine !== MACHINE_RISCV) {
      throw this.wrong(`wanted an ELF file for RISC-V (machine ${MACHINE_RISCV}), got one for machine ${machine}`);
    }
  }

  wrong(why: string): RangeError {
    return new RangeError(`Cannot boot the ${this.role}: ${why}`);
  }

  /** A range of the file that two header fields give. */
  block(what: string, at: bigint, size: bigint): Block {
    if (at + size > BigInt(this.file.length)) throw this.wrong(`its ${what} is cut off`);
    return { at: Number(at), size: Number(size) };
  }

  /** The entries of a header table. */
  table(what: string, offset: bigint, count: number, wanted: number, found: number): Fields[] {
    if (count && found !== wanted) throw this.wrong(`its ${what} has entries of ${found} bytes, wanted ${wanted}`);
    const { at, size } = this.block(what, offset, BigInt(count * wanted));
    const entries = this.file.slice(at, size);
    return Array.from({ length: count }, (_, i) => new Fields(entries.subarray(i * wanted, (i + 1) * wanted)));
  }

  segments(): Loaded[] {
    const headers = this.table(
      "program header table",
      this.header.u64(HEADER.e_phoff),
      this.header.u16(HEADER.e_phnum),
      PROGRAM.size,
      this.header.u16(HEADER.e_phentsize),
    );
    const segments = headers
      .filter((header) => header.u32(PROGRAM.p_type) === PT_LOAD && header.u64(PROGRAM.p_memsz) > 0n)
      .map((header) => this.#segment(header));
    // Each lies in RAM; thousands that lie on each other would be loaded for hours.
    const total = segments.reduce((sum, { size }) => sum + size, 0);
    if (total > this.ram.size) throw this.wrong(`its segments of ${hex(total)} bytes overlap, or do not fit into RAM`);
    return segments;
  }

  #segment(header: Fields): Loaded {
    const filesz = header.u64(PROGRAM.p_filesz);
    const memsz = header.u64(PROGRAM.p_memsz);
    const at = header.u64(PROGRAM.p_paddr);
    const { ram } = this;
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
      content: filePart(this.file, block.at, block.size),
      zeroes: Number(memsz - filesz),
      size: Number(memsz),
      linkedAt: header.u64(PROGRAM.p_vaddr),
    };
  }

  /** The values of the named symbols. */
  symbols(...wanted: string[]): Map<string, bigint> {
    const found = new Map<string, bigint>();
    const sections = this.table(
      "section header table",
      this.header.u64(HEADER.e_shoff),
      this.header.u16(HEADER.e_shnum),
      SECTION.size,
      this.header.u16(HEADER.e_shentsize),
    );
    const content = (section: Fields): Bytes => {
      const { at, size } = this.block("symbol table", section.u64(SECTION.sh_offset), section.u64(SECTION.sh_size));
      return this.file.slice(at, size);
    };
    const table = sections.find((section) => section.u32(SECTION.sh_type) === SHT_SYMTAB);
    if (table === undefined) return found;
    const link = sections[table.u32(SECTION.sh_link)];
    if (link === undefined) throw this.wrong("its symbol table has no names");
    const entries = content(table);
    const names = content(link);
    const symbols = new Fields(entries);
    for (let at = 0; at + SYMBOL.size <= entries.length; at += SYMBOL.size) {
      const offset = symbols.u32(at + SYMBOL.st_name);
      const name = wanted.find((name) => isText(name, names, offset));
      if (name) found.set(name, symbols.u64(at + SYMBOL.st_value));
    }
    return found;
  }
}

/** Whether `text` and a NUL stand at `offset` of a string table. */
function isText(text: string, names: Bytes, offset: number): boolean {
  if (offset + text.length >= names.length) return false;
  for (let i = 0; i <= text.length; i++) {
    if (names[offset + i] !== (i < text.length ? text.charCodeAt(i) : 0)) return false;
  }
  return true;
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
export function readElf(role: Role, file: BootFile, ram: Extent): Program {
  const elf = new Elf(role, file, ram);
  const segments = elf.segments();
  const entry = physical(elf.header.u64(HEADER.e_entry), segments);
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
