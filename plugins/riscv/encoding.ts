// Encodings: the `bits` of a row parsed once, for decoding, assembling and disassembling (unprivileged specification, section 1.5).

import type { CompressedRow, Fields, Row } from "./rows/row.ts";

/** A run of instruction bits that holds a run of an operand's bits. */
interface Slice {
  readonly field: keyof Fields;
  /** Lowest bit in the instruction, lowest bit in the operand, how many. */
  readonly at: number;
  readonly low: number;
  readonly width: number;
}

/** A parsed encoding. */
export interface Encoding {
  /** Bytes: 2 or 4. */
  readonly length: number;
  /** An instruction matches if `(bits & mask) == match`. */
  readonly mask: number;
  readonly match: number;
  readonly slices: readonly Slice[];
  /** The operands it holds. */
  readonly fields: ReadonlySet<keyof Fields>;
  /** Bits of a signed immediate, or 0. */
  readonly signedBits: number;
}

const NO_FIELDS: Fields = { rd: 0, rs1: 0, rs2: 0, fd: 0, fs1: 0, fs2: 0, fs3: 0, imm: 0, csr: 0, rm: 0 };
const IGNORED_WIDTH: Record<string, number> = { "-": 1, aq: 1, rl: 1 };

/** Parses the `bits` of a row; see {@linkcode Row}. */
export function parseBits(bits: string): Encoding {
  const slices: Slice[] = [];
  let mask = 0;
  let match = 0;
  let signedBits = 0;
  let at = 0;
  for (const token of bits.split(/\s+/).reverse()) { // from the least significant bit up
    if (/^[01]+$/.test(token)) {
      mask |= (2 ** token.length - 1) << at;
      match |= parseInt(token, 2) << at;
      at += token.length;
      continue;
    }
    if (token in IGNORED_WIDTH) {
      at += IGNORED_WIDTH[token];
      continue;
    }
    const immediate = /^(u?)imm\[(.+)\]$/.exec(token);
    if (immediate) {
      for (const range of immediate[2].split("|").reverse()) {
        const [high, low = high] = range.split(":").map(Number);
        const width = high - low + 1;
        slices.push({ field: "imm", at, low, width });
        at += width;
        if (!immediate[1]) signedBits = Math.max(signedBits, high + 1);
      }
      continue;
    }
    const field = token.replace("'", "") as keyof Fields;
    if (!(field in NO_FIELDS)) throw new Error(`unknown field "${token}" in "${bits}"`);
    const width = token.endsWith("'") || field === "rm" ? 3 : field === "csr" ? 12 : 5;
    slices.push({ field, at, low: 0, width });
    at += width;
  }
  if (at !== 16 && at !== 32) throw new Error(`"${bits}" has ${at} bits`);
  return {
    length: at / 8,
    mask: mask >>> 0,
    match: match >>> 0,
    slices,
    fields: new Set(slices.map((s) => s.field)),
    signedBits,
  };
}

/** Cuts the operands out of an instruction. */
export function cutFields(encoding: Encoding, bits: number): Fields {
  const fields = { ...NO_FIELDS };
  for (const { field, at, low, width } of encoding.slices) {
    const raw = bits >>> at & (1 << width) - 1;
    if (width === 3 && field !== "rm" && field !== "imm") fields[field] = raw + 8;
    else fields[field] |= raw << low;
  }
  if (encoding.signedBits) {
    const unused = 32 - encoding.signedBits;
    fields.imm = fields.imm << unused >> unused;
  }
  return fields;
}

/** Puts operands into an instruction. Throws a `RangeError` for an operand that does not fit. */
export function putFields(encoding: Encoding, fields: Partial<Fields>): number {
  let bits = encoding.match;
  for (const { field, at, low, width } of encoding.slices) {
    const value = fields[field] ?? 0;
    const raw = width === 3 && field !== "rm" && field !== "imm" ? value - 8 : value >> low;
    bits |= (raw & (2 ** width - 1)) << at;
  }
  const back = cutFields(encoding, bits >>> 0);
  for (const field of encoding.fields) {
    const wanted = fields[field] ?? 0;
    if (back[field] !== wanted) throw new RangeError(`${field} = ${wanted} can not be encoded`);
  }
  return bits >>> 0;
}

