// Memory accesses of generated code: the inline TLB check, loads, stores and atomics (unprivileged chapter 14; see layout.ts).

import { type FETCH_TLB, PAGE_BYTES, SLOT, TLB } from "./layout.ts";
import type { AccessSize, AmoFunction, Vocabulary } from "./vocabulary.ts";
import type { FunctionBuilder } from "./wasm/function.ts";
import { type I32, type I64, TYPE } from "./wasm/types.ts";
import { type IntegerHelpers, WasmValues } from "./wasm_values.ts";

/** The order in which slow paths number the A extension's functions. */
export const AMO_FUNCTIONS: readonly AmoFunction[] = ["swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu"];

/** The part of the vocabulary that touches memory, for code that has a hart's block and its context at hand. */
export abstract class WasmHart extends WasmValues {
  /** For a function whose first parameter is the hart's block. */
  constructor(f: FunctionBuilder, helpers: IntegerHelpers, readonly only: number | undefined) {
    super(f, helpers);
  }

  /** The address of the hart's block. */
  protected get hart(): I32 {
    return hartBlock(this.f, 0, this.only);
  }

  /**
   * Emits an access of `size` bytes at `address`: `direct`, given a host address and an offset to it, where the TLB's
   * tag serves it (and the address is aligned, where `aligned` asks for it), else `slow`, or whatever the generator does
   * instead.
   */
  protected abstract access(
    address: I64,
    size: AccessSize,
    tag: typeof TLB.read | typeof TLB.write,
    aligned: boolean,
    direct: (host: () => I32, offset: number) => void,
    slow: SlowAccess,
  ): void;

  load(size: AccessSize, signed: boolean, address: I64): I64 {
    const { f } = this;
    const value = f.temporary(TYPE.i64);
    this.access(address, size, TLB.read, false, (host, offset) => {
      const how = size === 8 ? "i64" : `i64_${size * 8 as 8 | 16 | 32}${signed ? "s" : "u"}` as const;
      f.set(value, f.load64(host(), offset, how));
    }, { path: "load", more: [Number(signed)], result: value });
    return f.get(value);
  }

  store(size: AccessSize, address: I64, value: I64): void {
    const { f } = this;
    this.access(address, size, TLB.write, false, (host, offset) => {
      f.store(size === 8 ? "i64" : `i64_${size * 8 as 8 | 16 | 32}`, host(), value, offset);
    }, { path: "store", operand: value });
  }

  loadReserved(size: 4 | 8, address: I64): I64 {
    const { f } = this;
    const value = f.temporary(TYPE.i64);
    this.access(address, size, TLB.read, true, (host) => {
      const at = f.keep(host());
      f.set(value, f.load64(at, 0, size === 8 ? "i64" : "i64_32s"));
      f.store("i32", this.hart, at, SLOT.reservation);
    }, { path: "loadReserved", result: value });
    return f.get(value);
  }

  storeConditional(size: 4 | 8, address: I64, value: I64): I64 {
    const { f } = this;
    const failed = f.temporary(TYPE.i64);
    this.access(address, size, TLB.write, true, (host) => {
      const at = f.keep(host());
      f.set(failed, f.const64(1));
      f.if(f.i32.eq(at, f.load32(this.hart, SLOT.reservation)), () => {
        f.store(size === 8 ? "i64" : "i64_32", at, value);
        f.set(failed, f.const64(0));
      });
      f.store("i32", this.hart, f.const32(0), SLOT.reservation);
    }, { path: "storeConditional", operand: value, result: failed });
    return f.get(failed);
  }

  amo(fn: AmoFunction, size: 4 | 8, address: I64, operand: I64): I64 {
    const { f } = this;
    const by = f.keep(size === 4 ? this.sext32(operand) : operand);
    const old = f.temporary(TYPE.i64);
    this.access(address, size, TLB.write, true, (host) => {
      const at = f.keep(host());
      f.set(old, f.load64(at, 0, size === 8 ? "i64" : "i64_32s"));
      f.store(size === 8 ? "i64" : "i64_32", at, amoResult(this, fn, f.get(old), by));
    }, { path: "amo", operand: by, more: [AMO_FUNCTIONS.indexOf(fn)], result: old });
    return f.get(old);
  }

