// Address translation of one hart: Sv39, Sv48, Sv57 and the software TLB (privileged specification 20240411, chapters 10.3 to 10.5).

import { ACCESS, type Access, ACCESS_FAULT, MODE, type Mode, PAGE_FAULT } from "./cause.ts";
import { CONTEXTS, FETCH_TLB, MAX_CONTEXT, PAGE_BYTES, SLOT, SUPERPAGE_BITS, TAG_SLOW, TLB } from "./layout.ts";
import type { EngineMemory } from "./memory.ts";
import type { Pmp } from "./pmp.ts";

/** Bits of a page table's entry. */
export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;
/** Levels of page tables by satp.MODE; 0 is no translation. */
const LEVELS: Record<number, number> = { 0: 0, 8: 3, 9: 4, 10: 5 };

/** The schemes of translation, by their names in device trees, and their levels of page tables. */
export const SCHEMES = { sv39: 3, sv48: 4, sv57: 5 } as const;

/** The regime an access is made under: what, besides the address space, decides on permissions. */
export interface Regime {
  mode: Mode;
  sum: boolean;
  mxr: boolean;
}

/** What the MMU must know of pages, by host address. */
export interface PageWatch {
  /** Whether stores to the page must take the slow path: it holds decoded code, say. */
  isWatched(host: number): boolean;
  /** The page is written, or will be without a further word. */
  written(host: number): void;
  /** RAM was written: what was decoded from it goes. */
  invalidate(host: number, length: number): void;
}

/** The MMU. `translate` leaves its result in `physical`; a fault is its return value. */
export class Mmu {
  /** Guest-physical address of the last successful `translate`. */
  physical = 0;
  /** Hardware updates of A and D bits (menvcfg.ADUE). */
  updatesAccessed = false;

  #satp = 0n;
  #levels = 0;
  #root = 0;
  /** The context numbers of each address space, by {@linkcode contextKey}; those of the present one are in the block. */
  readonly #spaces = new Map<bigint, Int32Array>();
  #space: Int32Array = new Int32Array(CONTEXTS);
  #contexts = 0;
  #level = 0;
  #pte = 0;
  #walks = 0;

  constructor(
    readonly memory: EngineMemory,
    readonly base: number,
    readonly pmp: Pmp,
    readonly watch: PageWatch,
    /** The largest of the schemes that satp takes, as the number of its levels. */
    readonly maxLevels: number,
  ) {
    this.flushAll();
  }

  get satp(): bigint {
    return this.#satp;
  }

  /** Writes satp; a mode that is not there leaves it as it is. ASIDs have 16 bits. */
  set satp(value: bigint) {
    const levels = LEVELS[Number(value >> 60n & 15n)];
    if (levels === undefined || levels > this.maxLevels) return;
    this.#satp = value;
    this.#levels = levels;
    this.#root = Number(value & 0xfff_ffff_ffffn) * PAGE_BYTES;
    const { i64, i32 } = this.memory;
    i64[this.base + SLOT.root >> 3] = (value & 0xfff_ffff_ffffn) * BigInt(PAGE_BYTES);
    i32[this.base + SLOT.levels >> 2] = levels;
    this.#useSpace();
  }

  /**
   * The context number of a regime in the current address space: equal numbers share TLB entries. The users' pages that
   * S-mode sees by SUM have a number of their own, so that the kernel's are the same with SUM and without.
   */
  context(regime: Regime, bySum = false): number {
    const key = contextKey(regime.mode, regime.mxr, bySum);
    const known = this.#space[key];
    if (known) return known;
    return this.memory.i32[(this.base + SLOT.contexts >> 2) + key] = this.#space[key] = ++this.#contexts;
  }

