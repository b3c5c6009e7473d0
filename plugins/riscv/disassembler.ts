// Instructions as text, in the style of GNU objdump with `-M no-aliases` (RISC-V Assembly Programmer's Manual).

import {
  compressedOperands,
  CSR_NAMES,
  FENCE_LETTERS,
  FENCE_TSO,
  isAtomic,
  type Operand,
  operandsOf,
  ORDERING_BIT,
  ORDERINGS,
  ROUNDING,
  usualRounding,
} from "./assembly/syntax.ts";
import { INSTRUCTIONS } from "./instructions.ts";
import { F_NAMES, X_NAMES } from "./registers.ts";
import type { Fields } from "./rows/row.ts";

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

/**
 * The text of the instruction that stands in memory at `pc`: of the 32 bits there, or of the low 16 if it is a
 * compressed one. What is no instruction of the engine becomes data.
 *
 * @example
 * ```ts
 * import { disassemble } from "./disassembler.ts";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(disassemble(0x00813503), "ld a0,8(sp)");
 * ```
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
