// Between generated code and TypeScript: the slow paths that code calls for, and what they say to it.

import type { SystemCall } from "./vocabulary.ts";

/** What a slow path says to generated code. */
export const STATUS = {
  /** Done: go on behind the instruction. */
  done: 0,
  /** The hart is elsewhere now (a trap, say): go on at its pc. */
  moved: 1,
  /** Leave the generated code: no steps are left, or they are set aside. */
  leave: 2,
} as const;

/** The order in which slow paths number the system calls. */
export const SYSTEM_CALLS: readonly SystemCall[] = [
  "csrrw",
  "csrrs",
  "csrrc",
  "csrrwi",
  "csrrsi",
  "csrrci",
  "ecall",
  "ebreak",
  "mret",
  "sret",
  "wfi",
  "pause",
  "sfence.vma",
  "sfence.inval",
  "fence.i",
  "illegal",
];

/**
 * What generated code imports. Each gets its hart's block; pc and budget are in it. Operands and results that are
 * 64 bits wide go through the block too: a BigInt costs more than the call.
 */
export interface SlowPaths {
  /** Fills the fetch TLB for pc. */
  fetch(hart: number): number;
  /** Decodes the entry at `entry`. */
  decode(hart: number, entry: number): void;
  /** Told of an entry that jumps have reached often. */
  warm(hart: number, entry: number): void;
  /** Makes the entry of the instruction at pc, which crosses a page, in `result`. */
  crossing(hart: number): number;
  /** Fills the TLB where generated code makes no page walk: whether the access can be made directly now. */
  refill(hart: number, low: number, high: number, size: number, access: number): number;
  load(hart: number, low: number, high: number, size: number, signed: number): number;
  /** Stores operand 0. */
  store(hart: number, low: number, high: number, size: number): number;
  loadReserved(hart: number, low: number, high: number, size: number): number;
  /** Stores operand 0. */
  storeConditional(hart: number, low: number, high: number, size: number): number;
  /** Applies function `fn` with operand 0. */
  amo(hart: number, low: number, high: number, size: number, fn: number): number;
  /** Carries out a system instruction of `length` bytes, given its entry's halves. */
  system(hart: number, call: number, low: number, high: number, length: number): number;
}

/** How many parameters each has: all are i32. */
export const SLOW_PATH_PARAMS: Record<keyof SlowPaths, number> = {
  fetch: 1,
  decode: 2,
  warm: 2,
  crossing: 1,
  refill: 5,
  load: 5,
  store: 4,
  loadReserved: 4,
  storeConditional: 4,
  amo: 5,
  system: 5,
};