  /** Sees to it that there are context numbers left; if it must, by forgetting every translation. */
  provideContexts(count: number): void {
    if (this.#contexts + count > MAX_CONTEXT) this.flushAll();
  }

  /** Page walks made. */
  get walks(): number {
    return this.#walks + Number(this.memory.i64[this.base + SLOT.walks >> 3]);
  }

  /** Forgets every translation. Contexts must be asked for again. */
  flushAll(): void {
    const { base, memory } = this;
    memory.i64.fill(-1n, base + SLOT.tlb >> 3, base + SLOT.tlb + TLB.entries * TLB.bytes >> 3);
    this.#forgetStack();
    this.flushFetch();
    this.#spaces.clear();
    this.#contexts = 0;
    this.#clearSuperpages();
    this.#useSpace();
  }

  /** Forgets what the fetch TLB knows. */
  flushFetch(): void {
    const from = this.base + SLOT.fetchTlb;
    this.memory.i64.fill(-1n, from >> 3, from + FETCH_TLB.entries * FETCH_TLB.bytes >> 3);
  }

  /** Forgets the translations of all address spaces (or of those with one ASID). Contexts must be asked for again. */
  flushSpaces(asid?: number): void {
    if (asid === undefined) this.#spaces.clear();
    for (const satp of this.#spaces.keys()) if (Number(satp >> 44n & 0xffffn) === asid) this.#spaces.delete(satp);
    this.#useSpace();
  }

  /** Forgets the translations of the page that holds `address`, a superpage included. */
  flushPage(address: bigint): void {
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    const { i32, i64 } = this.memory;
    const forget = (entry: number): void => {
      i64[entry + TLB.read >> 3] = i64[entry + TLB.write >> 3] = -1n;
    };
    forget(this.#entry(low));
    this.#forgetStack();
    this.#remapped();
    i64[this.#fetchEntry(low) >> 3] = -1n;
    if (!this.#mayKnowSuperpage(low, high)) return;
    // The filter is made anew from what stays.
    this.flushFetch();
    this.#clearSuperpages();
    const first = this.base + SLOT.tlb;
    for (let entry = first; entry < first + TLB.entries * TLB.bytes; entry += TLB.bytes) {
      const level = i32[entry + TLB.level >> 2];
      if (level === 0) continue;
      const tag = i32[entry + TLB.read >> 2] === -1 ? entry + TLB.write >> 2 : entry + TLB.read >> 2;
      if (superpage(i32[tag], i32[tag + 1], level) === superpage(low, high, level)) forget(entry);
      else if (i32[tag] !== -1) this.#noteSuperpage(i32[tag], i32[tag + 1], level);
    }
  }

  /** Takes back direct stores to the page at host address `page`. */
  dropWrites(page: number): void {
    const { i32, i64 } = this.memory;
    this.#forgetStack();
    const first = this.base + SLOT.tlb;
    for (let entry = first; entry < first + TLB.entries * TLB.bytes; entry += TLB.bytes) {
      // The addend makes the host address from the low half of the virtual one, which stands in the tag.
      const tag = i32[entry + TLB.write >> 2];
      if (tag !== -1 && (tag + i32[entry + TLB.addend >> 2] & ~0xfff) >>> 0 === page) i64[entry + TLB.write >> 3] = -1n;
    }
  }

  /** Takes back direct stores to every page. */
  dropAllWrites(): void {
    const { i64 } = this.memory;
    this.#forgetStack();
    const first = this.base + SLOT.tlb + TLB.write >> 3;
    for (let i = 0; i < TLB.entries; i++) i64[first + i * TLB.bytes / 8] = -1n;
  }

  /**
   * Translates the virtual address `high:low` for an access of `length` bytes within one page.
   * Returns -1 and leaves the address in `physical`, or returns the exception's cause.
   */
  translate(low: number, high: number, length: number, access: Access, regime: Regime): number {
    if (regime.mode === MODE.M || this.#levels === 0) {
      this.physical = (high >>> 0) * 2 ** 32 + (low >>> 0);
      this.#level = 0;
      this.#pte = PTE.R | PTE.W | PTE.X; // as good as a supervisor's page
    } else {
      const fault = this.#walk(low, high, access, regime);
      if (fault >= 0) return fault;
    }
    return this.pmp.check(this.physical, length, access, regime.mode) === "allow" ? -1 : ACCESS_FAULT[access];
  }

  /**
   * After a successful `translate`: remembers the page for accesses of that kind (and for reads, where a store was
   * translated and reading is allowed). Returns whether that kind of access can be made directly now.
   */
  remember(low: number, high: number, access: Access, regime: Regime): boolean {
    const { memory, physical } = this;
    const page = physical - physical % PAGE_BYTES;
    if (this.pmp.check(page, PAGE_BYTES, access, regime.mode) !== "allow") return false;
    const host = memory.host(page, PAGE_BYTES);
    const entry = this.#entry(low);
    const { i32, i64, f64 } = memory;
    const bySum = regime.mode === MODE.S && this.#pte & PTE.U;
    const context = i32[this.base + (bySum ? SLOT.userContext : SLOT.dataContext) >> 2];
    const tagLow = low & ~0xfff | context | (host < 0 ? TAG_SLOW : 0);
    const read = entry + TLB.read >> 2;
    const write = entry + TLB.write >> 2;
    const same = i32[read] === tagLow && i32[read + 1] === high || i32[write] === tagLow && i32[write + 1] === high;
    if (!same) i64[read >> 1] = i64[write >> 1] = -1n;
    if (
      access === ACCESS.load ||
      this.#pte & PTE.R && this.pmp.check(page, PAGE_BYTES, ACCESS.load, regime.mode) === "allow"
    ) {
      i32[read] = tagLow;
      i32[read + 1] = high;
    }
    if (access === ACCESS.store && (host < 0 || !this.watch.isWatched(host))) {
      if (host >= 0) this.watch.written(host);
      i32[write] = tagLow;
      i32[write + 1] = high;
    }
    i32[entry + TLB.addend >> 2] = host - (low & ~0xfff);
    i32[entry + TLB.level >> 2] = this.#level;
    f64[entry + TLB.physical >> 3] = page;
    this.#noteSuperpage(low, high, this.#level);
    return host >= 0 && (access === ACCESS.load || !this.watch.isWatched(host));
  }

  /** Whether a translation without direct access is remembered: then `physical` is the address. */
  recall(low: number, high: number, access: Access): boolean {
    const entry = this.#entry(low);
    const tag = entry + (access === ACCESS.store ? TLB.write : TLB.read) >> 2;
    const { base, memory: { i32, f64 } } = this;
    const isOf = (context: number) => i32[tag] === (low & ~0xfff | i32[base + context >> 2] | TAG_SLOW);
    if (i32[tag + 1] !== high || !isOf(SLOT.dataContext) && !isOf(SLOT.userContext)) return false;
    this.physical = f64[entry + TLB.physical >> 3] + (low & 0xfff);
    return true;
  }

  /** The predecoded page that the fetch TLB knows for an address, or 0. */
  recallFetch(low: number, high: number, context: number): number {
    const { i32 } = this.memory;
    const entry = this.#fetchEntry(low) >> 2;
    return i32[entry] === (low & ~0xfff | context) && i32[entry + 1] === high ? i32[entry + FETCH_TLB.code / 4] : 0;
  }

  /** Records a fetched page in the fetch TLB. */
  rememberFetch(low: number, high: number, context: number, code: number): void {
    const entry = this.#fetchEntry(low) >> 2;
    const { i32 } = this.memory;
    i32[entry] = low & ~0xfff | context;
    i32[entry + 1] = high;
    i32[entry + FETCH_TLB.code / 4] = code;
    this.#noteSuperpage(low, high, this.#level);
  }

  /** A superpage is in the TLB: a fence of any of its pages concerns all. */
  #noteSuperpage(low: number, high: number, level: number): void {
    if (level === 0) return;
    const bit = superpageBit(low, high, level);
    this.memory.i32[(this.base + SLOT.superpages >> 2) + (bit >> 5)] |= 1 << (bit & 31);
  }

  /** Whether a superpage that holds an address may be in the TLB. */
  #mayKnowSuperpage(low: number, high: number): boolean {
    for (let level = 1; level < this.maxLevels; level++) {
      const bit = superpageBit(low, high, level);
      if (this.memory.i32[(this.base + SLOT.superpages >> 2) + (bit >> 5)] >> (bit & 31) & 1) return true;
    }
    return false;
  }

  #clearSuperpages(): void {
    const from = this.base + SLOT.superpages >> 2;
    this.memory.i32.fill(0, from, from + SUPERPAGE_BITS / 32);
  }

  #forgetStack(): void {
    this.memory.i64[this.base + SLOT.stackTag >> 3] = -1n;
  }

  #remapped(): void {
    this.memory.i32[this.base + SLOT.mappings >> 2]++;
  }

