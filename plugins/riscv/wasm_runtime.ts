// Functions that the interpreter and compiled code share: running compiled code, fetching.

import { CODE, COMPILED, FETCH_TLB, PAGE_BYTES, SLOT } from "./layout.ts";
import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, TYPE, type Value } from "./wasm/types.ts";
import { hartBlock, tableEntry } from "./wasm_hart.ts";

/**
 * A compiled region's signature: (hart, budget, depth of calls, pc) → the budget left, or its complement if the
 * interpreter must go on, and where the hart is then.
 */
export const REGION_SIGNATURE = {
  params: [TYPE.i32, TYPE.i32, TYPE.i32, TYPE.i64],
  results: [TYPE.i32, TYPE.i64],
} as const;

/** Calls inside of each other, at the most: then the stack unwinds. The interpreter counts for several: it has a large frame. */
export const MAX_DEPTH = 200;
const INTERPRETER_DEPTH = 8;

/** An address where no instruction is. */
export const NOWHERE = 1n;

/** What {@linkcode addRunTo} builds on. */
export interface RunToOptions {
  /** See {@linkcode MmuFunctions}. */
  readonly fetchCode: Callee;
  /** See {@linkcode addInterpretTo}; without it, what is not compiled ends the run. */
  readonly interpretTo?: Callee;
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
}

/**
 * Adds `runTo(hart, budget, depth, pc, address)`: runs compiled regions from pc on until control comes to the address,
 * to a region that stops, or to code that is not compiled, which is interpreted. Gives what the last one gave.
 */
export function addRunTo(module: ModuleBuilder, { fetchCode, interpretTo, only }: RunToOptions): Callee {
  const region = module.signature([...REGION_SIGNATURE.params], [...REGION_SIGNATURE.results]);
  const { callee, body: f } = module.function([...REGION_SIGNATURE.params, TYPE.i64], [...REGION_SIGNATURE.results]);
  const hart = hartBlock(f, 0, only);
  const budget = f.param<typeof TYPE.i32>(1);
  const depth = f.get(f.param<typeof TYPE.i32>(2));
  const pc = f.param<typeof TYPE.i64>(3);
  const address = f.get(f.param<typeof TYPE.i64>(4));
  const take = ([left, to]: Value[]) => {
    f.set(budget, left as I32);
    f.set(pc, to as I64);
  };
  const bits = f.local(TYPE.i64);
  const page = f.local(TYPE.i32);
  const done = f.openBlock();
  f.brIf(f.unlikely(f.i32.geU(depth, f.const32(MAX_DEPTH))), done);
  const cold = f.openBlock();
  const again = f.openLoop();
  const { hit, code } = fetchLookUp(f, hart, f.get(pc));
  f.if(f.likely(hit), () => f.set(page, code()), () => {
    f.set(page, f.call<typeof TYPE.i32>(fetchCode, hart, f.get(pc)));
    f.brIf(f.unlikely(f.i32.eqz(f.get(page))), cold);
  });
  f.set(bits, f.load64(entryOf(f, f.get(page), f.get(pc))));
  const op = f.i32.and(f.i32.wrap(f.get(bits)), f.const32(2 ** CODE.opBits - 1));
  f.brIf(f.unlikely(f.i32.ne(op, f.const32(COMPILED))), cold);
  const index = f.i32.wrap(f.i64.shrU(f.get(bits), f.const64(32)));
  const deeper = f.i32.add(depth, f.const32(1));
  take(f.callIndirect(region, index, hart, f.get(budget), deeper, f.get(pc)));
  f.brIf(f.i32.ltS(f.get(budget), f.const32(0)), done);
  f.brIf(f.i64.ne(f.get(pc), address), again);
  f.close();
  f.br(done);
  f.close();
  if (interpretTo) take(f.callMany(interpretTo, hart, f.get(budget), depth, f.get(pc), address));
  f.close();
  f.return(f.get(budget), f.get(pc));
  f.unreachable();
  return callee;
}

/**
 * Adds `interpretTo(hart, budget, depth, pc, address)`: interprets from pc on until control comes to the address, as
 * regions call: the caller of a function that is not compiled stays. Gives what a region gives, and has all callers
 * stop where other code may be at their addresses by now.
 */
export function addInterpretTo(module: ModuleBuilder, interpreter: Callee, only: number | undefined): Callee {
  const { callee, body: f } = module.function([...REGION_SIGNATURE.params, TYPE.i64], [...REGION_SIGNATURE.results]);
  const hart = hartBlock(f, 0, only);
  const budget = f.get(f.param<typeof TYPE.i32>(1));
  const depth = f.get(f.param<typeof TYPE.i32>(2));
  const pc = f.get(f.param<typeof TYPE.i64>(3));
  const address = f.get(f.param<typeof TYPE.i64>(4));
  const deeper = f.keep(f.i32.add(depth, f.const32(INTERPRETER_DEPTH)));
  f.if(f.i32.geU(deeper, f.const32(MAX_DEPTH)), () => f.return(budget, pc));
  f.store("i64", hart, pc, SLOT.pc);
  f.store("i32", hart, budget, SLOT.budget);
  const mappings = f.keep(f.load32(hart, SLOT.mappings));
  const context = f.keep(f.load32(hart, SLOT.fetchContext));
  const status = f.keep(f.call<typeof TYPE.i32>(interpreter, hart, address, deeper));
  const left = f.keep(f.load32(hart, SLOT.budget));
  // The interpreter below counts all of these steps as compiled code's.
  const compiled = f.i64.sub(f.load64(hart, SLOT.compiledSteps), f.i64.extendUnsigned(f.i32.sub(budget, left)));
  f.store("i64", hart, compiled, SLOT.compiledSteps);
  const remapped = f.i32.ne(f.load32(hart, SLOT.mappings), mappings);
  const elsewhere = f.i32.ne(f.load32(hart, SLOT.fetchContext), context);
  const stops = f.i32.or(status, f.i32.or(remapped, elsewhere));
  f.return(f.select(stops, f.i32.xor(left, f.const32(-1)), left), f.load64(hart, SLOT.pc));
  f.unreachable();
  return callee;
}

/** The fetch TLB's entry for an address, which is held: whether it serves it, and the predecoded page. */
export function fetchLookUp(f: FunctionBuilder, hart: I32, pc: I64): { hit: I32; page: I64; code: () => I32 } {
  const entry = f.keep(tableEntry(f, hart, pc, FETCH_TLB));
  const page = f.keep(f.i64.and(pc, f.const64(-PAGE_BYTES)));
  const wanted = f.i64.or(page, f.load64(hart, SLOT.fetchContext));
  return {
    hit: f.i64.eq(f.load64(entry, SLOT.fetchTlb + FETCH_TLB.tag), wanted),
    page,
    code: () => f.load32(entry, SLOT.fetchTlb + FETCH_TLB.code),
  };
}

/** Whether a predecoded page knows the instruction that goes on in `next`: that is the page of then, and as it was. */
export function isNextKnown(f: FunctionBuilder, page: I32, next: I32): I32 {
  const is = (field: number, value: I32) => f.i32.eq(f.load32(page, field), value);
  return f.i32.and(is(CODE.next, next), is(CODE.nextSerial, f.load32(next, CODE.serial)));
}

/** The entry of an address in a predecoded page. */
export function entryOf(f: FunctionBuilder, code: I32, address: I64): I32 {
  const offset = f.i32.and(f.i32.wrap(address), f.const32(PAGE_BYTES - 2));
  return f.i32.add(code, f.i32.shl(offset, f.const32(2)));
}
