// Which memory accesses of a block go to one page, most likely: those by one address, and what is added to it.

import { ACCESS } from "../cause.ts";
import type { Decoded } from "../encoding.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import type { Fields } from "../rows/row.ts";

/** Accesses that are checked at once, by the first of them: all are made, or the block is left before. */
export interface AccessGroup {
  /** Of the first one. */
  readonly base: number;
  /** Whether it is by the stack pointer, or by what was made of it in the block. */
  readonly stack: boolean;
  /** The strictest kind. */
  access: typeof ACCESS.load | typeof ACCESS.store;
  /** From the first one's base to the lowest byte, and to the one behind the highest. */
  low: number;
  high: number;
  count: number;
}

/** An access of a block. */
export interface BlockAccess {
  readonly group: AccessGroup;
  /** Whether it is the first of its group. */
  readonly leads: boolean;
  /** Of its first byte, from the base of the group's first one. */
  readonly at: number;
}

/** The stack pointer, by convention (unprivileged specification, table 3). */
const SP = 2;
/** Bytes that a group reaches over, at the most: the more, the more often they lie in two pages. */
const MAX_SPAN = 256;
const BYTES = { b: 1, h: 2, w: 4, d: 8 } as const;

/** What an instruction does to memory at rs1, plus its immediate if it is `plain`; what reads and writes is a store. */
interface Kind {
  readonly access: typeof ACCESS.load | typeof ACCESS.store;
  readonly size: number;
  readonly plain: boolean;
}

function kindOf(name: string): Kind | undefined {
  const plain = /^f?([ls])([bhwd])u?$/.exec(name);
  const atomic = /^(lr|sc|amo\w+)\.([wd])$/.exec(name);
  const [, what, width] = plain ?? atomic ?? [];
  if (what === undefined) return undefined;
  const access = what === "l" || what === "lr" ? ACCESS.load : ACCESS.store;
  return { access, size: BYTES[width as keyof typeof BYTES], plain: plain !== null };
}

/** By the index of the row: its kind; whether it adds a constant to a register; whether pages may be others behind it. */
const KINDS = INSTRUCTIONS.rows.map(({ name }) => kindOf(name));
const ADDI = INSTRUCTIONS.indexOf("addi");
const REMAPS = INSTRUCTIONS.rows.map(({ name }) => /^(csr|fence|ecall|sret)/.test(name));

/** A register's value: that of a register at some point of the block, and what is added to it. */
interface Sum {
  readonly root: symbol;
  readonly plus: number;
  readonly stack: boolean;
}

/** The access of each instruction of a block, if it is one; `grouped`: whether several may share a check. */
export function accessesOf(block: readonly Decoded[], grouped: boolean): (BlockAccess | undefined)[] {
  const sums: Sum[] = [];
  /** By root: the last group, and what its base had added to that. */
  const groups = new Map<symbol, { group: AccessGroup; plus: number }>();
  const sumOf = (register: number): Sum => sums[register] ??= { root: Symbol(), plus: 0, stack: register === SP };
  const accessOf = (kind: Kind, { rs1, imm }: Fields): BlockAccess => {
    const { access, size, plain } = kind;
    const { root, plus, stack } = sumOf(rs1);
    const open = plain && grouped ? groups.get(root) : undefined;
    if (open) {
      const at = plus + imm - open.plus;
      if (join(open.group, kind, at)) return { group: open.group, leads: false, at };
    }
    const at = plain ? imm : 0;
    const group = { base: rs1, stack, access, low: at, high: at + size, count: 1 };
    if (plain) groups.set(root, { group, plus });
    return { group, leads: true, at };
  };
  return block.map(({ index, fields }) => {
    const kind = KINDS[index];
    const access = kind && accessOf(kind, fields);
    if (REMAPS[index]) groups.clear();
    const { rd, rs1, imm } = fields;
    if (rd && INSTRUCTIONS.encodings[index].fields.has("rd")) {
      const { root, plus, stack } = sumOf(rs1);
      sums[rd] = index === ADDI ? { root, plus: plus + imm, stack } : { root: Symbol(), plus: 0, stack: false };
    }
    return access;
  });
}

/** Adds an access to a group, unless they would reach too far then. */
function join(group: AccessGroup, { access, size }: Kind, at: number): boolean {
  const low = Math.min(group.low, at);
  const high = Math.max(group.high, at + size);
  if (high - low > MAX_SPAN) return false;
  group.low = low;
  group.high = high;
  group.count++;
  if (access === ACCESS.store) group.access = access;
  return true;
}
