// The host operations' fast paths against the exact arithmetic: results, flags, and that they are taken at all.

import { assert, assertEquals } from "@std/assert";
import { hostFuses } from "../../../plugins/riscv/fp_probe.ts";
import { addFloatFunctions, floatSlowPath, SLOW_PATH } from "../../../plugins/riscv/fp_wasm.ts";
import { hartBase, SLOT } from "../../../plugins/riscv/layout.ts";
import { compute, FLAG, FP_OPS, type FpOp, RM } from "../../../plugins/riscv/softfloat.ts";
import { ModuleBuilder } from "../../../plugins/riscv/wasm/module.ts";
import { Operands } from "./fp_operands.ts";

type Call = (hart: number, rm: number, a: bigint, b: bigint, c: bigint) => bigint;

interface Bench {
  readonly call: Readonly<Record<FpOp, Call>>;
  fflags: number;
  slowCalls: number;
}

const HART = hartBase(0);

function bench(fused: boolean): Bench {
  const module = new ModuleBuilder({ pages: 8, shared: false });
  const slow = module.import("slow", SLOW_PATH.params, SLOW_PATH.results);
  const functions = addFloatFunctions(module, slow, { fused, only: undefined });
  for (const op of FP_OPS) {
    const callee = functions[op];
    const { body: f } = module.function([...callee.params], [...callee.results], op);
    f.return(f.call(callee, ...callee.params.map((_, i) => f.get(f.param(i)))));
  }
  const memory = new WebAssembly.Memory({ initial: 8, maximum: 8 });
  const flags = new Int32Array(memory.buffer, HART + SLOT.fflags, 1);
  const slowPath = floatSlowPath(memory);
  const result = {
    call: {} as Record<FpOp, Call>,
    slowCalls: 0,
    get fflags() {
      return flags[0];
    },
    set fflags(value) {
      flags[0] = value;
    },
  };
  const counted: typeof slowPath = (...args) => {
    result.slowCalls++;
    return slowPath(...args);
  };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory, slow: counted } });
  for (const op of FP_OPS) result.call[op] = instance.exports[op] as Call;
  return result;
}

// Without a fusing host the other path is all there is to test.
const variants = hostFuses() ? [true, false] : [false];

for (const fused of variants) {
  Deno.test(`fast paths give exact results and flags ${fused ? "with" : "without"} the host's multiply-add`, () => {
    const machine = bench(fused);
    const operands = new Operands(6);
    for (const op of FP_OPS) {
      for (let i = 0; i < 6000; i++) {
        const rm = i % 3 === 0 ? operands.below(5) : RM.RNE;
        const before = operands.below(2) === 0 ? 0 : FLAG.NX;
        const triple = operands.triple(op);
        machine.fflags = before;
        const value = BigInt.asUintN(64, machine.call[op](HART, rm, ...triple));
        const expected = compute(op, rm, ...triple);
        if (value !== expected.value || machine.fflags !== (expected.flags | before)) {
          const found = `${value.toString(16)}, flags ${machine.fflags}`;
          const wanted = `${expected.value.toString(16)}, flags ${expected.flags} besides ${before}`;
          throw new Error(`${op} rm=${rm} of ${triple.map((x) => x.toString(16))}: found ${found}, wanted ${wanted}`);
        }
      }
    }
  });

  Deno.test(`everyday operands never take the slow path ${fused ? "with" : "without"} the host's multiply-add`, () => {
    const machine = bench(fused);
    const double = (x: number): bigint => new BigUint64Array(new Float64Array([x]).buffer)[0];
    const single = (x: number): bigint => BigInt(new Uint32Array(new Float32Array([x]).buffer)[0]);
    const numbers = [0, 1, -2.5, 0.1, 3.7e-9, -123456.789, 65536, 1e15];
    for (const op of FP_OPS) {
      const [name, from] = op.split(".");
      const encode = from === "d" ? double : from === "s" ? single : (x: number) => BigInt(Math.trunc(Math.abs(x)));
      for (const x of numbers) {
        for (const y of numbers) {
          if ((name === "div" && y === 0) || (name === "sqrt" && x < 0)) continue;
          if (/^(w|l)u?$/.test(name) && (x < 0 || x > 2 ** 31)) continue;
          for (const flags of [0, FLAG.NX]) {
            machine.fflags = flags;
            machine.call[op](HART, name.startsWith("w") ? RM.RTZ : RM.RNE, encode(x), encode(y), encode(x + y));
            assertEquals(machine.slowCalls, 0, `${op} of ${x} and ${y}, flags ${flags}`);
          }
        }
      }
    }
  });
}

Deno.test("the slow path accumulates flags in the hart's block alone", () => {
  const memory = new WebAssembly.Memory({ initial: 8, maximum: 8 });
  const words = new Int32Array(memory.buffer);
  floatSlowPath(memory)(hartBase(1), FP_OPS.indexOf("div.d"), RM.RNE, 0x3ff0_0000_0000_0000n, 0n, 0n);
  assertEquals(words[(hartBase(1) + SLOT.fflags) / 4], FLAG.DZ);
  assert(words.every((word, i) => word === 0 || i === (hartBase(1) + SLOT.fflags) / 4));
});
