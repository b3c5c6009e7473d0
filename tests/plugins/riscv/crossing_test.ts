// Instructions across two pages: remembered, and fetched anew when either page changes or is another one.

import { assert, assertEquals } from "@std/assert";
import { assemble } from "../../../plugins/riscv/assembler.ts";
import { Guest } from "../../support/riscv_guest.ts";
import { PageTables, PTE } from "../../support/riscv_pages.ts";
import { encode, RAM_BASE, type Rig } from "../../support/riscv_rig.ts";

const { V, R, X, A } = PTE;
const BASE = RAM_BASE + 0xffe;
const CONFIGS = [{ threshold: 1 }, { compiler: false }, { compiler: false, codeCache: 0 }];

/** The halves of `addi a0, a0, n`. */
const halves = (n: number): [number, number] => {
  const bits = encode("addi", { rd: 10, rs1: 10, imm: n });
  return [bits & 0xffff, bits >>> 16];
};

function putHalf(rig: Rig, at: number, half: number): void {
  rig.memory.view.setUint16(rig.memory.host(at, 2), half, true);
  rig.invalidate(at, 2);
}

Deno.test("an instruction across pages is read anew when either of its halves is written", () => {
  for (const config of CONFIGS) {
    const guest = new Guest("loop: addi a0, a0, 1; addi a1, a1, -1; bnez a1, loop; wfi", { base: BASE, config });
    const sum = (expected: bigint) => {
      guest.each(({ hart }) => {
        hart.state.waiting = false;
        hart.set("pc", BigInt(BASE));
        hart.set("a0", 0n);
        hart.set("a1", 20n);
      });
      for (const steps of [30, 40]) guest.run(steps);
      assertEquals(guest.get("a0"), expected);
    };
    sum(20n);
    guest.each((rig) => putHalf(rig, BASE + 2, halves(5)[1]));
    sum(100n);
    guest.each((rig) => putHalf(rig, BASE, halves(5)[0] ^ 1 << 15)); // rs1 is x11 now
    sum(6n);
    // The page behind is made anew where it was.
    guest.each((rig) => rig.program(RAM_BASE + 0x1000, [halves(7)[1] | 0xffff << 16]));
    guest.load("loop: addi a0, a0, 3; addi a1, a1, -1; bnez a1, loop; wfi", "M", BASE);
    sum(60n);
  }
});

Deno.test("an instruction across pages is that of the page which follows in the address space", () => {
  const [tables, here] = [[RAM_BASE + 0x1_0000, RAM_BASE + 0x2_0000], 0x1234_5000n];
  for (const config of CONFIGS) {
    // Code in a page of its own goes from one space to the other, and calls across the pages in both.
    const guest = new Guest(
      "loop: jalr s1; csrw satp, s2; jalr s1; csrw satp, s3; addi a1, a1, -1; bnez a1, loop; wfi",
      {
        mode: "S",
        config,
        registers: { s1: here + 0xffen, a1: 10 },
        prepare(rig) {
          const satps = tables.map((at, space) => {
            const built = new PageTables(rig, at);
            built.map(BigInt(RAM_BASE), RAM_BASE, V | R | X | A);
            built.map(here, RAM_BASE + 0x4000, V | R | X | A);
            built.map(here + 0x1000n, RAM_BASE + 0x5000 + 0x1000 * space, V | R | X | A);
            putHalf(rig, RAM_BASE + 0x5000 + 0x1000 * space, halves(1 + 100 * space)[1]);
            putHalf(rig, RAM_BASE + 0x5002 + 0x1000 * space, 0x8082); // ret
            return built.satp(8, space);
          });
          putHalf(rig, RAM_BASE + 0x4ffe, halves(0)[0]);
          rig.hart.set("s3", satps[0]);
          rig.hart.set("s2", satps[1]);
          rig.hart.set("satp", satps[0]);
        },
      },
    );
    for (let i = 0; i < 20; i++) guest.run(7);
    assertEquals([guest.get("a0"), guest.engine.idle], [1020n, true]);
  }
});

Deno.test("compiled code executes an instruction across pages, and gives way where it is another one by now", () => {
  const guest = new Guest("loop: addi a0, a0, 1; addi a1, a1, -1; bnez a1, loop; wfi", {
    base: BASE,
    config: { threshold: 1 },
    registers: { a1: 5000 },
  });
  const interpreted = (steps: number): number => {
    const before = guest.engine.hart.compiled.steps;
    guest.run(steps);
    return steps - (guest.engine.hart.compiled.steps - before);
  };
  guest.run(60);
  const runs = guest.engine.hart.compiled.runs;
  assertEquals([interpreted(3000), guest.engine.hart.compiled.runs], [0, runs + 1]);
  guest.each((rig) => putHalf(rig, BASE + 2, halves(5)[1]));
  guest.run(60);
  assert(interpreted(3000) > 900, "its page keeps the code of the former instruction");
  while (!guest.engine.idle) guest.run(3000);
  assertEquals(guest.get("a1"), 0n);
});

Deno.test("compiled code has no instruction of a page that took the next one's place among the predecoded", () => {
  const [PAGE, OTHER, NEXT] = [RAM_BASE + 0x4000, RAM_BASE + 0x5000, RAM_BASE + 0x1000];
  // While the loop becomes hot, the next page is dropped in each turn, and another one is made before it is again.
  const away = `
    addi a3, a3, -1; addi t0, a3, -6; sltiu t0, t0, 6; beqz t0, back
    sd zero, 512(s5); sd zero, 512(s6); jalr s5
    back: jr s7`;
  // Compiling begins at the end of some run: with these sizes, of one in the other page.
  for (const steps of [3, 5]) {
    const guest = new Guest(
      "loop: addi a2, a2, 1; addi a5, a5, 0; addi a0, a0, 1; addi a1, a1, -1; beqz a1, end; jr s4; end: wfi",
      {
        base: BASE - 8,
        config: { threshold: 12 },
        registers: { a1: 40, a3: 20, s4: PAGE, s5: OTHER, s6: NEXT, s7: BASE - 8 },
        prepare(rig) {
          rig.program(PAGE, Array.from(new Int32Array(assemble(away).buffer)));
          rig.program(OTHER, [0x8082]); // ret
        },
      },
    );
    while (!guest.engine.idle) guest.run(steps);
    assertEquals(guest.get("a0"), 40n);
  }
});
