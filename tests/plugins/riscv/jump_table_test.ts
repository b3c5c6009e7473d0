// Jump tables in compiled code: a region holds what its computed jumps go to, whatever else is hot near by.

import { assert, assertEquals, assertLess } from "@std/assert";
import { Guest } from "../../support/riscv_guest.ts";

const [CASES, NEIGHBOURS, ROUNDS] = [8, 36, 40];

/** Loops with a call each. */
const neighbours = (name: string): string =>
  Array.from({ length: NEIGHBOURS }, (_, i) =>
    `li a1, ${ROUNDS}
    ${name}${i}: jal called; addi a3, a3, ${i}; addi a1, a1, -1; bnez a1, ${name}${i}`).join("\n");

/** Jumps by the lowest bits of s2, as many as s3 has, among loops that ran before. */
const SOURCE = `
  j above
called: addi a4, a4, 1; ret
above: ${neighbours("above")}
  j below
again: and t0, s2, s3
  slli t0, t0, 3
  la t1, cases
  add t1, t1, t0
  jr t1
cases: ${Array.from({ length: CASES }, (_, i) => `addi a0, a0, ${1 << i}; j next`).join("\n")}
next: addi s2, s2, -1
  bnez s2, again
  wfi
below: ${neighbours("below")}
  j again`;

Deno.test("a region with a jump table holds where its jumps went, though other code is hot near by", () => {
  const turns = 30_000;
  const guest = new Guest(SOURCE, { config: { threshold: 20, optimize: 1000 }, registers: { s2: turns, s3: 3 } });
  const stats = () => guest.engine.engine.stats!();
  const sizes: number[] = [];
  let left = 0;
  for (let slice = 0; slice < 60; slice++) {
    // Half of the cases come late.
    if (slice === 30) guest.each(({ hart }) => hart.set("s3", 7n));
    const before = stats();
    guest.run(3000);
    const { compiledBytes, optimized, compiledRuns } = stats();
    if (optimized > before.optimized) sizes.push(compiledBytes - before.compiledBytes);
    left = compiledRuns - before.compiledRuns;
  }
  assert(!guest.engine.idle && sizes.length >= 2);
  assertLess(sizes.at(-1)!, 3000, "bytes of the region that holds all cases");
  assertLess(left, 30, "how often 3000 steps of the loop left it");
  while (!guest.engine.idle) guest.run(10_000);
  assertEquals(guest.get("s2"), 0n);
});
