// System instructions that generated code carries out itself, in compiled code and in the interpreter, against the oracle.

import { assertEquals } from "@std/assert";
import { Guest, type GuestOptions, S_HANDLER } from "../../support/riscv_guest.ts";
import { PageTables, PTE } from "../../support/riscv_pages.ts";
import { encode, RAM_BASE } from "../../support/riscv_rig.ts";

const { V, R, W, X, U, A, D } = PTE;
const TABLES = RAM_BASE + 0x2_0000;
const DATA = RAM_BASE + 0x8000;
const START = BigInt(RAM_BASE);
const SIE = 2n, SPP = 0x100n, FS = 0x6000n, CLEAN = 0x4000n, SUM = 1n << 18n;
/** Everything compiled at once, and nothing. */
const CONFIGS = [{ threshold: 1, optimize: 2 }, { compiler: false }];
/** Where the program goes on when it is warm. */
const WARM = 60;

/** Runs until the program waits or has trapped; whether code was compiled is as the configuration says. */
function finish(source: string, options: GuestOptions): Guest {
  const guest = new Guest(source, { mode: "S", ...options, registers: { a4: WARM, ...options.registers } });
  // What was hot in one run is compiled in the next; runs must be long, as compiled code makes no part of a block.
  for (const steps of [40, 40, 40, 3000]) guest.run(steps);
  const { regions } = guest.engine.engine.stats!();
  assertEquals(regions > 0, options.config?.threshold === 1, "whether compiled code ran");
  return guest;
}

/** Maps the code for S-mode, and a page of the user's at `DATA`. */
function paged(options: GuestOptions): GuestOptions {
  return {
    ...options,
    prepare(rig) {
      const tables = new PageTables(rig, TABLES);
      tables.map(START, RAM_BASE, V | R | X | A);
      tables.map(BigInt(S_HANDLER), S_HANDLER, V | R | X | A);
      tables.map(BigInt(DATA), DATA, V | R | W | A | D | U);
      rig.hart.set("satp", tables.satp(8));
      // The first switch to a mode is never a quick one.
      rig.hart.mode = 0;
      rig.hart.contextChanged();
    },
  };
}

Deno.test("sstatus and the CSRs of traps are read and written alike in compiled code and in the interpreter", () => {
  for (const config of CONFIGS) {
    for (const csr of [0x100, 0x140, 0x141, 0x142, 0x143, 0x340, 0x341, 0x342, 0x343]) {
      const accesses = ["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"].flatMap((name) =>
        [0, 15].map((rs1) => `.word ${encode(name, { rd: 12, rs1, csr })}; xor a1, a1, a2; add a5, a5, a6`)
      );
      const source = `loop: ${accesses.join("\n")}\naddi a4, a4, -1; bnez a4, loop; wfi`;
      const registers = { a5: 0x5a5a_5a5a_f0f6_8c37n, a6: 0x0123_4567_89ab_c3f5n };
      const guest = finish(source, { config, mode: csr < 0x300 ? "S" : "M", registers });
      assertEquals(guest.get("a4"), 0n);
    }
  }
});

Deno.test("compiled accesses to CSRs are illegal below their mode", () => {
  for (const [csr, modes] of [["sstatus", ["S", "U"]], ["sscratch", ["S", "U"]], ["mscratch", ["M", "S"]]] as const) {
    const source = `loop: csrr a1, ${csr}; csrw ${csr}, a1; addi a4, a4, -1; bnez a4, loop; ecall`;
    const guest = finish(source, { config: CONFIGS[0], mode: modes[0] });
    guest.each(({ hart }) => {
      hart.set("pc", START);
      hart.mode = modes[1] === "S" ? 1 : 0;
      hart.contextChanged();
    });
    const { to, cause, epc } = guest.run(100).trap();
    assertEquals([to, cause, epc], ["M", 2, START], `${csr} in ${modes[1]}`);
  }
});

Deno.test("a user's page that compiled code reaches by SUM is barred without it", () => {
  for (const config of CONFIGS) {
    const source = `
      loop: csrs sstatus, a5; ld a1, 0(a0); csrc sstatus, a6
      here: ld a2, 8(a0)
      addi a4, a4, -1; bnez a4, loop
      mv a6, a5; j loop`;
    const guest = finish(source, paged({ config, registers: { a0: DATA, a5: SUM } }));
    assertEquals(guest.trap(), { to: "M", cause: 13, value: BigInt(DATA + 8), epc: START + 12n });
  }
});

