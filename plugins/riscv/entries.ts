// Predecoded entries: an instruction's bits turned into what the interpreter runs (see CODE in layout.ts).

import type { InstructionTable } from "./encoding.ts";
import { SINK } from "./layout.ts";

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

/** Instructions remembered, by a hash of their bits: programs repeat themselves. */
const REMEMBERED = 2 ** 15;

/** Makes entries. The result of `encode` stands in its fields, so that making one allocates nothing. */
export class EntryEncoder {
  low = 0;
  high = 0;
  /** Bytes to the next instruction; 0 where what follows may be no code: behind jumps and illegal instructions. */
  step = 0;

  // Bits, low, high and step of each remembered instruction.
  readonly #memo = new Int32Array(REMEMBERED * 4);
  readonly #endsRun: readonly boolean[];

  constructor(readonly table: InstructionTable, readonly handlers: HandlerNumbers) {
    this.#endsRun = table.rows.map((row) => /^(jal|jalr|mret|sret|ebreak)$/.test(row.name));
  }

  /** Encodes the instruction with these bits; of a 16-bit one only the low half counts. */
  encode(bits: number): void {
    if ((bits & 3) !== 3) bits &= 0xffff;
    const memo = this.#memo;
    const at = ((bits ^ bits >>> 15) & REMEMBERED - 1) * 4;
    if (memo[at] !== bits || memo[at + 1] === 0) {
      this.#encode(bits);
      memo[at] = bits;
      memo[at + 1] = this.low;
      memo[at + 2] = this.high;
      memo[at + 3] = this.step;
    }
    this.low = memo[at + 1];
    this.high = memo[at + 2];
    this.step = memo[at + 3];
  }

  #encode(bits: number): void {
    const decoded = this.table.decode(bits);
    if (!decoded) {
      this.low = this.handlers.illegal;
      this.high = bits;
      this.step = 0;
      return;
    }
    const { fields, index, length } = decoded;
    const has = this.table.encodings[index].fields;
    const register = (n: number) => n * 8;
    const a = has.has("fd") ? fields.fd : has.has("rd") ? fields.rd || SINK : has.has("fs2") ? fields.fs2 : fields.rs2;
    const b = has.has("fs1") ? fields.fs1 : fields.rs1;
    const rest = has.has("imm")
      ? fields.imm
      : has.has("csr")
      ? fields.csr
      : register(has.has("fs2") ? fields.fs2 : fields.rs2) | register(fields.fs3) << 10 | fields.rm << 20;
    this.low = this.handlers.of(index, length) | register(a) << 10 | register(b) << 20;
    this.high = rest;
    this.step = this.#endsRun[index] ? 0 : length;
  }
}
