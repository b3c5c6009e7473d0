// Whether the host's relaxed multiply-add rounds once (relaxed SIMD: `f64x2.relaxed_madd` may round once or twice).

import { compute, RM } from "./softfloat.ts";
import { ModuleBuilder } from "./wasm/module.ts";
import { type F64, TYPE } from "./wasm/types.ts";

const CASES = 48;
/** Calls per case: enough work that optimized code gets its turn as well as baseline code. */
const ROUNDS = 2000;

/** Probes `f64x2.relaxed_madd` on operands where one rounding and two differ; false where the host lacks it. */
export function hostFuses(): boolean {
  const bytes = probe();
  if (!WebAssembly.validate(bytes)) return false;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const differs = instance.exports.differs as (a: number, b: number, c: number, expected: number, n: number) => number;
  return discriminatingCases().every(([a, b, c, expected]) => differs(a, b, c, expected, ROUNDS) === 0);
}

/** A function that counts in how many of n rounds a × b + c is not what was expected. */
function probe(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ pages: 1, shared: false });
  const { f64, i32 } = TYPE;
  const { body: f } = module.function([f64, f64, f64, f64, i32], [i32], "differs");
  const [a, b, c, expected] = [0, 1, 2, 3].map((index) => f.get(f.param<typeof f64>(index)) as F64);
  const rounds = f.param<typeof i32>(4);
  const count = f.local(i32);
  const loop = f.openLoop();
  const result = f.f64.lane0(f.relaxedMadd(f.v128.splat(a), f.v128.splat(b), f.v128.splat(c)));
  f.set(count, f.i32.add(f.get(count), f.f64.ne(result, expected)));
  f.set(rounds, f.i32.sub(f.get(rounds), f.const32(1)));
  f.brIf(f.get(rounds), loop);
  f.close();
  f.return(f.get(count));
  return module.bytes();
}

type Case = readonly [a: number, b: number, c: number, expected: number];

function discriminatingCases(): Case[] {
  const cases: Case[] = [];
  for (let i = 1; cases.length < CASES; i++) {
    const a = 1 + (i * 0.6180339887498949) % 1, b = 1 + (i * 0.4142135623730951) % 1;
    const scale = 2 ** (i % 200 - 100);
    // Addends that cancel the product, that meet its last bits, and that it hardly reaches.
    for (const c of [-(a * b), 1 / i, -(2 ** 52) + i]) {
      const expected = exactFma(a * scale, b, c * scale);
      if (expected !== a * scale * b + c * scale) cases.push([a * scale, b, c * scale, expected]);
    }
  }
  return cases;
}

function exactFma(...operands: [number, number, number]): number {
  const view = new DataView(new ArrayBuffer(8));
  const [a, b, c] = operands.map((x) => {
    view.setFloat64(0, x);
    return view.getBigUint64(0);
  });
  view.setBigUint64(0, compute("fma.d", RM.RNE, a, b, c).value);
  return view.getFloat64(0);
}