Deno.test("floating point is illegal in compiled code once it, or what it calls, has turned FS off", () => {
  for (const config of CONFIGS) {
    const guest = finish(
      `
      loop: jal f; fadd.d fa0, fa1, fa2
      addi a4, a4, -1; bnez a4, loop
      li a3, 1; j loop
      f: beqz a3, over; csrc sstatus, a5; over: ret`,
      { config, registers: { a5: FS } },
    );
    assertEquals(guest.trap(), { to: "M", cause: 2, value: 0x02c5f553n, epc: START + 4n });
    const inLine = finish(
      `
      loop: csrrc a1, sstatus, a5; fadd.d fa0, fa1, fa2
      jal g; li a1, 0; addi a4, a4, -1; bnez a4, loop
      li a5, 0x6000; j loop
      g: ret`,
      { config, registers: { a5: 0 } },
    );
    assertEquals(inLine.trap(), { to: "M", cause: 2, value: 0x02c5f553n, epc: START + 4n });
  }
});

Deno.test("floating point makes FS dirty once more behind what has made it clean", () => {
  for (const config of CONFIGS) {
    const guest = finish(
      `
      loop: fadd.d fa0, fa1, fa2; csrw sstatus, a5; fadd.d fa0, fa1, fa2; csrr a1, sstatus
      addi a4, a4, -1; bnez a4, loop
      wfi`,
      { config, registers: { a5: CLEAN } },
    );
    assertEquals([guest.get("a4"), guest.get("a1") & FS], [0n, FS]);
  }
});

Deno.test("a return to U-mode that meets its caller's code does not run it as the caller", () => {
  for (const config of CONFIGS) {
    const guest = finish(
      `
      loop: jal f; addi a2, a2, 1
      addi a4, a4, -1; bnez a4, loop
      mv a6, a5; j loop
      f: csrw sepc, ra; csrs sstatus, a5; csrc sstatus, a6; sret`,
      paged({ config, registers: { a5: SPP } }),
    );
    assertEquals(guest.trap(), { to: "M", cause: 12, value: START + 4n, epc: START + 4n });
    assertEquals(guest.get("a2"), BigInt(WARM));
  }
});

Deno.test("calls from U-mode are taken in S-mode and returned from, with the counters right", () => {
  for (const config of CONFIGS) {
    // Without translation both modes run the same page.
    const guest = finish(
      `
      loop: addi a2, a2, 1; ecall
      addi a4, a4, -1; bnez a4, loop
      wait: j wait
      .align 4
      handler: csrrw a1, sscratch, a1
      csrr a5, sepc; addi a5, a5, 4; csrw sepc, a5
      csrr a6, scause; add a7, a7, a6
      csrrw a1, sscratch, a1; sret`,
      { config, mode: "U", registers: { medeleg: 1 << 8, stvec: START + 32n, minstret: 0, mcycle: 0 } },
    );
    assertEquals([guest.get("a2"), guest.get("a7"), guest.mode], [BigInt(WARM), BigInt(8 * WARM), "U"]);
    assertEquals(guest.get("mcycle") - guest.get("minstret"), BigInt(WARM));
  }
});

Deno.test("what makes an interrupt due in compiled code is followed by it", () => {
  for (const config of CONFIGS) {
    for (const [last, at] of [["csrs sstatus, a5", 4n], ["csrw sepc, ra; csrs sstatus, a6; sret", 12n]] as const) {
      const guest = finish(
        `
        la ra, over
        loop: csrw sip, a3
        there: ${last}
        over: csrc sstatus, a5; addi a4, a4, -1; bnez a4, loop
        li a3, 2; li a4, 2; j loop`,
        { config, registers: { a5: SIE, a6: SPP | 0x20n, mideleg: 2, mie: 2, sstatus: 0 } },
      );
      const { to, cause, epc } = guest.trap();
      assertEquals([to, cause, epc], ["S", -1, START + 12n + at]);
    }
  }
});