  fence(): void {}
}

/** An access by its virtual address, which is held, and by the kind of tag that serves it. */
export interface LookUp {
  readonly address: I64;
  readonly size: number;
  readonly tag: typeof TLB.read | typeof TLB.write;
}

/** The TLB's entry for an access, and whether it serves it; the host address, if it does. */
export function lookUp(
  f: FunctionBuilder,
  hart: I32,
  { address, size, tag }: LookUp,
): { entry: I32; hit: () => I32; host: () => I32 } {
  const entry = f.keep(tableEntry(f, hart, address, TLB));
  // The page of the last byte: an access that leaves its page misses.
  const last = size > 1 ? f.i64.add(address, f.const64(size - 1)) : address;
  const wanted = f.i64.or(f.i64.and(last, f.const64(-PAGE_BYTES)), f.load64(hart, SLOT.dataContext));
  return {
    entry,
    hit: () => f.i64.eq(f.load64(entry, SLOT.tlb + tag), wanted),
    host: () => f.i32.add(f.i32.wrap(address), f.load32(entry, SLOT.tlb + TLB.addend)),
  };
}

/**
 * What a translation gives: the page's virtual address, and what makes host addresses of its own; or no page, and why:
 * the bytes lie in two, or there is no direct access.
 */
export const TRANSLATION = { results: [TYPE.i64, TYPE.i32], none: -1, indirect: 0, leavesPage: 1 } as const;

/** Whether it gave no page. */
export function isNoPage(f: FunctionBuilder, page: I64): I32 {
  return f.i64.eq(page, f.const64(TRANSLATION.none));
}

/** Whether an address is a multiple of a size. */
export function isAligned(f: FunctionBuilder, address: I64, size: number): I32 {
  return f.i32.eqz(f.i32.and(f.i32.wrap(address), f.const32(size - 1)));
}

/**
 * The address of the present hart's block: a parameter of the function or, where there is but one hart, a constant.
 * What lies at a constant address costs no check of bounds, which some hosts (Deno) make at every other access.
 */
export function hartBlock(f: FunctionBuilder, param: number, only: number | undefined): I32 {
  return only === undefined ? f.get(f.param<typeof TYPE.i32>(param)) : f.const32(only);
}

/** The address, but for the table's own offset, of the entry for a virtual address; as in mmu.ts. */
export function tableEntry(f: FunctionBuilder, hart: I32, address: I64, table: typeof TLB | typeof FETCH_TLB): I32 {
  const low = f.i32.wrap(address);
  const scale = Math.log2(table.bytes);
  const folded = f.i32.xor(f.i32.shrU(low, f.const32(12 - scale)), f.i32.shrU(low, f.const32(23 - scale)));
  return f.i32.add(hart, f.i32.and(folded, f.const32((table.entries - 1) * table.bytes)));
}

/** A slow path by name, what it is given besides the address and the size, and where its result goes. */
export interface SlowAccess {
  readonly path: "load" | "store" | "loadReserved" | "storeConditional" | "amo";
  readonly operand?: I64;
  readonly more?: readonly number[];
  readonly result?: ReturnType<WasmValues["f"]["temporary"]>;
}

/** What the A extension's function leaves in memory; words come sign-extended. */
export function amoResult<X, C>(
  o: Pick<Vocabulary<X, C>, "add" | "xor" | "and" | "or" | "select" | "lt" | "ltu">,
  fn: AmoFunction,
  old: X,
  by: X,
): X {
  switch (fn) {
    case "swap":
      return by;
    case "add":
      return o.add(old, by);
    case "xor":
      return o.xor(old, by);
    case "and":
      return o.and(old, by);
    case "or":
      return o.or(old, by);
    case "min":
      return o.select(o.lt(old, by), old, by);
    case "max":
      return o.select(o.lt(old, by), by, old);
    case "minu":
      return o.select(o.ltu(old, by), old, by);
    case "maxu":
      return o.select(o.ltu(old, by), by, old);
  }
}
