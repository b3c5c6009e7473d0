// Encodings: the `bits` of a row parsed once, for decoding, assembling and disassembling (unprivileged specification, section 1.5).

import type { CompressedRow, Fields, Row } from "./rows/row.ts";

/** A run of instruction bits that holds a run of an operand's bits. */
interface Slice {
  readonly field: keyof Fields;
  /** Lowest bit in the instruction, lowest bit in the operand, how many. */
  readonly at: number;
  readonly low: number;
  readonly width: number;
  /** Bits that the operand has besides: registers of three bits are 8–15. */
  readonly plus: number;
}

/** A parsed encoding. */
export interface Encoding {
  /** Bytes: 2 or 4. */
  readonly length: number;
  /** An instruction matches if `(bits & mask) == match`; 32-bit integers with a sign, as `bits & mask` is one. */
  readonly mask: number;
  readonly match: number;
  readonly slices: readonly Slice[];
  /** The operands it holds. */
  readonly fields: ReadonlySet<keyof Fields>;
  /** Bits of a signed immediate, or 0. */
  readonly signedBits: number;
}

/** The names of conditional branches. */
export const BRANCH = /^(beq|bne|blt|bge|bltu|bgeu)$/;

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
        slices.push({ field: "imm", at, low, width, plus: 0 });
        at += width;
        if (!immediate[1]) signedBits = Math.max(signedBits, high + 1);
      }
      continue;
    }
    const field = token.replace("'", "") as keyof Fields;
    if (!(field in NO_FIELDS)) throw new Error(`unknown field "${token}" in "${bits}"`);
    const isShort = token.endsWith("'");
    const width = isShort || field === "rm" ? 3 : field === "csr" ? 12 : 5;
    slices.push({ field, at, low: 0, width, plus: isShort ? 8 : 0 });
    at += width;
  }
  if (at !== 16 && at !== 32) throw new Error(`"${bits}" has ${at} bits`);
  return {
    length: at / 8,
    mask,
    match,
    slices,
    fields: new Set(slices.map((s) => s.field)),
    signedBits,
  };
}

/** Cuts the operands out of an instruction. */
export function cutFields(encoding: Encoding, bits: number): Fields {
  const fields = { ...NO_FIELDS };
  const { slices } = encoding;
  for (let i = 0; i < slices.length; i++) {
    const { field, at, low, width, plus } = slices[i];
    fields[field] |= (bits >>> at & (1 << width) - 1) << low | plus;
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
  for (const { field, at, low, width, plus } of encoding.slices) {
    const raw = (fields[field] ?? 0) - plus >> low;
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

/** An encoding, and the row that it stands for. */
export interface Pattern extends Encoding {
  readonly index: number;
  readonly compressed: CompressedRow | undefined;
}

/** The instruction table: all rows, with what is needed to decode, assemble and disassemble. */
export class InstructionTable {
  readonly encodings: readonly Encoding[];
  /** The encodings of all rows. Where one is a special case of another, the one with more fixed bits goes first. */
  readonly patterns: readonly Pattern[];
  readonly #byName = new Map<string, number>();
  /** Numbers of patterns, in order, by the bits that tell most apart: the major opcode and funct3, or quadrant and funct3. */
  readonly #buckets: number[][] = Array.from({ length: 2 ** 10 }, () => []);

  constructor(readonly rows: readonly Row[], readonly compressed: readonly CompressedRow[]) {
    this.encodings = rows.map((row) => parseBits(row.bits));
    rows.forEach((row, i) => this.#byName.set(row.name, i));
    const patterns: Pattern[] = [
      ...this.encodings.map((encoding, index) => ({ ...encoding, index, compressed: undefined })),
      ...compressed.map((c) => ({ ...parseBits(c.bits), index: this.indexOf(c.is), compressed: c })),
    ];
    const fixed = new Map(patterns.map((p) => [p, (p.mask >>> 0).toString(2).replaceAll("0", "").length]));
    this.patterns = patterns.sort((a, b) => fixed.get(b)! - fixed.get(a)!);
    this.patterns.forEach(({ match, mask, length }, number) => {
      for (let difference = 0; difference < 8; difference++) {
        const funct3 = difference << (length === 4 ? 12 : 13);
        if ((funct3 & mask) === 0) this.#buckets[bucketKey(match ^ funct3)].push(number);
      }
    });
  }

  /** The index of the row of that name. */
  indexOf(name: string): number {
    const index = this.#byName.get(name);
    if (index === undefined) throw new RangeError(`no instruction is called "${name}"`);
    return index;
  }

  /** The number of the pattern that an instruction matches; -1 for an illegal one. Of 16-bit ones only the low half is looked at. */
  find(bits: number): number {
    if ((bits & 3) !== 3) bits &= 0xffff;
    // Loops by index here, in `cutFields` and in entries.ts: much of a guest's code is decoded before V8 has compiled
    // them, and until then for-of takes several times as long.
    const bucket = this.#buckets[bucketKey(bits)];
    for (let i = 0; i < bucket.length; i++) {
      const number = bucket[i];
      const pattern = this.patterns[number];
      if ((bits & pattern.mask) !== pattern.match) continue;
      if (!pattern.compressed?.unless?.(cutFields(pattern, bits))) return number;
    }
    return -1;
  }

  /** Decodes an instruction; `undefined` for an illegal one. Of 16-bit ones only the low half is looked at. */
  decode(bits: number): Decoded | undefined {
    const number = this.find(bits);
    if (number < 0) return undefined;
    const pattern = this.patterns[number];
    const { index, length, compressed } = pattern;
    const fields = cutFields(pattern, bits);
    for (const name in compressed?.with) {
      const from = compressed.with[name as keyof Fields]!;
      fields[name as keyof Fields] = typeof from === "number" ? from : fields[from];
    }
    return { row: this.rows[index], index, fields, length, compressed };
  }
}

/** The major opcode and funct3 of an instruction, of a compressed one the quadrant and funct3. */
function bucketKey(bits: number): number {
  return (bits & 3) === 3 ? bits & 0x7f | bits >> 5 & 0x380 : bits & 3 | bits >> 6 & 0x380;
}
