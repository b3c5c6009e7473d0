// What a case executed at an address: an instruction of its code, or one that stood in its data all the time.

import { MODE } from "../../plugins/riscv/cause.ts";
import type { Case, Placed } from "./case.ts";
import { AT, DATA_BYTES, filled } from "./runtime.ts";

/** Doublewords that a machine left behind a case, by name. */
export type Left = (name: string) => bigint;

const PAGE = 4096;
/** Of a page table's entry. */
const [V, R, X] = [1n, 2n, 8n];

/**
 * The bits of the instruction that a case executed at `pc`, in a mode. Outside of its code only what is in its data and
 * is the same before the case and after it, on both machines; `undefined` if that can not be told.
 */
export function executedAt(placed: Placed, pc: bigint, mode: number, left: readonly Left[]): number | undefined {
  let start = placed.start;
  for (const { bits, length } of placed.case.code) {
    if (start === pc) return bits;
    start += BigInt(length);
  }
  const halfword = (at: bigint): number | undefined => {
    const physical = mode === MODE.M ? at : translated(placed.case, BigInt.asUintN(64, at), left);
    return physical === undefined ? undefined : dataAt(placed.case, physical, left);
  };
  const [low, high] = [halfword(pc), halfword(pc + 2n)];
  if (low === undefined || (low & 3) !== 3) return low;
  return high === undefined ? undefined : (high << 16 | low) >>> 0;
}

/** Where an address leads by a case's page tables, as it set them up. */
function translated({ csrs = [], writes = [] }: Case, address: bigint, left: readonly Left[]): bigint | undefined {
  const satp = csrs.findLast(([name]) => name === "satp")?.[1] ?? 0n;
  if (left.some((of) => of("satp") !== satp)) return undefined;
  const scheme = Number(satp >> 60n);
  if (scheme === 0) return address;
  const tables = new Map(writes.map(([at, value]) => [BigInt(at), value]));
  let table = (satp & (1n << 44n) - 1n) * BigInt(PAGE);
  for (let level = scheme - 6; level >= 0; level--) {
    const shift = BigInt(12 + 9 * level);
    const entry = tables.get(table + 8n * (address >> shift & 511n)) ?? 0n;
    if (!(entry & V)) return undefined;
    const frame = (entry >> 10n & (1n << 44n) - 1n) * BigInt(PAGE);
    if (entry & (R | X)) return frame | address & (1n << shift) - 1n;
    table = frame;
  }
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
