// Which code is compiled: what is reached often within a short time, or very often in all.

import { assert, assertEquals } from "@std/assert";
import { Guest } from "../../support/riscv_guest.ts";

const THRESHOLD = 30;
const TURN = 600;

/** A loop of so many instructions. */
const SOURCE = `
loop:
${"addi a0, a0, 1\n".repeat(TURN - 1)}
  j loop`;

/** How many regions are compiled after so many turns of the loop, made in runs of `run` steps. */
function regionsAfter(turns: number, run: number, config: Record<string, unknown> = {}): number {
  const guest = new Guest(SOURCE, { config: { threshold: THRESHOLD, ...config } });
  for (let steps = 0; steps < turns * TURN; steps += run) guest.run(run);
  return guest.engine.engine.stats!().regions;
}

Deno.test("a loop is compiled when jumps have reached its head as often as the threshold says", () => {
  assertEquals(regionsAfter(THRESHOLD - 2, 14 * TURN), 0);
  assert(regionsAfter(3 * THRESHOLD, TURN) > 0);
});

Deno.test("a loop that takes long to be reached so often is compiled after four times as many turns", () => {
  const short = 23; // steps of a run: a turn of the loop takes some thirty runs
  assertEquals(regionsAfter(3 * THRESHOLD, short), 0);
  assert(regionsAfter(5 * THRESHOLD, short) > 0);
});

Deno.test("nothing is compiled without a compiler, however low the threshold is", () => {
  assertEquals(regionsAfter(20, TURN, { compiler: false, threshold: 1 }), 0);
  assert(regionsAfter(20, TURN, { threshold: 1 }) > 0);
});
