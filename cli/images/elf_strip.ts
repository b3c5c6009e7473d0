// Shrinks kernel modules to what the kernel's loader needs (System V ABI, ELF-64 object file format).

import { ImageError } from "./errors.ts";

const EHDR = {
  magic: 0x464c457f,
  class64LittleEndian: 0x0102,
  relocatable: 1,
  size: 64,
  type: 16,

  shoff: 40,
  shnum: 60,
};
const SHDR = { size: 64, name: 0, type: 4, flags: 8, offset: 24, length: 32, link: 40, info: 44, align: 48 };
const SYM = { size: 24, name: 0 };
const RELA = { size: 24, symbol: 12 };
const SHT = { null: 0, progbits: 1, symtab: 2, strtab: 3, rela: 4, note: 7, nobits: 8, symtabShndx: 18 };
const SHF_ALLOC = 2;
/** Sections begin at pages at most. */
const MAX_ALIGN = 4096;
/** Characters of a symbol's name. */
const MAX_NAME = 4096;

interface Section {
  readonly index: number;
  header: DataView;
  readonly type: number;
  readonly link: number;
  readonly info: number;
  readonly loaded: boolean;
  body: Uint8Array;
}

/**
 * The module without its debug and BTF sections, its signature, and the local symbols that no relocation names.
 * Sections keep their numbers: a dropped one becomes an empty SHT_NULL, which the kernel's loader skips.
 * What is not a relocatable 64-bit little-endian ELF comes back as it was.
 * Throws an {@linkcode ImageError} for one that is broken.
 */
export function stripModule(module: Uint8Array): Uint8Array {
  const view = new DataView(module.buffer, module.byteOffset, module.byteLength);
  if (!isRelocatable(view)) return module;
  const sections = readSections(view, module);
  if (sections.some(({ type }) => type === SHT.symtabShndx)) return module;

  const symbols = sections.find(({ type }) => type === SHT.symtab);
  const dropped = new Set(sections.filter(isDispensable));
  for (const section of sections) {
    if (section.type !== SHT.rela) continue;
    if (!sections[section.info]) throw broken();
    if (dropped.has(sections[section.info])) dropped.add(section);
  }
  if (symbols) {
    if (!sections[symbols.link] || dropped.has(symbols) || sections[symbols.link] === symbols) throw broken();
    const relocations = sections.filter((section) => section.type === SHT.rela && !dropped.has(section));
    stripSymbols(symbols, sections[symbols.link], relocations);
  }
  return layOut(module.subarray(0, EHDR.size), sections, dropped);
}

function broken(): ImageError {
  return new ImageError("A kernel module is broken: run the command again");
}

function isRelocatable(view: DataView): boolean {
  return view.byteLength >= EHDR.size && view.getUint32(0, true) === EHDR.magic &&
    view.getUint16(4, true) === EHDR.class64LittleEndian && view.getUint16(EHDR.type, true) === EHDR.relocatable;
}

function readSections(view: DataView, module: Uint8Array): Section[] {
  const table = Number(view.getBigUint64(EHDR.shoff, true));
  const count = view.getUint16(EHDR.shnum, true);
  if (table + count * SHDR.size > module.length) throw broken();
  let total = 0;
  return Array.from({ length: count }, (_, index) => {
    const header = new DataView(module.slice(table + index * SHDR.size, table + (index + 1) * SHDR.size).buffer);
    const type = header.getUint32(SHDR.type, true);
    const offset = Number(header.getBigUint64(SHDR.offset, true));
    const length = type === SHT.nobits ? 0 : Number(header.getBigUint64(SHDR.length, true));
    const isTable = type === SHT.symtab || type === SHT.rela;
    total += length;
    // No two sections share bytes: together they are no larger than the file.
    if (offset + length > module.length && length > 0 || total > module.length) throw broken();
    if (isTable && length % SYM.size !== 0 || header.getBigUint64(SHDR.align, true) > MAX_ALIGN) throw broken();
    return {
      index,
      header,
      type,
      link: header.getUint32(SHDR.link, true),
      info: header.getUint32(SHDR.info, true),
      loaded: (header.getUint32(SHDR.flags, true) & SHF_ALLOC) !== 0,
      body: module.slice(offset, offset + length),
    };
  });
}

