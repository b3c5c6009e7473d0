// Page tables for tests: Sv39, Sv48 and Sv57 over the same lower levels (privileged specification 20240411, section 10.3).

import { RAM_BASE, type Rig } from "./riscv_rig.ts";

export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;
const PAGE = 4096;

/** satp.MODE of each scheme, and its levels. */
export const SCHEMES = [{ mode: 8, levels: 3 }, { mode: 9, levels: 4 }, { mode: 10, levels: 5 }] as const;

/** An entry's value: a physical address and flags. */
export function entry(physical: number, flags: number): bigint {
  return BigInt(physical / PAGE) << 10n | BigInt(flags);
}

/** Builds tables in RAM from `base` on, and remembers where every leaf stands. */
export class PageTables {
  /** Tables by level, 0 the lowest, and address range. */
  readonly #tables = new Map<string, number>();
  #next: number;
  /** Addresses of the leaves, and the virtual address each maps. */
  readonly leaves: { at: number; address: bigint }[] = [];
  /** Addresses and values of the entries that point to tables. */
  readonly pointers: { at: number; value: bigint }[] = [];

  constructor(readonly rig: Rig, readonly base: number) {
    this.#next = base;
    for (let level = 4; level >= 2; level--) this.#table(level, 0n);
    // The lower and the upper half of each scheme's address space are one table's halves.
    for (let level = 4; level > 2; level--) {
      for (const index of [0, 511]) this.#point(this.#table(level, 0n) + 8 * index, this.#table(level - 1, 0n));
    }
  }

  /** satp for a scheme. */
  satp(mode: 8 | 9 | 10, asid = 0): bigint {
    const root = this.#table(mode - 6, 0n);
    return BigInt(mode) << 60n | BigInt(asid) << 44n | BigInt(root / PAGE);
  }

  /** Maps one page, or superpage of `level`; gives the entry's address. The address must be one of Sv39's. */
  map(address: bigint, physical: number, flags: number, level = 0): number {
    let table = this.#table(2, 0n);
    for (let at = 2; at > level; at--) {
      const slot = table + 8 * index(address, at);
      if (!(this.rig.peek(slot) & 1n)) this.#point(slot, this.#table(at - 1, address));
      table = Number(this.rig.peek(slot) >> 10n) * PAGE;
    }
    const at = table + 8 * index(address, level);
    this.rig.poke(at, entry(physical, flags));
    this.leaves.push({ at, address });
    return at;
  }

  #point(slot: number, table: number): void {
    this.rig.poke(slot, entry(table, PTE.V));
    this.pointers.push({ at: slot, value: entry(table, PTE.V) });
  }

  #table(level: number, address: bigint): number {
    const key = `${level} ${BigInt.asUintN(39, address) >> BigInt(12 + 9 * (level + 1))}`;
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const table = this.#next;
    this.#next += PAGE;
    if (this.#next > RAM_BASE + this.rig.memory.ramSize) throw new RangeError("no room for page tables");
    this.#tables.set(key, table);
    return table;
  }
}

function index(address: bigint, level: number): number {
  return Number(BigInt.asUintN(64, address) >> BigInt(12 + 9 * level) & 511n);
}
