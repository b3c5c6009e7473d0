// Random instructions for cases' code: straight on, with branches ahead, whatever they do to registers that hold no address.

import { type Encoding, parseBits } from "../../plugins/riscv/encoding.ts";
import { putFields } from "../../plugins/riscv/encoding.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import type { CompressedRow, Fields, Row } from "../../plugins/riscv/rows/row.ts";
import { Operands } from "../plugins/riscv/fp_operands.ts";
import type { Instruction } from "./case.ts";
import { AT } from "./runtime.ts";

/** Registers that hold addresses of data, at any alignment: compressed instructions reach some of them. */
export const POINTERS = [2, 8, 9, 18];
/** The same, multiples of 8. */
export const ALIGNED = [16, 17];
const KEPT = new Set([...POINTERS, ...ALIGNED]);

const BRANCH = /^(c\.)?(b(eq|ne|lt|ge)u?z?|jal|j)$/;
const MEMORY = /^(c\.)?(l[bhwd]u?|s[bhwd]|fl[wd]|fs[wd])(sp)?$/;
const ATOMIC = /^amo/;
const PAIRED = /^(lr|sc)\./;
const JUMP = /^(c\.)?(jalr|jr)$/;
/** What needs the result of the instruction before it, or that instruction. */
const NEEDY = /^(jalr|c\.jr|c\.jalr|sc\.[wd])$/;
const SYSTEM = /^(csr|ecall|ebreak|[ms]ret|wfi|pause|fence|sfence|sinval|c\.ebreak)/;

type AnyRow = Row | CompressedRow;
const isCompressed = (row: AnyRow): row is CompressedRow => "is" in row;
const floats = new Set(INSTRUCTIONS.rows.filter((row) => row.float).map(({ name }) => name));
const encodings = new Map<AnyRow, Encoding>(
  [...INSTRUCTIONS.rows, ...INSTRUCTIONS.compressed].map((row) => [row, parseBits(row.bits)]),
);

/** The kinds of instructions that a body is made of. */
export type Kind = "integer" | "float" | "memory" | "atomic" | "branch";

function kindOf(row: AnyRow): Kind | undefined {
  const { name } = row;
  if (SYSTEM.test(name) || PAIRED.test(name) || JUMP.test(name)) return undefined;
  if (BRANCH.test(name)) return "branch";
  if (MEMORY.test(name)) return "memory";
  if (ATOMIC.test(name)) return "atomic";
  return floats.has(isCompressed(row) ? row.is : name) ? "float" : "integer";
}

/** All instructions of each kind, compressed ones too. */
export const ROWS: Readonly<Record<Kind, readonly AnyRow[]>> = (() => {
  const rows: Record<Kind, AnyRow[]> = { integer: [], float: [], memory: [], atomic: [], branch: [] };
  for (const row of encodings.keys()) {
    const kind = kindOf(row);
    if (kind) rows[kind].push(row);
  }
  return rows;
})();

/** What a stream of random adds for cases. */
export class Random extends Operands {
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
  chance(one: number): boolean {
    return this.below(one) === 0;
  }
  /** Ones at the bits of `mask` that chance picks. */
  some(mask: bigint): bigint {
    return this.bits(64) & mask;
  }
}

/** How a body is made. */
export interface BodyOptions {
  readonly length: number;
  /** How often each kind comes, of their sum. */
  readonly kinds: Partial<Readonly<Record<Kind, number>>>;
  /** Names that may be used. */
  readonly may: (name: string) => boolean;
  /** Nothing in it may trap. */
  readonly harmless?: boolean;
  /** Registers that must not be written, besides those with addresses. */
  readonly kept?: readonly number[];
}

/** Writes a body. */
export class Body {
  readonly #kept: ReadonlySet<number>;
  readonly #rows: Partial<Record<Kind, readonly AnyRow[]>> = {};
  readonly #wheel: readonly Kind[];

  constructor(readonly random: Random, readonly options: BodyOptions) {
    this.#kept = new Set([...KEPT, ...options.kept ?? []]);
    const kinds = Object.entries(options.kinds) as [Kind, number][];
    for (const [kind] of kinds) this.#rows[kind] = ROWS[kind].filter(({ name }) => options.may(name));
    this.#wheel = kinds.flatMap(([kind, share]) => this.#rows[kind]!.length ? Array(share).fill(kind) : []);
  }

