// Functions that the interpreter and compiled code share: running compiled code, fetching.

import { CODE, COMPILED, FETCH_TLB, PAGE_BYTES, SLOT } from "./layout.ts";
import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, TYPE } from "./wasm/types.ts";
import { hartBlock, tableEntry } from "./wasm_hart.ts";

/**
 * A compiled region's signature: (hart, budget, depth of calls, pc) → the budget left, or its complement if the
 * interpreter must go on, and where the hart is then.
 */
export const REGION_SIGNATURE = {
  params: [TYPE.i32, TYPE.i32, TYPE.i32, TYPE.i64],
  results: [TYPE.i32, TYPE.i64],
} as const;

/** Calls of compiled code inside of each other, at the most: then the interpreter goes on, and the stack unwinds. */
export const MAX_DEPTH = 200;

/**
 * Adds `runTo(hart, budget, depth, pc, address)`: runs compiled regions from pc on until control comes to the address,
 * to code that is not compiled, or to a region that stops. Gives what the last region gave.
 */
export function addRunTo(module: ModuleBuilder, fetchCode: Callee, only: number | undefined): Callee {
  const region = module.signature([...REGION_SIGNATURE.params], [...REGION_SIGNATURE.results]);
  const { callee, body: f } = module.function([...REGION_SIGNATURE.params, TYPE.i64], [...REGION_SIGNATURE.results]);
  const hart = hartBlock(f, 0, only);
  const budget = f.param<typeof TYPE.i32>(1);
  const depth = f.get(f.param<typeof TYPE.i32>(2));
  const pc = f.param<typeof TYPE.i64>(3);
  const address = f.get(f.param<typeof TYPE.i64>(4));
  const bits = f.local(TYPE.i64);
  const page = f.local(TYPE.i32);
  const done = f.openBlock();
  f.brIf(f.unlikely(f.i32.geU(depth, f.const32(MAX_DEPTH))), done);
  const again = f.openLoop();
  const { hit, code } = fetchLookUp(f, hart, f.get(pc));
  f.if(f.likely(hit), () => f.set(page, code()), () => {
    f.set(page, f.call<typeof TYPE.i32>(fetchCode, hart, f.get(pc)));
    f.brIf(f.unlikely(f.i32.eqz(f.get(page))), done);
  });
  f.set(bits, f.load64(entryOf(f, f.get(page), f.get(pc))));
  const op = f.i32.and(f.i32.wrap(f.get(bits)), f.const32(2 ** CODE.opBits - 1));
  f.brIf(f.unlikely(f.i32.ne(op, f.const32(COMPILED))), done);
  const index = f.i32.wrap(f.i64.shrU(f.get(bits), f.const64(32)));
  const deeper = f.i32.add(depth, f.const32(1));
  const [left, next] = f.callIndirect(region, index, hart, f.get(budget), deeper, f.get(pc));
  f.set(budget, left as I32);
  f.set(pc, next as I64);
  f.brIf(f.i32.ltS(f.get(budget), f.const32(0)), done);
  f.brIf(f.i64.ne(f.get(pc), address), again);
  f.close();
  f.close();
  f.return(f.get(budget), f.get(pc));
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

/** The entry of an address in a predecoded page. */
export function entryOf(f: FunctionBuilder, code: I32, address: I64): I32 {
  const offset = f.i32.and(f.i32.wrap(address), f.const32(PAGE_BYTES - 2));
  return f.i32.add(code, f.i32.shl(offset, f.const32(2)));
}