  #entry(low: number): number {
    return this.base + SLOT.tlb + ((low >>> 12 ^ low >>> 23) & TLB.entries - 1) * TLB.bytes;
  }

  #fetchEntry(low: number): number {
    return this.base + SLOT.fetchTlb + ((low >>> 12 ^ low >>> 23) & FETCH_TLB.entries - 1) * FETCH_TLB.bytes;
  }

  #useSpace(): void {
    let space = this.#spaces.get(this.#satp);
    if (!space) this.#spaces.set(this.#satp, space = new Int32Array(CONTEXTS));
    this.#space = space;
    this.memory.i32.set(space, this.base + SLOT.contexts >> 2);
    this.#remapped();
  }

  #walk(low: number, high: number, access: Access, regime: Regime): number {
    this.#walks++;
    const { memory } = this;
    const levels = this.#levels;
    // Bits above the translated ones must equal the highest of these.
    const spare = 64 - (12 + 9 * levels);
    if (high << spare >> spare !== high) return PAGE_FAULT[access];
    let table = this.#root;
    for (let level = levels - 1; level >= 0; level--) {
      const shift = 12 + 9 * level;
      const index = (shift < 32 ? low >>> shift | (shift > 23 ? high << 32 - shift : 0) : high >>> shift - 32) & 511;
      const at = table + index * 8;
      const host = memory.host(at, 8);
      if (host < 0 || this.pmp.check(at, 8, ACCESS.load, MODE.S) !== "allow") return ACCESS_FAULT[access];
      const pte = memory.i32[host >>> 2];
      const pteHigh = memory.i32[(host >>> 2) + 1];
      if (!(pte & PTE.V) || (pte & (PTE.R | PTE.W)) === PTE.W || pteHigh >>> 22) return PAGE_FAULT[access];
      const page = ((pteHigh & 0x3fffff) * 2 ** 22 + (pte >>> 10)) * PAGE_BYTES;
      if (!(pte & (PTE.R | PTE.X))) { // a pointer to the next table
        if (pte & (PTE.U | PTE.A | PTE.D)) return PAGE_FAULT[access];
        table = page;
        continue;
      }
      if (!permits(pte, access, regime)) return PAGE_FAULT[access];
      const size = 2 ** shift;
      if (page % size) return PAGE_FAULT[access];
      const missing = (PTE.A | (access === ACCESS.store ? PTE.D : 0)) & ~pte;
      if (missing) {
        if (!this.updatesAccessed) return PAGE_FAULT[access];
        if (this.pmp.check(at, 8, ACCESS.store, MODE.S) !== "allow") return ACCESS_FAULT[access];
        memory.i32[host >>> 2] = pte | missing;
        this.watch.invalidate(host, 8);
      }
      const offset = shift > 32 ? (high & 2 ** (shift - 32) - 1) * 2 ** 32 + (low >>> 0) : low & size - 1;
      this.physical = page + offset;
      this.#level = level;
      this.#pte = pte | missing;
      return -1;
    }
    return PAGE_FAULT[access];
  }
}