  make(): Instruction[] {
    const { length } = this.options;
    const code: { row: AnyRow; fields: Partial<Fields>; length: 2 | 4; target?: number }[] = [];
    const push = (name: string, fields: Partial<Fields>, target?: number) => {
      code.push({ row: INSTRUCTIONS.rows[INSTRUCTIONS.indexOf(name)], fields, length: 4, target });
    };
    while (code.length < length) {
      if (this.#wheel.includes("atomic") && this.random.chance(10)) {
        this.#pair(code.length, push);
        continue;
      }
      if (this.#wheel.includes("branch") && this.random.chance(40)) { // a jump by a register, a little ahead
        push("auipc", { rd: 5 });
        const compressed = this.random.pick([undefined, "c.jr", "c.jalr"]);
        if (compressed) {
          push("addi", { rd: 5, rs1: 5, imm: 10 });
          const row = INSTRUCTIONS.compressed.find(({ name }) => name === compressed)!;
          code.push({ row, fields: parseBits(row.bits).fields.has("rd") ? { rd: 5 } : { rs1: 5 }, length: 2 });
        } else {
          push("jalr", { rd: this.#destination(), rs1: 5, imm: 8 });
        }
        continue;
      }
      const row = this.random.pick(this.#rows[this.random.pick(this.#wheel)]!);
      const target = BRANCH.test(row.name) ? code.length + 1 + this.random.below(5) : undefined;
      if (row.name === "c.addi16sp") { // there and back again
        const imm = 16 * (1 + this.random.below(31)) * this.random.pick([1, -1]);
        for (const each of [imm, -imm]) code.push({ row, fields: { imm: each }, length: 2 });
        continue;
      }
      code.push({ row, fields: this.#fields(row), length: isCompressed(row) ? 2 : 4, target });
    }
    const places = [0];
    for (const { length } of code) places.push(places.at(-1)! + length);
    const needy = new Set(code.flatMap(({ row }, i) => NEEDY.test(row.name) ? [i - 1, i] : []));
    return code.map(({ row, fields, length, target }, i) => {
      // Not to between an instruction and the one that needs its result.
      let to = target;
      while (to !== undefined && to > i && needy.has(to)) to++;
      const imm = to === undefined ? fields : { ...fields, imm: places[Math.min(to, code.length)] - places[i] };
      return { bits: putFields(encodings.get(row)!, imm), length };
    });
  }

  /** Load-reserved and store-conditional: until it succeeds, to another place, or without a reservation. */
  #pair(at: number, push: (name: string, fields: Partial<Fields>, target?: number) => void): void {
    const { random } = this;
    const size = random.pick(["w", "d"]);
    const [rs1, other] = random.chance(2) ? ALIGNED : [...ALIGNED].reverse();
    const rd = this.#destination([0]), rs2 = this.#source(), status = this.#destination([0]);
    const kind = random.below(3);
    if (kind < 2) push(`lr.${size}`, { rd, rs1 });
    if (kind === 0) {
      push("addi", { rd: this.#destination([status]), rs1: rs2, imm: random.below(100) });
      push(`sc.${size}`, { rd: status, rs1, rs2 });
      push("bne", { rs1: status }, at);
    } else {
      push(`sc.${size}`, { rd: status, rs1: other, rs2 });
    }
  }

  #source(): number {
    return this.random.below(32);
  }

  #destination(not: readonly number[] = []): number {
    for (;;) {
      const rd = this.random.below(32);
      if (!this.#kept.has(rd) && !not.includes(rd)) return rd;
    }
  }

  #fields(row: AnyRow): Partial<Fields> {
    for (;;) {
      const fields = this.#anyFields(row);
      if (!isCompressed(row)) return fields;
      const decoded = INSTRUCTIONS.decode(putFields(encodings.get(row)!, fields));
      if (decoded?.compressed !== row) continue;
      const { rd } = decoded.fields;
      const writes = INSTRUCTIONS.encodings[decoded.index].fields.has("rd");
      if (!writes || !this.#kept.has(rd)) return fields;
    }
  }

  #anyFields(row: AnyRow): Partial<Fields> {
    const { random, options } = this;
    const { slices, fields: names, signedBits } = encodings.get(row)!;
    const fields: Partial<Fields> = {};
    const kind = kindOf(row)!;
    for (const { field, width } of slices) {
      if (field === "imm") continue;
      const narrow = width === 3 && field !== "rm";
      if (field === "rm") fields.rm = options.harmless ? random.pick([0, 1, 2, 3, 4, 7]) : this.random.below(8);
      else if (narrow) fields[field] = 8 + random.below(8);
      else if (field === "rd" && !isCompressed(row)) fields.rd = this.#destination();
      else fields[field] = random.below(32);
      if (field === "rs1" && (kind === "memory" || kind === "atomic")) {
        if (narrow) fields.rs1 = random.pick([8, 9]);
        else if (kind === "atomic" && (options.harmless || !random.chance(8))) fields.rs1 = random.pick(ALIGNED);
        else fields.rs1 = random.pick([...POINTERS, ...ALIGNED]);
      }
    }
    if (names.has("imm")) fields.imm = this.#immediate(slices.filter(({ field }) => field === "imm"), signedBits, kind);
    return fields;
  }

  #immediate(slices: readonly { low: number; width: number }[], signedBits: number, kind: Kind): number {
    const bits = Number(this.random.bits(32));
    const covered = slices.reduce((mask, { low, width }) => mask | (2 ** width - 1) << low, 0);
    const least = covered & -covered;
    const value = kind === "memory" && this.random.chance(2) ? bits & 31 : bits;
    if (!signedBits) return (value & covered) >>> 0;
    const unused = 32 - signedBits;
    return (value & -least) << unused >> unused & (covered | -1 << signedBits - 1);
  }
}

/** Registers for a body: operands of all kinds, and addresses of data. */
export function registers(random: Random): bigint[] {
  const x = Array.from({ length: 32 }, () => random.operand(random.pick(["l", "l", "w", "d"])));
  for (const register of POINTERS) x[register] = pointer(random);
  for (const register of ALIGNED) x[register] = pointer(random) & -8n;
  if (x[16] === x[17]) x[17] ^= 8n;
  return x;
}

/** An address of data with room for an offset of 12 bits on both sides; often near a page's end. */
export function pointer(random: Random): bigint {
  const offset = random.chance(4) ? 0x1000 - random.below(16) : 0x800 + random.below(0x1000 - 8);
  return BigInt(AT.data + offset);
}

/** Floating-point registers: doubles, boxed singles, and some that are neither. */
export function floatRegisters(random: Random): bigint[] {
  return Array.from({ length: 32 }, () => {
    switch (random.below(8)) {
      case 0:
        return random.bits(64);
      case 1:
      case 2:
      case 3:
        return random.operand("s") | 0xffff_ffff_0000_0000n;
      default:
        return random.operand("d");
    }
  });
}
