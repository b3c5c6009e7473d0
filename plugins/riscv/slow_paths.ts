// What generated code calls for: TLB misses, device registers, page crossings, system instructions.

import type { EngineBus } from "../../core/plugin.ts";
import { ACCESS, type Access, ACCESS_FAULT, CAUSE } from "./cause.ts";
import type { CodeCache } from "./code.ts";
import type { RiscvHart } from "./hart.ts";
import { type SlowPaths, STATUS, SYSTEM_CALLS } from "./slow_path_contract.ts";
import { HART_BYTES, PAGE_BYTES, SLOT } from "./layout.ts";
import type { EngineMemory } from "./memory.ts";
import { executeSystem } from "./system.ts";
import { AMO_FUNCTIONS, amoResult } from "./wasm_hart.ts";

/** The part of an access that is in one page: its physical and its virtual address, and its bytes. */
interface Part {
  readonly at: number;
  readonly low: number;
  readonly high: number;
  readonly length: number;
}

/** Watches stores to single doublewords (HTIF): told after the store. */
export interface StoreWatch {
  readonly at: number;
  stored(): void;
}

/** The slow paths of all harts of an engine. */
export class SlowMemory implements SlowPaths {
  /** Where a store is told of; its page is pinned in the code cache. */
  watch?: StoreWatch;
  /** How often each was called: what generated code could not do itself. */
  readonly calls = {
    ...{ fetch: 0, decode: 0, crossing: 0, refill: 0, load: 0, store: 0 },
    ...{ loadReserved: 0, storeConditional: 0, amo: 0, system: 0 },
  };
  /** Told of an entry of predecoded code that jumps have reached often. */
  onWarm: (entry: number) => void = () => {};

  constructor(
    readonly memory: EngineMemory,
    readonly harts: readonly RiscvHart[],
    readonly code: CodeCache,
    readonly bus: EngineBus,
  ) {}

  // Arrow functions: they are handed to WebAssembly as they are.

  readonly fetch = (base: number): number => {
    this.calls.fetch++;
    const hart = this.#hart(base);
    if (hart.outOfSteps) return STATUS.leave;
    const { i32 } = this.memory;
    const low = i32[base + SLOT.pc >> 2];
    const high = i32[(base + SLOT.pc >> 2) + 1];
    const host = this.#fetchable(hart, low, high);
    if (host < 0) {
      hart.countStep();
      return STATUS.moved;
    }
    const page = hart.mmu.physical - hart.mmu.physical % PAGE_BYTES;
    const whole = hart.pmp.check(page, PAGE_BYTES, ACCESS.fetch, hart.mode) === "allow";
    const code = whole ? this.code.page(host) : this.code.divided;
    hart.mmu.rememberFetch(low, high, i32[base + SLOT.fetchContext >> 2], code);
    return STATUS.moved;
  };

  readonly decode = (_base: number, entry: number): void => {
    this.calls.decode++;
    this.code.decode(entry);
  };

  readonly crossing = (base: number): number => {
    this.calls.crossing++;
    const hart = this.#hart(base);
    const { i32, view } = this.memory;
    const at = base + SLOT.pc >> 2;
    const [low, high] = [i32[at], i32[at + 1]];
    const first = this.#fetchHalf(hart, low, high);
    if (first < 0) return STATUS.moved;
    const { encoder } = this.code;
    let bits = view.getUint16(first, true);
    if ((bits & 3) !== 3) {
      encoder.encode(bits);
    } else {
      const nextLow = low + 2 | 0;
      const second = this.#fetchHalf(hart, nextLow, nextLow === 0 ? high + 1 | 0 : high);
      if (second < 0) return STATUS.moved;
      bits |= view.getUint16(second, true) << 16;
      encoder.encode(bits);
      const page = hart.mmu.recallFetch(low, high, i32[base + SLOT.fetchContext >> 2]);
      if (page && (nextLow & PAGE_BYTES - 1) === 0) this.code.keepCrossing(page, second);
    }
    i32[base + SLOT.result >> 2] = encoder.low;
    i32[(base + SLOT.result >> 2) + 1] = encoder.high;
    return STATUS.done;
  };

