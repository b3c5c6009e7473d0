// Instructions as text, in the style of GNU objdump with `-M no-aliases` (RISC-V Assembly Programmer's Manual).

import {
  FENCE_LETTERS,
  isAtomic,
  type Operand,
  operandsOf,
  ORDERING_BIT,
  ORDERINGS,
  ROUNDING,
  usualRounding,
} from "../../plugins/riscv/assembly/syntax.ts";
import { CSRS } from "../../plugins/riscv/csrs.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { F_NAMES, X_NAMES } from "../../plugins/riscv/registers.ts";
import type { CompressedRow, Fields } from "../../plugins/riscv/rows/row.ts";

/** The names of CSRs. */
export const CSR_NAMES: ReadonlyMap<number, string> = new Map(CSRS.map(({ name, number }) => [number, name]));
const FENCE_TSO = 0x8330000f;

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

function fenceSet(bits: number): string {
  const letters = [...FENCE_LETTERS].filter((_, i) => bits & 8 >> i).join("");
  return letters || "unknown";
}

function operandText(operand: Operand, fields: Fields, pc: bigint): string {
  switch (operand) {
    case "rd":
    case "rs1":
    case "rs2":
      return X_NAMES[fields[operand]];
    case "fd":
    case "fs1":
    case "fs2":
    case "fs3":
      return F_NAMES[fields[operand]];
    case "csr":
      return CSR_NAMES.get(fields.csr) ?? hex(fields.csr);
    case "rm":
      return ROUNDING[fields.rm] ?? "unknown";
    case "imm":
      return String(fields.imm);
    case "uimm":
      return hex(fields.imm);
    case "upper":
      return hex(fields.imm >>> 12);
    case "target":
      return hex(BigInt.asUintN(64, pc + BigInt(fields.imm)));
    case "imm(rs1)":
      return `${fields.imm}(${X_NAMES[fields.rs1]})`;
    case "(rs1)":
      return `(${X_NAMES[fields.rs1]})`;
    case "zimm":
      return String(fields.rs1);
    case "pred":
      return fenceSet(fields.imm >> 4 & 15);
    case "succ":
      return fenceSet(fields.imm & 15);
  }
}

/** The operands that are left to write in a compressed form: what it fixes goes without saying, but for `sp`. */
function compressedOperands(operands: readonly Operand[], { with: fixed = {} }: CompressedRow): Operand[] {
  const SP = 2;
  return operands.flatMap((operand): Operand[] => {
    if (operand === "imm(rs1)") return fixed.imm === undefined ? ["imm(rs1)"] : ["rs1"];
    const value = fixed[operand as keyof Fields];
    const repeated = operand === "rs1" && fixed.rd === SP;
    return value === undefined || value === SP && !repeated ? [operand] : [];
  });
}

/**
 * The text of the instruction that stands in memory at `pc`: of the 32 bits there, or of the low 16 if it is a
 * compressed one. What is no instruction of the engine becomes data.
 */
export function disassemble(bits: number, pc: bigint = 0n): string {
  const decoded = INSTRUCTIONS.decode(bits);
  if (!decoded) {
    const short = (bits & 3) !== 3;
    return short ? `.half ${hex(bits & 0xffff)}` : `.word ${hex(bits >>> 0)}`;
  }
  if (bits >>> 0 === FENCE_TSO) return "fence.tso";
  const { row, index, fields, compressed } = decoded;
  let operands = operandsOf(row, INSTRUCTIONS.encodings[index]);
  if (compressed) operands = compressedOperands(operands, compressed);
  if (fields.rm === usualRounding(row)) operands = operands.filter((operand) => operand !== "rm");
  const ordering = isAtomic(row) ? ORDERINGS[bits >>> ORDERING_BIT & 3] : "";
  const name = (compressed ?? row).name + ordering;
  return [name, operands.map((operand) => operandText(operand, fields, pc)).join(",")].join(" ").trimEnd();
}