/** A decoded instruction. */
export interface Decoded {
  /** The row that says what it means; its index in the instruction table. */
  readonly row: Row;
  readonly index: number;
  readonly fields: Fields;
  /** Bytes: 2 or 4. */
  readonly length: number;
  /** What was found in memory, if it was compressed. */
  readonly compressed?: CompressedRow;
}

interface Pattern extends Encoding {
  readonly index: number;
  readonly compressed?: CompressedRow;
}

/** The instruction table: all rows, with what is needed to decode, assemble and disassemble. */
export class InstructionTable {
  readonly encodings: readonly Encoding[];
  readonly #byName = new Map<string, number>();
  // Patterns by the bits that tell most apart: the major opcode and funct3, or quadrant and funct3.
  readonly #buckets: Pattern[][] = Array.from({ length: 2 ** 10 }, () => []);

  constructor(readonly rows: readonly Row[], readonly compressed: readonly CompressedRow[]) {
    this.encodings = rows.map((row) => parseBits(row.bits));
    rows.forEach((row, i) => this.#byName.set(row.name, i));
    const patterns: Pattern[] = [
      ...this.encodings.map((encoding, index) => ({ ...encoding, index })),
      ...compressed.map((c) => ({ ...parseBits(c.bits), index: this.indexOf(c.is), compressed: c })),
    ];
    // Where one encoding is a special case of another, the one with more fixed bits goes first.
    const fixed = new Map(patterns.map((p) => [p, p.mask.toString(2).replaceAll("0", "").length]));
    patterns.sort((a, b) => fixed.get(b)! - fixed.get(a)!);
    const byOpcode = Map.groupBy(patterns, ({ match }) => opcode(match));
    for (let key = 0; key < this.#buckets.length; key++) {
      const [bits, mask] = bucketBits(key);
      const sameOpcode = byOpcode.get(opcode(bits)) ?? [];
      this.#buckets[key] = sameOpcode.filter((p) => ((bits ^ p.match) & p.mask & mask) === 0);
    }
  }

  /** The index of the row of that name. */
  indexOf(name: string): number {
    const index = this.#byName.get(name);
    if (index === undefined) throw new RangeError(`no instruction is called "${name}"`);
    return index;
  }

  /** All patterns, for tests: which instruction each stands for. */
  get patterns(): readonly Pattern[] {
    return [...new Set(this.#buckets.flat())];
  }

  /** Decodes an instruction; `undefined` for an illegal one. Of 16-bit ones only the low half is looked at. */
  decode(bits: number): Decoded | undefined {
    if ((bits & 3) !== 3) bits &= 0xffff;
    for (const pattern of this.#buckets[bucketKey(bits)]) {
      if ((bits & pattern.mask) >>> 0 !== pattern.match) continue;
      const cut = cutFields(pattern, bits);
      const row = this.rows[pattern.index];
      const { compressed, index, length } = pattern;
      if (!compressed) return { row, index, fields: cut, length };
      if (compressed.unless?.(cut)) continue;
      const fields = { ...cut };
      for (const [name, from] of Object.entries(compressed.with ?? {})) {
        fields[name as keyof Fields] = typeof from === "number" ? from : cut[from];
      }
      return { row, index, fields, length, compressed };
    }
    return undefined;
  }
}

/** The major opcode, of a compressed instruction the quadrant: fixed in every encoding. */
function opcode(bits: number): number {
  return (bits & 3) === 3 ? bits & 0x7f : bits & 3;
}

function bucketKey(bits: number): number {
  return (bits & 3) === 3 ? bits & 0x7f | (bits >> 5 & 0x380) : bits & 3 | (bits >> 11 & 0x1c) << 2;
}

/** The instruction bits that a bucket's key stands for, and their mask. */
function bucketBits(key: number): [bits: number, mask: number] {
  return (key & 3) === 3 ? [key & 0x7f | (key & 0x380) << 5, 0x707f] : [key & 3 | (key >> 2 & 0x1c) << 11, 0xe003];
}