  readonly warm = (_base: number, entry: number): void => this.onWarm(entry);

  /** Fills the TLB for compiled code: whether the access can be made directly now. It has no other effect. */
  readonly refill = (base: number, low: number, high: number, size: number, access: number): number => {
    this.calls.refill++;
    if ((low & PAGE_BYTES - 1) + size > PAGE_BYTES) return 0;
    const { mmu, dataRegime } = this.#hart(base);
    if (mmu.recall(low, high, access as Access)) return 0;
    // Setting A and D is left to the interpreter: it may end the very code that asks.
    const { updatesAccessed } = mmu;
    mmu.updatesAccessed = false;
    const fault = mmu.translate(low, high, size, access as Access, dataRegime);
    mmu.updatesAccessed = updatesAccessed;
    if (fault >= 0) return 0;
    return Number(mmu.remember(low, high, access as Access, dataRegime));
  };

  readonly load = (base: number, low: number, high: number, size: number, signed: number): number => {
    this.calls.load++;
    const hart = this.#hart(base);
    if ((low & PAGE_BYTES - 1) + size > PAGE_BYTES) return this.#loadCrossing(hart, low, high, size, signed);
    if (!this.#reach(hart, low, high, size, ACCESS.load)) return STATUS.moved;
    if (!this.#read(base, hart.mmu.physical, size)) {
      return this.#fault(hart, CAUSE.loadAccess, low, high);
    }
    this.#extend(base, size, signed);
    return STATUS.done;
  };

  readonly store = (base: number, low: number, high: number, size: number): number => {
    this.calls.store++;
    const hart = this.#hart(base);
    if ((low & PAGE_BYTES - 1) + size > PAGE_BYTES) return this.#storeCrossing(hart, low, high, size);
    if (!this.#reach(hart, low, high, size, ACCESS.store)) return STATUS.moved;
    if (!this.#write(base, hart.mmu.physical, size)) {
      return this.#fault(hart, CAUSE.storeAccess, low, high);
    }
    return STATUS.done;
  };

  readonly loadReserved = (base: number, low: number, high: number, size: number): number => {
    this.calls.loadReserved++;
    const hart = this.#hart(base);
    const host = this.#atomic(hart, low, high, size, ACCESS.load);
    if (host < 0) return STATUS.moved;
    this.memory.i32[base + SLOT.reservation >> 2] = host;
    this.#read(base, hart.mmu.physical, size);
    this.#extend(base, size, 1);
    return STATUS.done;
  };

  readonly storeConditional = (base: number, low: number, high: number, size: number): number => {
    this.calls.storeConditional++;
    const hart = this.#hart(base);
    const { i32, i64 } = this.memory;
    const host = this.#atomic(hart, low, high, size, ACCESS.store);
    if (host < 0) return STATUS.moved;
    const held = i32[base + SLOT.reservation >> 2] >>> 0 === host;
    i32[base + SLOT.reservation >> 2] = 0;
    if (held) this.#write(base, hart.mmu.physical, size);
    i64[base + SLOT.result >> 3] = held ? 0n : 1n;
    return STATUS.done;
  };

  readonly amo = (base: number, low: number, high: number, size: number, fn: number): number => {
    this.calls.amo++;
    const hart = this.#hart(base);
    const { i64 } = this.memory;
    if (this.#atomic(hart, low, high, size, ACCESS.store) < 0) return STATUS.moved;
    const at = hart.mmu.physical;
    this.#read(base, at, size);
    this.#extend(base, size, 1);
    const old = i64[base + SLOT.result >> 3];
    i64[base + SLOT.operands >> 3] = amoResult(BIGINTS, AMO_FUNCTIONS[fn], old, i64[base + SLOT.operands >> 3]);
    this.#write(base, at, size);
    i64[base + SLOT.result >> 3] = old;
    return STATUS.done;
  };

  readonly system = (base: number, call: number, low: number, high: number, length: number): number => {
    this.calls.system++;
    const hart = this.#hart(base);
    const status = executeSystem(hart, SYSTEM_CALLS[call], low, high, length);
    if (status === STATUS.leave) hart.interrupt();
    return status;
  };

  // ------------------------------------------------------------ inside

  #hart(base: number): RiscvHart {
    return this.harts[base / HART_BYTES - 1];
  }

  #fault(hart: RiscvHart, cause: number, low: number, high: number): number {
    hart.trap(cause, BigInt(high) << 32n | BigInt(low >>> 0));
    return STATUS.moved;
  }

  /** The host address of the instruction halfword there, or -1 after a trap. */
  #fetchable(hart: RiscvHart, low: number, high: number): number {
    const fault = hart.mmu.translate(low, high, 2, ACCESS.fetch, hart.fetchRegime);
    const host = fault < 0 ? this.memory.host(hart.mmu.physical, 2) : -1;
    if (host < 0) this.#fault(hart, fault < 0 ? CAUSE.fetchAccess : fault, low, high);
    return host;
  }

