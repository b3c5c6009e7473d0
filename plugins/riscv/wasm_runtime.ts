// Functions that the interpreter and compiled code share: running compiled code, fetching.

import { CODE, COMPILED, FETCH_TLB, PAGE_BYTES, SLOT } from "./layout.ts";
import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, TYPE } from "./wasm/types.ts";
import { hartBlock, tableEntry } from "./wasm_hart.ts";

/** A compiled region's signature: (hart, budget) → the budget left, or its complement if the interpreter must go on. */
export const REGION_SIGNATURE = { params: [TYPE.i32, TYPE.i32], results: [TYPE.i32] } as const;

/** Calls of compiled code inside of each other, at the most: then the interpreter goes on, and the stack unwinds. */
const MAX_DEPTH = 100;

/**
 * Adds `runTo(hart, budget, address)`: runs compiled regions from the hart's pc on until control comes to the address,
 * to code that is not compiled, or to a region that stops. Gives what the last region gave.
 */
export function addRunTo(module: ModuleBuilder, fetchCode: Callee, only: number | undefined): Callee {
  const region = module.signature([...REGION_SIGNATURE.params], [...REGION_SIGNATURE.results]);
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i32, TYPE.i64], [TYPE.i32]);
  const hart = hartBlock(f, 0, only);
  const budget = f.param<typeof TYPE.i32>(1);
  const address = f.get(f.param<typeof TYPE.i64>(2));
  const bits = f.local(TYPE.i64);
  const page = f.local(TYPE.i32);
  const setDepth = (by: number) =>
    f.store("i32", hart, f.i32.add(f.load32(hart, SLOT.depth), f.const32(by)), SLOT.depth);
  f.if(f.unlikely(f.i32.geU(f.load32(hart, SLOT.depth), f.const32(MAX_DEPTH))), () => f.return(f.get(budget)));
  setDepth(1);
  const done = f.openBlock();
  const again = f.openLoop();
  const pc = f.keep(f.load64(hart, SLOT.pc));
  const { hit, code } = fetchLookUp(f, hart, pc);
  f.if(f.likely(hit), () => f.set(page, code()), () => {
    f.set(page, f.call<typeof TYPE.i32>(fetchCode, hart, pc));
    f.brIf(f.unlikely(f.i32.eqz(f.get(page))), done);
  });
  f.set(bits, f.load64(entryOf(f, f.get(page), pc)));
  const op = f.i32.and(f.i32.wrap(f.get(bits)), f.const32(2 ** CODE.opBits - 1));
  f.brIf(f.unlikely(f.i32.ne(op, f.const32(COMPILED))), done);
  const index = f.i32.wrap(f.i64.shrU(f.get(bits), f.const64(32)));
  f.set(budget, f.callIndirect<typeof TYPE.i32>(region, index, hart, f.get(budget)));
  f.brIf(f.i32.ltS(f.get(budget), f.const32(0)), done);
  f.brIf(f.i64.ne(f.load64(hart, SLOT.pc), address), again);
  f.close();
  f.close();
  setDepth(-1);
  f.return(f.get(budget));
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
