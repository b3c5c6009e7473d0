// What a case found at an address: how its page tables translate it, and which instruction stood there all the time.

import { MODE } from "../../plugins/riscv/cause.ts";
import type { Case, Placed } from "./case.ts";
import { AT, DATA_BYTES, filled, RAM_BYTES } from "./runtime.ts";

/** Doublewords that a machine left behind a case, by name. */
export type Left = (name: string) => bigint;

const PAGE = 4096;
/** Of a page table's entry. */
const [V, R, X] = [1n, 2n, 8n];

/**
 * The bits of the instruction that a case executed at `pc`, in a mode. In its data only what is the same before the case
 * and after it, on both machines; `undefined` if that can not be told.
 */
export function executedAt(placed: Placed, pc: bigint, mode: number, left: readonly Left[]): number | undefined {
  let start = placed.start;
  for (const { bits, length } of placed.case.code) {
    if (start === pc) return bits;
    start += BigInt(length);
  }
  const halfword = (at: bigint): number | undefined => {
    const physical = mode === MODE.M ? at : translated(placed.case, BigInt.asUintN(64, at), left);
    if (physical === undefined) return undefined;
    return placed.codeAt(physical) ?? dataAt(placed.case, physical, left);
  };
  const [low, high] = [halfword(pc), halfword(pc + 2n)];
  if (low === undefined || (low & 3) !== 3) return low;
  return high === undefined ? undefined : (high << 16 | low) >>> 0;
}

/** Where the walk through a case's page tables ended. */
export interface Walk {
  /** The entry that translates the address, valid and with permissions of some kind: where it stands, and its value. */
  readonly leaf?: { readonly at: bigint; readonly value: bigint };
  readonly physical?: bigint;
  /** A table is where no RAM is. */
  readonly outside?: true;
}

/**
 * Walks through a case's page tables, as it set them up; `undefined` if it has none, set up others later, or the address
 * is none of theirs.
 */
export function walk(it: Case, address: bigint, left: readonly Left[]): Walk | undefined {
  const satp = satpOf(it);
  if (left.some((of) => of("satp") !== satp)) return undefined;
  const levels = Number(satp >> 60n) - 5;
  const bits = 12 + 9 * levels;
  if (levels < 0 || BigInt.asUintN(64, BigInt.asIntN(bits, address)) !== address) return undefined;
  const tables = new Map(it.writes?.map(([at, value]) => [BigInt(at), value]));
  let table = (satp & (1n << 44n) - 1n) * BigInt(PAGE);
  for (let level = levels - 1; level >= 0; level--) {
    if (table < BigInt(AT.ram) || table >= BigInt(AT.ram + RAM_BYTES)) return { outside: true };
    const shift = BigInt(12 + 9 * level);
    const at = table + 8n * (address >> shift & 511n);
    const value = tables.get(at) ?? 0n;
    if (!(value & V)) return {};
    const frame = (value >> 10n & (1n << 44n) - 1n) * BigInt(PAGE);
    if (value & (R | X)) return { leaf: { at, value }, physical: frame | address & (1n << shift) - 1n };
    table = frame;
  }
  return {};
}

function satpOf({ csrs = [] }: Case): bigint {
  return csrs.findLast(([name]) => name === "satp")?.[1] ?? 0n;
}

/** Where an address leads, in a mode that is translated. */
function translated(it: Case, address: bigint, left: readonly Left[]): bigint | undefined {
  if (satpOf(it)) return walk(it, address, left)?.physical;
  return left.some((of) => of("satp")) ? undefined : address;
}

/** A halfword of a case's data, if nobody changed its doubleword. */
function dataAt({ seed, writes = [] }: Case, at: bigint, left: readonly Left[]): number | undefined {
  const offset = Number(at) - AT.data;
  if (offset < 0 || offset >= DATA_BYTES) return undefined;
  const index = Math.floor(offset / 8);
  const before = writes.findLast(([each]) => each === AT.data + 8 * index)?.[1] ?? filled(seed, index);
  if (left.some((of) => of(`memory at 0x${(AT.data + 8 * index).toString(16)}`) !== before)) return undefined;
  return Number(before >> BigInt(8 * (offset & 6)) & 0xffffn);
}