  /** The same, where the fetch TLB may know the page. */
  #fetchHalf(hart: RiscvHart, low: number, high: number): number {
    const code = hart.mmu.recallFetch(low, high, this.memory.i32[hart.base + SLOT.fetchContext >> 2]);
    const page = code ? this.code.hostOf(code) : -1;
    return page < 0 ? this.#fetchable(hart, low, high) : page + (low & PAGE_BYTES - 1);
  }

  /** Translates, and remembers; false after a trap. */
  #reach(hart: RiscvHart, low: number, high: number, size: number, access: Access): boolean {
    const { mmu } = hart;
    if (mmu.recall(low, high, access)) return true;
    const fault = mmu.translate(low, high, size, access, hart.dataRegime);
    if (fault >= 0) {
      this.#fault(hart, fault, low, high);
      return false;
    }
    mmu.remember(low, high, access, hart.dataRegime);
    return true;
  }

  /** The host address of an atomic access, which must be aligned and to RAM, or -1 after a trap. */
  #atomic(hart: RiscvHart, low: number, high: number, size: number, access: Access): number {
    if (low & size - 1) {
      this.#fault(hart, access === ACCESS.load ? CAUSE.loadMisaligned : CAUSE.storeMisaligned, low, high);
      return -1;
    }
    if (!this.#reach(hart, low, high, size, access)) return -1;
    const host = this.memory.host(hart.mmu.physical, size);
    if (host < 0) this.#fault(hart, ACCESS_FAULT[access], low, high);
    return host;
  }

  /** Reads into `result`, zero-extended; false for an access fault. */
  #read(base: number, at: number, size: number): boolean {
    const { i32, view } = this.memory;
    const result = base + SLOT.result >> 2;
    const host = this.memory.host(at, size);
    i32[result + 1] = 0;
    if (host >= 0) {
      if (size === 1) i32[result] = view.getUint8(host);
      else if (size === 2) i32[result] = view.getUint16(host, true);
      else i32[result] = view.getInt32(host, true);
      if (size === 8) i32[result + 1] = view.getInt32(host + 4, true);
      return true;
    }
    const low = this.bus.read(at, size === 8 ? 4 : size as 1 | 2 | 4);
    const high = size === 8 && low >= 0 ? this.bus.read(at + 4, 4) : 0;
    if (low < 0 || high < 0) return false;
    i32[result] = low;
    i32[result + 1] = high;
    return true;
  }

  /** Sign-extends `result`. */
  #extend(base: number, size: number, signed: number): void {
    if (!signed || size === 8) return;
    const { i32 } = this.memory;
    const result = base + SLOT.result >> 2;
    const unused = 32 - size * 8;
    i32[result] = i32[result] << unused >> unused;
    i32[result + 1] = i32[result] >> 31;
  }

  /** Writes operand 0; false for an access fault. */
  #write(base: number, at: number, size: number): boolean {
    const { i32, view } = this.memory;
    const low = i32[base + SLOT.operands >> 2];
    const high = i32[(base + SLOT.operands >> 2) + 1];
    const host = this.memory.host(at, size);
    if (host < 0) {
      if (size < 8) return this.bus.write(at, size < 4 ? low & 2 ** (size * 8) - 1 : low >>> 0, size as 1 | 2 | 4);
      return this.bus.write(at, low >>> 0, 4) && this.bus.write(at + 4, high >>> 0, 4);
    }
    this.code.invalidate(host, size);
    if (size === 1) view.setUint8(host, low);
    else if (size === 2) view.setUint16(host, low, true);
    else view.setInt32(host, low, true);
    if (size === 8) view.setInt32(host + 4, high, true);
    if (this.watch && at + size > this.watch.at && at < this.watch.at + 8) this.watch.stored();
    return true;
  }

  /** Loads across a page boundary, byte by byte, once both pages are known to be there. */
  #loadCrossing(hart: RiscvHart, low: number, high: number, size: number, signed: number): number {
    const { base } = hart;
    const { i64 } = this.memory;
    const parts = this.#bothPages(hart, low, high, size, ACCESS.load);
    if (!parts) return STATUS.moved;
    let value = 0n;
    for (let i = 0; i < size; i++) {
      const { at, low, high } = this.#part(parts, i);
      if (!this.#read(base, at, 1)) return this.#fault(hart, CAUSE.loadAccess, low, high);
      value |= i64[base + SLOT.result >> 3] << BigInt(8 * i);
    }
    i64[base + SLOT.result >> 3] = value;
    this.#extend(base, size, signed);
    return STATUS.done;
  }

  #storeCrossing(hart: RiscvHart, low: number, high: number, size: number): number {
    const { base } = hart;
    const { i64 } = this.memory;
    const parts = this.#bothPages(hart, low, high, size, ACCESS.store);
    if (!parts) return STATUS.moved;
    const value = i64[base + SLOT.operands >> 3];
    for (let i = 0; i < size; i++) {
      const { at, low, high } = this.#part(parts, i);
      i64[base + SLOT.operands >> 3] = value >> BigInt(8 * i) & 0xffn;
      if (!this.#write(base, at, 1)) return this.#fault(hart, CAUSE.storeAccess, low, high);
    }
    return STATUS.done;
  }

  /** Both parts of an access that leaves its page, or `undefined` after a trap, which names the part that met it. */
  #bothPages(hart: RiscvHart, low: number, high: number, size: number, access: Access): [Part, Part] | undefined {
    const length = PAGE_BYTES - (low & PAGE_BYTES - 1);
    const nextLow = low + length | 0;
    const nextHigh = nextLow === 0 ? high + 1 | 0 : high;
    const first = this.#translatePart(hart, low, high, length, access);
    const second = first && this.#translatePart(hart, nextLow, nextHigh, size - length, access);
    return second && [first, second];
  }

  #translatePart(hart: RiscvHart, low: number, high: number, length: number, access: Access): Part | undefined {
    const fault = hart.mmu.translate(low, high, length, access, hart.dataRegime);
    if (fault < 0) return { at: hart.mmu.physical, low, high, length };
    this.#fault(hart, fault, low, high);
  }

  /** Where byte `i` of an access is, and the virtual address of its part. */
  #part([first, second]: [Part, Part], i: number): Part {
    return i < first.length ? { ...first, at: first.at + i } : { ...second, at: second.at + i - first.length };
  }
}

const unsigned = (v: bigint): bigint => BigInt.asUintN(64, v);

/** As much of the vocabulary as {@linkcode amoResult} needs, on signed 64-bit BigInts. */
const BIGINTS: Parameters<typeof amoResult<bigint, boolean>>[0] = {
  add: (a, b) => a + b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  lt: (a, b) => a < b,
  ltu: (a, b) => unsigned(a) < unsigned(b),
  select: (c, a, b) => c ? a : b,
};