/** What is in the file for debuggers and tracers alone: `.debug_*`, `.BTF`, `.comment`. */
function isDispensable({ type, loaded }: Section): boolean {
  return !loaded && (type === SHT.progbits || type === SHT.note);
}

/** Keeps global symbols and those that relocations name, in their order (locals first, as the format asks). */
function stripSymbols(symbols: Section, strings: Section, relocations: readonly Section[]): void {
  const views = relocations.map(({ body }) => new DataView(body.buffer, body.byteOffset, body.byteLength));
  const named = new Set<number>([0]);
  for (const view of views) {
    for (let at = 0; at < view.byteLength; at += RELA.size) named.add(view.getUint32(at + RELA.symbol, true));
  }

  const source = new DataView(symbols.body.buffer, symbols.body.byteOffset, symbols.body.byteLength);
  const count = source.byteLength / SYM.size;
  const firstGlobal = symbols.info;
  const renumbered = new Map<number, number>();
  for (let index = 0; index < count; index++) {
    if (index >= firstGlobal || named.has(index)) renumbered.set(index, renumbered.size);
  }

  const body = new Uint8Array(renumbered.size * SYM.size);
  const target = new DataView(body.buffer);
  const names = new StringTable();
  for (const [from, to] of renumbered) {
    body.set(symbols.body.subarray(from * SYM.size, (from + 1) * SYM.size), to * SYM.size);
    const name = source.getUint32(from * SYM.size + SYM.name, true);
    target.setUint32(to * SYM.size + SYM.name, names.add(strings.body, name), true);
  }
  symbols.body = body;
  strings.body = names.bytes();
  symbols.header.setUint32(SHDR.info, [...renumbered.keys()].filter((index) => index < firstGlobal).length, true);
  for (const view of views) {
    for (let at = RELA.symbol; at < view.byteLength; at += RELA.size) {
      const symbol = renumbered.get(view.getUint32(at, true));
      if (symbol === undefined) throw broken();
      view.setUint32(at, symbol, true);
    }
  }
}

/** A string table in the making, each string in it once; offset 0 holds the empty one. */
class StringTable {
  readonly #offsets = new Map<string, number>([["", 0]]);
  readonly #bytes: number[] = [0];

  /** Copies the string at `offset` of another table and tells its offset in this one. */
  add(table: Uint8Array, offset: number): number {
    const end = table.indexOf(0, offset);
    if (end < 0 || end - offset > MAX_NAME) throw broken();
    const bytes = table.subarray(offset, end);
    const key = String.fromCharCode(...bytes);
    const known = this.#offsets.get(key);
    if (known !== undefined) return known;
    const at = this.#bytes.length;
    this.#offsets.set(key, at);
    this.#bytes.push(...bytes, 0);
    return at;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#bytes);
  }
}

/** A file of the ELF header, the sections' bodies, then their headers. */
function layOut(fileHeader: Uint8Array, sections: readonly Section[], dropped: ReadonlySet<Section>): Uint8Array {
  let end = EHDR.size;
  for (const section of sections) {
    if (dropped.has(section) || section.type === SHT.null) {
      section.header = new DataView(new ArrayBuffer(SHDR.size));
      section.body = new Uint8Array();
      continue;
    }
    const align = Math.max(1, Number(section.header.getBigUint64(SHDR.align, true)));
    end = Math.ceil(end / align) * align;
    section.header.setBigUint64(SHDR.offset, BigInt(end), true);
    if (section.type !== SHT.nobits) section.header.setBigUint64(SHDR.length, BigInt(section.body.length), true);
    end += section.body.length;
  }

  const table = Math.ceil(end / 8) * 8;
  const file = new Uint8Array(table + sections.length * SHDR.size);
  file.set(fileHeader);
  new DataView(file.buffer).setBigUint64(EHDR.shoff, BigInt(table), true);
  for (const { index, header, body } of sections) {
    file.set(body, Number(header.getBigUint64(SHDR.offset, true)));
    file.set(new Uint8Array(header.buffer), table + index * SHDR.size);
  }
  return file;
}