/** The number of the superpage of a level that holds an address. */
function superpage(low: number, high: number, level: number): number {
  const shift = 12 + 9 * level;
  // No more bits than Sv57 translates: all the others equal the highest of these.
  return shift < 32 ? (high & 0x1ffffff) * 2 ** (32 - shift) + (low >>> shift) : high >>> shift - 32;
}

/** The bit of the superpage of a level that holds an address in the filter of those; as in wasm_mmu.ts. */
function superpageBit(low: number, high: number, level: number): number {
  const shift = 12 + 9 * level;
  const number = shift < 32 ? high << 32 - shift | low >>> shift : high >> shift - 32;
  return (number ^ level << 11) & SUPERPAGE_BITS - 1;
}

/** Where the context number of a regime stands among those of an address space. */
export function contextKey(mode: Mode, mxr: boolean, bySum: boolean): number {
  return Number(bySum) << 3 | mode << 1 | Number(mxr);
}

function permits(pte: number, access: Access, { mode, sum, mxr }: Regime): boolean {
  if (pte & PTE.U) {
    if (mode === MODE.S && (access === ACCESS.fetch || !sum)) return false;
  } else if (mode === MODE.U) {
    return false;
  }
  if (access === ACCESS.fetch) return (pte & PTE.X) !== 0;
  if (access === ACCESS.store) return (pte & PTE.W) !== 0;
  return (pte & PTE.R) !== 0 || mxr && (pte & PTE.X) !== 0;
}
