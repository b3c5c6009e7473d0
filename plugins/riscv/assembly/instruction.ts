// Encodes one instruction from its text, by the rows of the instruction table.

import { type Encoding, putFields } from "../encoding.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import type { Fields, Row } from "../rows/row.ts";
import { evaluate, type Lookup } from "./expression.ts";
import { operandCounts } from "./pseudo.ts";
import {
  CSR_NUMBERS,
  F_NUMBERS,
  FENCE_LETTERS,
  isAtomic,
  type Operand,
  operandsOf,
  ORDERING_BIT,
  ORDERINGS,
  ROUNDING,
  usualRounding,
  X_NUMBERS,
} from "./syntax.ts";
import { Fault } from "./text.ts";

/** An instruction that a mnemonic names. */
export interface Mnemonic {
  readonly row: Row;
  readonly encoding: Encoding;
  readonly operands: readonly Operand[];
  /** Bits that the mnemonic's suffix sets. */
  readonly ordering: number;
}

const NAMES: ReadonlyMap<string, number> = new Map(INSTRUCTIONS.rows.map(({ name }, i) => [name, i]));

/** The instruction of that name, atomic ones with the suffixes for their ordering. */
export function findMnemonic(name: string): Mnemonic | undefined {
  const [, plain, suffix] = /^(.*?)(|\.aq|\.rl|\.aqrl)$/.exec(name)!;
  const index = NAMES.get(plain);
  if (index === undefined) return undefined;
  const row = INSTRUCTIONS.rows[index];
  if (suffix && !isAtomic(row)) return undefined;
  const encoding = INSTRUCTIONS.encodings[index];
  const ordering = ORDERINGS.indexOf(suffix as typeof ORDERINGS[number]) << ORDERING_BIT;
  return { row, encoding, operands: operandsOf(row, encoding), ordering };
}

/** An instruction's place: its address, and the symbols that it may name. */
export interface Place {
  readonly at: number;
  readonly lookup: Lookup;
}

/** The instruction's 32 bits. Throws a {@linkcode Fault} for operands that it does not take. */
export function encode(
  { row, encoding, operands, ordering }: Mnemonic,
  given: readonly string[],
  place: Place,
): number {
  const required = operands.filter((operand) => operand !== "rm").length;
  if (given.length < required || given.length > operands.length) {
    const counts = [...new Set([required, operands.length, ...operandCounts(row.name)])].sort().join(" or ");
    throw new Fault(`wanted ${row.name} with ${counts} operands (${operands.join(", ")}), got ${given.length}`);
  }
  const fields: Partial<Fields> = { rm: usualRounding(row) };
  operands.forEach((operand, i) => {
    if (given[i] !== undefined) parseOperand(operand, given[i], fields, encoding, place);
  });
  return putFields(encoding, fields) | ordering;
}

function parseOperand(operand: Operand, text: string, fields: Partial<Fields>, encoding: Encoding, place: Place): void {
  const immediate = (least: bigint, most: bigint, step = 1n): number => {
    const value = evaluate(text, place.lookup);
    return Number(within(operand, value, least, most, step));
  };
  switch (operand) {
    case "rd":
    case "rs1":
    case "rs2":
      fields[operand] = numbered(X_NUMBERS, text, "an integer register");
      break;
    case "fd":
    case "fs1":
    case "fs2":
    case "fs3":
      fields[operand] = numbered(F_NUMBERS, text, "a floating-point register");
      break;
    case "csr":
      fields.csr = CSR_NUMBERS.get(text) ?? immediate(0n, 0xfffn);
      break;
    case "rm":
      fields.rm = rounding(text);
      break;
    case "imm":
    case "uimm":
      fields.imm = immediate(...bounds(encoding));
      break;
    case "upper":
      fields.imm = immediate(0n, 0xf_ffffn) << 12;
      break;
    case "target": {
      const distance = evaluate(text, place.lookup) - BigInt(place.at);
      fields.imm = Number(within("distance to the target", distance, ...bounds(encoding), 2n));
      break;
    }
    case "imm(rs1)":
    case "(rs1)": {
      const [, offset, base] = /^(.*)\(\s*(\w+)\s*\)$/s.exec(text) ?? [];
      if (base === undefined) throw new Fault(`wanted an address such as 8(sp), got ${text}`);
      fields.rs1 = numbered(X_NUMBERS, base, "an integer register");
      const value = evaluate(offset.trim() || "0", place.lookup);
      const [least, most] = operand === "imm(rs1)" ? bounds(encoding) : [0n, 0n];
      if (operand === "imm(rs1)") fields.imm = Number(within("offset", value, least, most));
      else within("offset", value, least, most);
      break;
    }
    case "zimm":
      fields.rs1 = immediate(0n, 31n);
      break;
    case "pred":
    case "succ":
      fields.imm = (fields.imm ?? 0) | fenceSet(text) << (operand === "pred" ? 4 : 0);
  }
}

/** The least and the greatest immediate that an encoding holds. */
function bounds({ slices, signedBits }: Encoding): [bigint, bigint] {
  if (signedBits) return [-1n << BigInt(signedBits - 1), (1n << BigInt(signedBits - 1)) - 1n];
  const bits = slices.reduce((sum, { field, width }) => field === "imm" ? sum + width : sum, 0);
  return [0n, (1n << BigInt(bits)) - 1n];
}

function within(what: string, value: bigint, least: bigint, most: bigint, step = 1n): bigint {
  if (value >= least && value <= most && value % step === 0n) return value;
  const kind = step === 1n ? "a number" : "an even number";
  throw new Fault(`wanted as ${what} ${kind} from ${least} to ${most}, got ${value}`);
}

function numbered(names: ReadonlyMap<string, number>, text: string, wanted: string): number {
  const number = names.get(text);
  if (number === undefined) throw new Fault(`wanted ${wanted}, got ${text || "nothing"}`);
  return number;
}

function rounding(text: string): number {
  const mode = ROUNDING.findIndex((name) => name === text);
  if (mode < 0) throw new Fault(`wanted a rounding mode such as rtz, got ${text || "nothing"}`);
  return mode;
}

function fenceSet(text: string): number {
  if (!/^(?=.)i?o?r?w?$/.test(text)) throw new Fault(`wanted letters of ${FENCE_LETTERS} in this order, got ${text}`);
  return [...FENCE_LETTERS].reduce((set, letter, i) => text.includes(letter) ? set | 8 >> i : set, 0);
}
