// Compiled code that is kept: what nobody enters goes first when there is no room, and what runs stays.

import { assert, assertEquals } from "@std/assert";
import { encode, RAM_BASE } from "../../support/riscv_rig.ts";
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

interface Kept {
  readonly regions: number;
  readonly evictions: number;
  /** Of WebAssembly: of all modules, and of those that are kept: in the end, and at the most. */
  readonly compiledBytes: number;
  readonly residentBytes: number;
  readonly most: number;
  /** Of the largest module. */
  readonly module: number;
}

function run(compiledCode: number): Kept {
  const guest = new Guest(SOURCE, { config: { threshold: 8, optimize: 1e6, compiledCode } });
  const stats = (): Record<string, number> => guest.engine.engine.stats!();
  let [most, module, compiled] = [0, 0, 0];
  while (!guest.engine.idle) {
    guest.run(200);
    const { residentBytes, compiledBytes } = stats();
    most = Math.max(most, residentBytes);
    module = Math.max(module, compiledBytes - compiled);
    compiled = compiledBytes;
  }
  const sum = ROUNDS * PHASES * (PHASES - 1) / 2;
  assertEquals([guest.get("a0"), guest.get("a2")], [BigInt(ROUNDS * PHASES), BigInt(sum)]);
  const { regions, evictions, compiledBytes, residentBytes } = stats();
  return { regions, evictions, compiledBytes, residentBytes, most, module };
}

Deno.test("code that still runs is not compiled again when there is no room for all", () => {
  const all = run(2 ** 20);
  assertEquals([all.evictions, all.residentBytes], [0, all.compiledBytes]);
  const some = run(12_000);
  assert(some.evictions > 0, "there was no room");
  assertEquals(some.regions, all.regions);
  const one = run(0);
  assert(one.regions > all.regions, `${one.regions} regions without room, ${all.regions} with it`);
});

Deno.test("no more code is kept than there is room for, and the module that came last", () => {
  for (const room of [0, 12_000, 20_000]) {
    const { most, module, residentBytes, compiledBytes } = run(room);
    assert(most <= room + module, `${most} bytes are kept, with room for ${room} and modules of at most ${module}`);
    assert(residentBytes > 0 && residentBytes < compiledBytes, `${residentBytes} of ${compiledBytes} bytes are kept`);
  }
});

Deno.test("code on trial does not come back once its page was written", () => {
  const FUNCTION = RAM_BASE + 0x4000;
  const add = (imm: number) => [encode("addi", { rd: 10, rs1: 10, imm }), encode("jalr", { rd: 0, rs1: 1, imm: 0 })];
  const call = (label: string) => `${label}: jalr s1; addi a1, a1, -1; bnez a1, ${label}`;
  // Half of the room is used up before the last of these are compiled: what came first is on trial then.
  const own = Array.from({ length: PHASES }, (_, i) => `own${i}: addi a2, a2, ${i}; ret`);
  const calls = own.map((_, i) => `li a1, 40; loop${i}: jal own${i}; addi a1, a1, -1; bnez a1, loop${i}`);
  const guest = new Guest([call("first"), ...calls, "wfi", call("again"), "wfi", ...own].join("\n"), {
    config: { threshold: 8, optimize: 1e6, compiledCode: 40_000 },
    registers: { a1: 40, s1: FUNCTION },
    prepare: (rig) => rig.program(FUNCTION, add(1)),
  });
  while (!guest.engine.idle) guest.run(200);
  const { residentBytes, evictions } = guest.engine.engine.stats!();
  assert(residentBytes > 20_000 && evictions === 0, `${residentBytes} bytes are kept after ${evictions} evictions`);
  guest.each((rig) => {
    rig.program(FUNCTION, add(100));
    rig.hart.state.waiting = false;
    rig.hart.set("a1", 30n);
  });
  do guest.run(200); while (!guest.engine.idle);
  assertEquals(guest.get("a0"), 3040n);
});
