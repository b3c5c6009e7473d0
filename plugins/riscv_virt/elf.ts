// Reads RISC-V programs in ELF64, with the symbols of test programs: System V ABI (gABI 4.1), chapter 4.

import type { Address, BootFile, Bytes } from "../../core/plugin.ts";
import { Elf, HEADER, type Loaded } from "../boards/elf.ts";
import { Fields } from "../boards/fields.ts";
import type { Extent, Program, Role } from "../boards/program.ts";

/** A program, and what a test program adds to it. */
export interface RiscvProgram extends Program {
  /** The words by which a RISC-V test program speaks to its host. */
  readonly tohost?: Address;
  readonly fromhost?: Address;
}

const MACHINE = { name: "RISC-V", number: 243 } as const;
const SECTION = { sh_type: 4, sh_offset: 24, sh_size: 32, sh_link: 40, size: 64 } as const;
const SYMBOL = { st_name: 0, st_value: 8, size: 24 } as const;
const SHT_SYMTAB = 2;

/** The values of the named symbols. */
function symbols(elf: Elf, ...wanted: string[]): Map<string, bigint> {
  const found = new Map<string, bigint>();
  const sections = elf.table(
    "section header table",
    elf.header.u64(HEADER.e_shoff),
    elf.header.u16(HEADER.e_shnum),
    SECTION.size,
    elf.header.u16(HEADER.e_shentsize),
  );
  const content = (section: Fields): Bytes =>
    elf.bytes(elf.block("symbol table", section.u64(SECTION.sh_offset), section.u64(SECTION.sh_size)));
  const table = sections.find((section) => section.u32(SECTION.sh_type) === SHT_SYMTAB);
  if (table === undefined) return found;
  const link = sections[table.u32(SECTION.sh_link)];
  if (link === undefined) throw elf.wrong("its symbol table has no names");
  const entries = content(table);
  const names = content(link);
  const fields = new Fields(entries);
  for (let at = 0; at + SYMBOL.size <= entries.length; at += SYMBOL.size) {
    const offset = fields.u32(at + SYMBOL.st_name);
    const name = wanted.find((name) => isText(name, names, offset));
    if (name) found.set(name, fields.u64(at + SYMBOL.st_value));
  }
  return found;
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
export function readElf(role: Role, file: BootFile, ram: Extent): RiscvProgram {
  const elf = new Elf(file, { role, machine: MACHINE, ram });
  const segments = elf.segments();
  const program = elf.program(segments, physical(elf.header.u64(HEADER.e_entry), segments));
  const words = symbols(elf, "tohost", "fromhost");
  return {
    ...program,
    tohost: physical(words.get("tohost"), segments),
    fromhost: physical(words.get("fromhost"), segments),
  };
}
