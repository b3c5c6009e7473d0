// The instruction table's row: encoding, name and meaning of one instruction side by side.

import type { Meaning } from "../vocabulary.ts";

/** Operand fields of an instruction, by name: register numbers, the immediate, csr, rounding mode… */
export interface Fields {
  rd: number;
  rs1: number;
  rs2: number;
  fd: number;
  fs1: number;
  fs2: number;
  fs3: number;
  /** Sign-extended unless the encoding says `uimm`. */
  imm: number;
  csr: number;
  rm: number;
}

/**
 * One instruction.
 *
 * `bits` is read from the most significant bit: binary digits stand for themselves; `rd rs1 rs2` take 5 bits,
 * `rd' rs1' rs2'` 3 bits (registers 8–15), `fd fs1 fs2 fs3` are the same for floating-point registers, `rm` 3, `csr` 12, `aq rl` 1, `-` one bit of any value; `imm[11:5]` is a slice
 * of the immediate, sign-extended from the highest bit that any slice names, `uimm[…]` one that is not.
 */
export interface Row {
  readonly name: string;
  readonly bits: string;
  readonly run: Meaning;
  /** Needs the floating-point unit on (mstatus.FS), else it is illegal. */
  readonly float?: true;
}

/** A compressed instruction: the same as another one with some of the operands fixed. */
export interface CompressedRow {
  readonly name: string;
  readonly bits: string;
  /** The instruction it stands for. */
  readonly is: string;
  /** Operands that the encoding does not hold: a number, or the field it is copied from. */
  readonly with?: Partial<Record<keyof Fields, number | keyof Fields>>;
  /** Encodings that are reserved although the bits match. */
  readonly unless?: (fields: Fields) => boolean;
}
