// Compiled code that calls what is interpreted: it stays, and goes on only where its own code is still at its address.

import { assertEquals } from "@std/assert";
import { Guest } from "../../support/riscv_guest.ts";
import { PageTables, PTE } from "../../support/riscv_pages.ts";
import { encode, RAM_BASE } from "../../support/riscv_rig.ts";

const { V, R, X, A } = PTE;
const ROUNDS = 40;
const CALLER = RAM_BASE + 0x4000;
const CALLEE = RAM_BASE + 0x6000;
const DRIVER = "loop: jalr s1; addi a1, a1, -1; bnez a1, loop; wfi";

/** Keeps ra, calls s5, adds n, and returns. */
const caller = (n: number): number[] => [
  encode("addi", { rd: 20, rs1: 1, imm: 0 }),
  encode("jalr", { rd: 1, rs1: 21, imm: 0 }),
  encode("slli", { rd: 10, rs1: 10, imm: 1 }),
  encode("addi", { rd: 10, rs1: 10, imm: n }),
  encode("jalr", { rd: 0, rs1: 20, imm: 0 }),
];
const RET = encode("jalr", { rd: 0, rs1: 1, imm: 0 });

Deno.test("a caller goes on behind a call that is interpreted", () => {
  // Reads of the counter are the interpreter's.
  const guest = new Guest(DRIVER, {
    config: { threshold: 4 },
    registers: { s1: BigInt(CALLER), s5: BigInt(CALLEE), a1: ROUNDS },
    prepare(rig) {
      rig.program(CALLER, caller(1));
      rig.program(CALLEE, [encode("csrrs", { rd: 5, rs1: 0, csr: 0xb02 }), RET]);
    },
  });
  for (const steps of [5, 50, 3, 1000]) guest.run(steps);
  assertEquals([guest.get("a0"), guest.engine.idle], [2n ** BigInt(ROUNDS) - 1n, true]);
});

Deno.test("a caller does not go on where the call has put other code at its address", () => {
  const here = 0x1234_5000n;
  const swap = encode("csrrw", { rd: 18, rs1: 18, csr: 0x180 });
  for (const fence of [[], [encode("sfence.vma", { rs1: 0, rs2: 0 })]]) {
    const guest = new Guest(DRIVER, {
      mode: "S",
      config: { threshold: 4 },
      registers: { s1: here, s5: BigInt(CALLEE), a1: ROUNDS },
      prepare(rig) {
        const satps = [0, 1].map((space) => {
          const built = new PageTables(rig, RAM_BASE + 0x1_0000 * (1 + space));
          for (const page of [RAM_BASE, CALLEE]) built.map(BigInt(page), page, V | R | X | A);
          built.map(here, CALLER + 0x1000 * space, V | R | X | A);
          rig.program(CALLER + 0x1000 * space, caller(1 + space));
          return built.satp(8, space);
        });
        rig.program(CALLEE, [swap, ...fence, RET]);
        rig.hart.set("s2", satps[1]);
        rig.hart.set("satp", satps[0]);
      },
    });
    for (const steps of [5, 50, 3, 1000]) guest.run(steps);
    let sum = 0n;
    for (let i = 0; i < ROUNDS; i++) sum = 2n * sum + (i % 2 ? 1n : 2n);
    assertEquals([guest.get("a0"), guest.engine.idle], [sum, true]);
  }
});

Deno.test("a recursion of compiled and interpreted functions ends, wherever the host's stack is used up", () => {
  // Each k moves the depth of calls at which that is by one; an interpreter between counts for several.
  const kinds = 12;
  const [levels, rounds] = [40, 6];
  const guest = new Guest(
    `
        li s3, ${rounds}
    round: li s2, ${kinds - 1}
    outer: mv a0, s2; li a1, ${levels}; jal rec; addi s2, s2, -1; bgez s2, outer
        addi s3, s3, -1; bnez s3, round
        wfi
    rec: addi sp, sp, -16; sd ra, 0(sp); addi a4, a4, 1
        beqz a0, mixed
        addi a0, a0, -1; jal rec; j out
    mixed: beqz a1, out
        addi a1, a1, -1; jal cold
    out: ld ra, 0(sp); addi sp, sp, 16; ret
    cold: csrr t0, mcycle; addi sp, sp, -16; sd ra, 0(sp); jal rec; ld ra, 0(sp); addi sp, sp, 16; ret`,
    { config: { threshold: 4 }, registers: { sp: BigInt(RAM_BASE + 0x8000) } },
  );
  while (!guest.engine.idle) guest.run(5000);
  const calls = rounds * Array.from({ length: kinds }, (_, k) => k + 1 + levels).reduce((sum, n) => sum + n);
  assertEquals(guest.get("a4"), BigInt(calls));
});

Deno.test("a recursion of compiled functions goes deeper than the host's stack", () => {
  const [shallow, deep] = [50, 20_000];
  const source = `
        li s2, ${shallow}
    warm: li a0, ${shallow}; jal rec; addi s2, s2, -1; bnez s2, warm
        li a0, ${deep}; jal rec
        wfi
    rec: addi sp, sp, -8; sd ra, 0(sp); addi a4, a4, 1
        beqz a0, out
        addi a0, a0, -1; jal rec
    out: ld ra, 0(sp); addi sp, sp, 8; ret`;
  for (const optimize of [2, 2 ** 25]) {
    const registers = { sp: BigInt(RAM_BASE + 0x4_0000) };
    const guest = new Guest(source, { config: { threshold: 4, optimize }, registers });
    while (!guest.engine.idle) guest.run(500_000);
    assertEquals(guest.get("a4"), BigInt(shallow * (shallow + 1) + deep + 1));
  }
});

Deno.test("a hart that waits within a call waits, whoever called", () => {
  const guest = new Guest(
    `
    loop: jal f; addi a2, a2, 1; addi a4, a4, -1; bnez a4, loop
        li a3, 1; li a4, 1; j loop
    f: beqz a3, over; wfi
    over: ret`,
    { config: { threshold: 4 }, registers: { a4: ROUNDS } },
  );
  for (let i = 0; i < 4; i++) guest.run(200);
  assertEquals([guest.get("a2"), guest.engine.idle], [BigInt(ROUNDS), true]);
});
