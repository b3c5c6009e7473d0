// The operands of each instruction as assembly text writes them, derived from its row (RISC-V Assembly Programmer's Manual).

import { CSRS } from "../csrs.ts";
import type { Encoding } from "../encoding.ts";
import { F_NAMES, X_NAMES } from "../registers.ts";
import type { Fields, Row } from "../rows/row.ts";

/** An operand as it is written: fields by their own names, and the forms that make more of a field. */
export type Operand =
  | "rd"
  | "rs1"
  | "rs2"
  | "fd"
  | "fs1"
  | "fs2"
  | "fs3"
  | "csr"
  | "rm"
  /** A signed immediate. */
  | "imm"
  /** An unsigned one. */
  | "uimm"
  /** Bits 31 to 12 of a value. */
  | "upper"
  /** The address that a branch goes to. */
  | "target"
  /** A register and an offset: `8(sp)`. */
  | "imm(rs1)"
  /** A register that holds an address: `(a0)`. */
  | "(rs1)"
  /** The small number that a CSR instruction has in the place of `rs1`. */
  | "zimm"
  /** What a fence orders: letters of `iorw`. */
  | "pred"
  | "succ";

const OPCODE = { LOAD: 0x03, LOAD_FP: 0x07, MISC_MEM: 0x0f, STORE: 0x23, STORE_FP: 0x27, JALR: 0x67 } as const;
const WITH_OFFSET: ReadonlySet<number> = new Set([
  OPCODE.LOAD,
  OPCODE.LOAD_FP,
  OPCODE.STORE,
  OPCODE.STORE_FP,
  OPCODE.JALR,
]);
const ORDER = ["rd", "fd", "csr", "rs1", "fs1", "rs2", "fs2", "fs3", "imm", "rm"] as const;
const MEMORY_ORDER = ["rd", "fd", "rs2", "fs2"] as const;

/** Suffixes of atomic instructions, by their bits aq and rl. */
export const ORDERINGS = ["", ".rl", ".aq", ".aqrl"] as const;
export const ORDERING_BIT = 25;
/** Rounding modes by number; 5 and 6 are reserved. */
export const ROUNDING = ["rne", "rtz", "rdn", "rup", "rmm", , , "dyn"] as const;
/** What a fence's letters mean, from the highest bit down. */
export const FENCE_LETTERS = "iorw";
/** Conversions that are always exact: their rounding mode is left out if it is this one. */
const EXACT: ReadonlySet<string> = new Set(["fcvt.d.s", "fcvt.d.w", "fcvt.d.wu"]);

/** Whether an instruction takes the suffixes of {@linkcode ORDERINGS}. */
export function isAtomic(row: Row): boolean {
  return row.bits.includes("aq rl");
}

/** The rounding mode that is meant where none is written. */
export function usualRounding(row: Row): number {
  return ROUNDING.indexOf(EXACT.has(row.name) ? "rne" : "dyn");
}

function immediateForm({ slices, signedBits }: Encoding): Operand {
  const lowest = Math.min(...slices.map(({ field, low }) => field === "imm" ? low : 32));
  if (lowest === 12) return "upper";
  if (lowest === 1) return "target";
  return signedBits ? "imm" : "uimm";
}

/** An instruction's operands in the order of the text. */
export function operandsOf(row: Row, encoding: Encoding): Operand[] {
  const opcode = encoding.match & 0x7f;
  if (opcode === OPCODE.MISC_MEM) return row.name === "fence" ? ["pred", "succ"] : [];
  const has = (field: keyof Fields): boolean => encoding.fields.has(field);
  if (isAtomic(row)) return [...MEMORY_ORDER.filter(has), "(rs1)"];
  if (WITH_OFFSET.has(opcode)) return [...MEMORY_ORDER.filter(has), "imm(rs1)"];
  return ORDER.filter(has).map((field) => {
    if (field === "imm") return immediateForm(encoding);
    return field === "rs1" && has("csr") && row.name.endsWith("i") ? "zimm" : field;
  });
}

function numbers(names: readonly string[], letter: string): [string, number][] {
  return names.flatMap((name, i): [string, number][] => [[name, i], [`${letter}${i}`, i]]);
}

/** Integer registers, by all their names. */
export const X_NUMBERS: ReadonlyMap<string, number> = new Map([...numbers(X_NAMES, "x"), ["fp", 8]]);
/** Floating-point registers, by all their names. */
export const F_NUMBERS: ReadonlyMap<string, number> = new Map(numbers(F_NAMES, "f"));
/** CSRs of the engine by name. */
export const CSR_NUMBERS: ReadonlyMap<string, number> = new Map(CSRS.map(({ name, number }) => [name, number]));
