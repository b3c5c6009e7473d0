// What long mode needs in memory: a GDT, and page tables that map the first 4 GiB to themselves (Intel SDM volume 3,
// sections 3.4 and 4.5).

import { LOW } from "./memory_map.ts";

/** Null twice, then flat code and data, as Linux's boot protocol numbers them: 0x10 and 0x18. A task behind them. */
const DESCRIPTORS: readonly bigint[] = [0n, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x008f_8b00_0000_0067n];

/** Its bytes less one. */
export const GDT_LIMIT = DESCRIPTORS.length * 8 - 1;

/** The table of descriptors. */
export function gdt(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.from(DESCRIPTORS).buffer);
}

const PAGE = 4096;
const ENTRIES = 512;
const GIBIBYTES = 4;
const PRESENT_WRITABLE = 3n;
const LARGE = 1n << 7n;

/** A PML4, a PDPT and a page directory for each GiB, for the place {@linkcode LOW.PAGE_TABLES}. */
export function pageTables(): Uint8Array<ArrayBuffer> {
  const tables = new BigUint64Array((2 + GIBIBYTES) * ENTRIES);
  const table = (index: number): bigint => BigInt(LOW.PAGE_TABLES + index * PAGE) | PRESENT_WRITABLE;
  tables[0] = table(1);
  for (let i = 0; i < GIBIBYTES; i++) tables[ENTRIES + i] = table(2 + i);
  for (let i = 0; i < GIBIBYTES * ENTRIES; i++) tables[2 * ENTRIES + i] = BigInt(i) << 21n | LARGE | PRESENT_WRITABLE;
  return new Uint8Array(tables.buffer);
}
