// Whether the host's relaxed multiply-add rounds once (relaxed SIMD: `f64x2.relaxed_madd` may round once or twice).

import { ModuleBuilder } from "./wasm/module.ts";
import { type F64, TYPE } from "./wasm/types.ts";

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

/** Operands of which one rounding and two make different sums, with the one of one rounding. */
function discriminatingCases(): Case[] {
  const cases: Case[] = [];
  for (let k = 27; k <= 52; k += 2) {
    const scale = 2 ** (8 * (k - 40));
    // (1 + ε)(1 − ε) = 1 − ε², which is rounded to 1: an addend that cancels it, and one that makes a tie of it.
    const e = 2 ** -k;
    cases.push([(1 + e) * scale, 1 - e, -scale, -e * e * scale]);
    cases.push([(1 + e) * scale, 1 - e, (2 ** 53 + 2) * scale, (2 ** 53 + 2) * scale]);
    // (1 + 2⁻²⁶)(1 + 2⁻²⁷) is a tie itself, which the least addend decides.
    const sum = 1 + 2 ** -26 + 2 ** -27 + 2 ** -52;
    cases.push([(1 + 2 ** -26) * scale, 1 + 2 ** -27, e * e * 2 ** -6 * scale, sum * scale]);
  }
  return cases;
}
