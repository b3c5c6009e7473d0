// Compiled code that is kept: what nobody enters goes first when there is no room, and what runs stays.

import { assert, assertEquals } from "@std/assert";
import { Guest } from "../../support/riscv_guest.ts";

const PHASES = 24;
const ROUNDS = 60;

/** In each phase, a loop calls `common` and a function of its own, which no later phase calls. */
const SOURCE = `
  j phase0
common: addi a0, a0, 1; ret
${Array.from({ length: PHASES }, (_, i) => `own${i}: addi a2, a2, ${i}; ret`).join("\n")}
${
  Array.from({ length: PHASES }, (_, i) =>
    `phase${i}: li a1, ${ROUNDS}
    loop${i}: jal common; jal own${i}; addi a1, a1, -1; bnez a1, loop${i}`).join("\n")
}
  wfi`;

function run(compiledCode: number): { regions: number; evictions: number } {
  const guest = new Guest(SOURCE, { config: { threshold: 8, optimize: 1e6, compiledCode } });
  while (!guest.engine.idle) guest.run(200);
  const sum = ROUNDS * PHASES * (PHASES - 1) / 2;
  assertEquals([guest.get("a0"), guest.get("a2")], [BigInt(ROUNDS * PHASES), BigInt(sum)]);
  const { regions, evictions } = guest.engine.engine.stats!();
  return { regions, evictions };
}

Deno.test("code that still runs is not compiled again when there is no room for all", () => {
  const all = run(2 ** 20);
  assertEquals(all.evictions, 0);
  const some = run(12_000);
  assert(some.evictions > 0, "there was no room");
  assertEquals(some.regions, all.regions);
  const one = run(0);
  assert(one.regions > all.regions, `${one.regions} regions without room, ${all.regions} with it`);
});
