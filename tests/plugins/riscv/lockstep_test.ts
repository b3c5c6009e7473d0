// Random programs: the engine against the oracle, step for step. DENOVISOR_FUZZ_SEED chooses others, and
// DENOVISOR_LOCKSTEP_SECONDS sets how long, default 3.

import { assertEquals } from "@std/assert";
import { type Leg, lockstep } from "../../support/riscv_lockstep.ts";
import { LOOPS_RAM_SIZE, RandomLoops } from "../../support/riscv_loops.ts";
import { RAM_SIZE, RandomProgram } from "../../support/riscv_random.ts";
import { EngineRig, OracleRig } from "../../support/riscv_rig.ts";

const SECONDS = Number(Deno.env.get("DENOVISOR_LOCKSTEP_SECONDS") ?? 3);
const FIRST_SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);

/** Sizes of runs, and the engine's configuration: code that is thrown away all the time, code compiled at once. */
const CASES = [
  { size: 1, config: { compiler: false } },
  { size: 7, config: { compiler: false, codeCache: 0 } },
  { size: Infinity, config: { threshold: 1 } },
  { size: 40, config: { threshold: 2, optimize: 1, codeCache: 0 } },
  { size: Infinity, config: { threshold: 3, compiledCode: 0 } },
];

/** Runs programs, one after the other, in all cases. */
function compare(program: (seed: number) => Leg[], ramSize: number): void {
  const end = performance.now() + SECONDS / 2 * 1000;
  for (let seed = FIRST_SEED; performance.now() < end; seed++) {
    const { size, config } = CASES[seed % CASES.length];
    const start = () => ({ engine: new EngineRig({ ramSize, config }), oracle: new OracleRig({ ramSize }) });
    const found = lockstep(start, program(seed), size);
    assertEquals(found, undefined, `seed ${seed}: ${found}`);
  }
}

Deno.test("random instructions take the same steps in the engine as in the oracle, whatever the size of runs", () => {
  compare((seed) => new RandomProgram(seed, 100, seed % 2 ? 40 : 250).make(), RAM_SIZE);
});

Deno.test("random loops and calls take the same steps in the engine as in the oracle, compiled or not", () => {
  compare((seed) => new RandomLoops(seed, 20, seed % 3 ? 2000 : 100).make(), LOOPS_RAM_SIZE);
});
