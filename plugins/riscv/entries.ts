// Predecoded entries: an instruction's bits turned into what the interpreter runs (see CODE in layout.ts).

import { BRANCH, type InstructionTable, type Pattern } from "./encoding.ts";
import { SINK } from "./layout.ts";
import type { Fields } from "./rows/row.ts";

/** Numbers of the interpreter's handlers. */
export interface HandlerNumbers {
  /** Not decoded yet; must be 0, as fresh pages are zero. */
  readonly decode: 0;
  /** Steps past the end of the page. */
  readonly pageEnd: number;
  /** A 4-byte instruction whose second half is on the next page. */
  readonly crossing: number;
  readonly illegal: number;
  /** The start of a compiled region, whose index in the table stands in the high half. */
  readonly compiled: number;
  /** The handler of a row, for an instruction of 2 or 4 bytes. */
  of(index: number, length: number): number;
}

/** A run of instruction bits that goes to a run of an entry's bits. */
interface Move {
  readonly from: number;
  readonly mask: number;
  readonly to: number;
}

/** How the instructions of one pattern become entries: the bits that are the same for all, and those that are moved. */
interface Recipe {
  readonly low: number;
  readonly high: number;
  readonly a: Move;
  readonly b: Move;
  readonly rest: readonly Move[];
  /** Whether `a` is a destination, so that `x0` becomes the sink. */
  readonly sinks: boolean;
  /** Bits of the high half above its sign. */
  readonly unused: number;
  readonly step: number;
}

/** Where register numbers, in bytes, stand in an entry's low half. */
const A = 10 + 3;
const B = 20 + 3;
const NO_MOVE: Move = { from: 0, mask: 0, to: 0 };
/** What ends a basic block besides branches; behind other system instructions control mostly goes on. */
const ENDS_BLOCK = /^(jal|jalr|mret|sret|ebreak)$/;

/** Makes entries. The result of `encode` stands in its fields, so that making one allocates nothing. */
export class EntryEncoder {
  low = 0;
  high = 0;
  /** Bytes to the next instruction of the basic block, or 0: behind it, and behind an illegal one, may be no code. */
  step = 0;

  readonly #recipes: Recipe[] = [];
  /** What the 16-bit instructions seen so far became: both halves, and the step + 1, or 0. */
  readonly #lows = new Int32Array(2 ** 16);
  readonly #highs = new Int32Array(2 ** 16);
  readonly #steps = new Uint8Array(2 ** 16);

  constructor(readonly table: InstructionTable, readonly handlers: HandlerNumbers) {}

  /** Encodes the instruction with these bits; of a 16-bit one only the low half counts. */
  encode(bits: number): void {
    if ((bits & 3) === 3) return this.#make(bits);
    const half = bits & 0xffff;
    const known = this.#steps[half];
    if (known) {
      this.low = this.#lows[half];
      this.high = this.#highs[half];
      this.step = known - 1;
      return;
    }
    this.#make(half);
    this.#lows[half] = this.low;
    this.#highs[half] = this.high;
    this.#steps[half] = this.step + 1;
  }

  #make(bits: number): void {
    const number = this.table.find(bits);
    if (number < 0) {
      this.low = this.handlers.illegal;
      this.high = bits;
      this.step = 0;
      return;
    }
    const { low, high, a, b, rest, sinks, unused, step } = this.#recipes[number] ??= this.#recipe(number);
    this.low = low | (bits >>> a.from & a.mask) << A | (bits >>> b.from & b.mask) << B;
    if (sinks && (this.low & 31 << A) === 0) this.low |= SINK << A;
    let all = high;
    for (let i = 0; i < rest.length; i++) {
      const { from, mask, to } = rest[i];
      all |= (bits >>> from & mask) << to;
    }
    this.high = all << unused >> unused;
    this.step = step;
  }

  #recipe(number: number): Recipe {
    const pattern = this.table.patterns[number];
    const { index, length, signedBits } = pattern;
    const { fields } = this.table.encodings[index];
    const { name } = this.table.rows[index];
    const source = fields.has("fs2") ? "fs2" : "rs2";
    const a = place(pattern, fields.has("fd") ? "fd" : fields.has("rd") ? "rd" : source, A);
    const b = place(pattern, fields.has("fs1") ? "fs1" : "rs1", B);
    const rest = fields.has("imm")
      ? [place(pattern, "imm", 0)]
      : fields.has("csr")
      ? [place(pattern, "csr", 0)]
      : [place(pattern, source, 3), place(pattern, "fs3", A), place(pattern, "rm", 20)];
    return {
      low: this.handlers.of(index, length) | a.fixed | b.fixed,
      high: rest.reduce((bits, { fixed }) => bits | fixed, 0),
      a: a.moves[0] ?? NO_MOVE,
      b: b.moves[0] ?? NO_MOVE,
      rest: rest.flatMap(({ moves }) => moves),
      sinks: fields.has("rd"),
      unused: signedBits && 32 - signedBits,
      step: BRANCH.test(name) || ENDS_BLOCK.test(name) ? 0 : length,
    };
  }
}

/** How an operand comes to its place in an entry. */
function place({ slices, compressed }: Pattern, operand: keyof Fields, at: number): { fixed: number; moves: Move[] } {
  const given = compressed?.with?.[operand] ?? operand;
  if (typeof given === "number") return { fixed: given << at, moves: [] };
  const parts = slices.filter(({ field }) => field === given);
  return {
    fixed: parts.reduce((bits, { plus }) => bits | plus << at, 0),
    moves: parts.map((slice) => ({ from: slice.at, mask: 2 ** slice.width - 1, to: at + slice.low })),
  };
}
