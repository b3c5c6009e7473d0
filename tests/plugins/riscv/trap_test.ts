// Traps and returns, as the privileged specification 20240411 words them (sections 3.1.6 to 3.3 and 10.1).

import { assertEquals } from "@std/assert";
import { Guest, M_HANDLER, S_HANDLER } from "../../support/riscv_guest.ts";
import { DEVICE_BASE, DEVICE_LINES, RAM_BASE } from "../../support/riscv_rig.ts";

const START = BigInt(RAM_BASE);
const STATUS = { SIE: 0x2n, MIE: 0x8n, SPIE: 0x20n, MPIE: 0x80n, SPP: 0x100n, MPP: 0x1800n, MPRV: 0x20000n } as const;
const FS = 0x6000n;

Deno.test("environment calls trap with cause 8, 9 or 11 by mode, mepc at the ecall, mtval zero", () => {
  for (const [mode, cause, mpp] of [["U", 8, 0n], ["S", 9, 1n], ["M", 11, 3n]] as const) {
    const guest = new Guest("nop; ecall", { mode, registers: { mtval: 99 } });
    assertEquals(guest.trap(), { to: "M", cause, value: 0n, epc: START + 4n });
    assertEquals(guest.get("mstatus") & STATUS.MPP, mpp << 11n);
    assertEquals(guest.get("pc"), BigInt(M_HANDLER));
  }
});

Deno.test("a trap to M-mode moves MIE to MPIE and clears it; a trap to S-mode does so with SIE and SPIE", () => {
  const up = new Guest("ecall", { mode: "M", registers: { mstatus: FS | STATUS.MIE | STATUS.SIE } });
  up.trap();
  assertEquals(up.get("mstatus") & 0xffffn, FS | STATUS.MPIE | STATUS.SIE | STATUS.MPP);

  const down = new Guest("ecall", {
    mode: "S",
    registers: { mstatus: FS | STATUS.MIE | STATUS.SIE, medeleg: 1 << 9 },
  });
  down.trap();
  assertEquals(down.get("mstatus") & 0xffffn, FS | STATUS.MIE | STATUS.SPIE | STATUS.SPP);
});

Deno.test("a delegated trap writes scause, sepc, stval, SPP and SPIE, and none of the M-mode registers", () => {
  const guest = new Guest("lw a0, 0(zero)", {
    mode: "U",
    registers: { medeleg: 1 << 5, mcause: 77, mepc: 0x1234, mtval: 55, mstatus: FS | STATUS.MPP | STATUS.SIE },
  });
  assertEquals(guest.trap(), { to: "S", cause: 5, value: 0n, epc: START });
  assertEquals([guest.get("mcause"), guest.get("mepc"), guest.get("mtval")], [77n, 0x1234n, 55n]);
  assertEquals(guest.get("mstatus") & 0xffffn, FS | STATUS.MPP | STATUS.SPIE);
  assertEquals(guest.get("pc"), BigInt(S_HANDLER));
});

Deno.test("traps never go from a more-privileged mode to a less-privileged one", () => {
  const guest = new Guest("lw a0, 0(zero)", { mode: "M", registers: { medeleg: -1n } });
  assertEquals(guest.trap().to, "M");
});

Deno.test("in vectored mode interrupts go to BASE + 4 × cause, exceptions to BASE", () => {
  const vectored = { mtvec: M_HANDLER + 1, mie: 1 << 7, mstatus: STATUS.MIE };
  const interrupted = new Guest("nop; nop", { registers: vectored });
  interrupted.each(({ hart }) => hart.setInterrupt(7, true));
  assertEquals(interrupted.trap().cause, -7);
  assertEquals(interrupted.get("pc"), BigInt(M_HANDLER + 28));
  const excepted = new Guest("ecall", { registers: vectored });
  excepted.trap();
  assertEquals(excepted.get("pc"), BigInt(M_HANDLER));

  const supervisor = new Guest("nop; nop", {
    mode: "U",
    registers: { stvec: S_HANDLER + 1, mie: 1 << 9, mideleg: 1 << 9 },
  });
  supervisor.each(({ hart }) => hart.setInterrupt(9, true));
  assertEquals(supervisor.trap().to, "S");
  assertEquals(supervisor.get("pc"), BigInt(S_HANDLER + 36));
});

Deno.test("simultaneous interrupts are handled in the order MEI, MSI, MTI, SEI, SSI, STI", () => {
  const guest = new Guest("loop: j loop", { registers: { mie: 0xaaa, menvcfg: 1n << 63n } });
  guest.each(({ hart }) => {
    for (const line of [11, 3, 7, 9, 1]) hart.setInterrupt(line, true);
    hart.set("stimecmp", 0n);
  });
  const order: number[] = [];
  for (let i = 0; i < 6; i++) {
    guest.each(({ hart }) => {
      hart.set("pc", START);
      hart.set("mstatus", STATUS.MIE);
    });
    const { cause } = guest.trap();
    order.push(-cause);
    guest.each(({ hart }) => hart.set("mie", hart.get("mie") & ~(1n << BigInt(-cause))));
  }
  assertEquals(order, [11, 3, 7, 9, 1, 5]);
});

Deno.test("interrupts for M-mode are taken in M-mode only with MIE, in less-privileged modes always", () => {
  for (
    const [mode, mstatus, taken] of [["M", 0n, false], ["M", STATUS.MIE, true], ["S", 0n, true], [
      "U",
      0n,
      true,
    ]] as const
  ) {
    const guest = new Guest("loop: j loop", { mode, registers: { mie: 1 << 3, mstatus } });
    guest.each(({ hart }) => hart.setInterrupt(3, true)).run(3);
    assertEquals(guest.get("mcause") !== 0n, taken, `${mode} ${mstatus}`);
  }
});

Deno.test("delegated interrupts are not taken in M-mode, in S-mode only with SIE, in U-mode always", () => {
  const cases = [
    ["M", STATUS.MIE | STATUS.SIE, false],
    ["S", STATUS.MIE, false],
    ["S", STATUS.SIE, true],
    ["U", 0n, true],
  ] as const;
  for (const [mode, mstatus, taken] of cases) {
    const guest = new Guest("loop: j loop", { mode, registers: { mie: 2, mideleg: 2, mstatus } });
    guest.each(({ hart }) => hart.setInterrupt(1, true)).run(3);
    assertEquals(guest.get("scause") !== 0n, taken, `${mode} ${mstatus}`);
  }
});

Deno.test("interrupts for M-mode have priority over delegated ones", () => {
  const guest = new Guest("nop", { mode: "U", registers: { mie: 0x202, mideleg: 0x200 } });
  guest.each(({ hart }) => [1, 9].forEach((line) => hart.setInterrupt(line, true)));
  assertEquals([guest.trap().to, guest.get("mcause") & 0xffn], ["M", 1n]);
});

Deno.test("interrupts are looked at right after writes to mip, mie, mstatus, sstatus and mideleg, and after xRET", () => {
  const after = (source: string, registers: Record<string, bigint | number>, mode: "M" | "S" = "M") => {
    const guest = new Guest(source, { mode, registers: { a0: 2, a1: STATUS.MIE, ...registers } });
    const { cause, epc } = guest.trap();
    assertEquals(cause, -1);
    return Number(epc - START) / 4;
  };
  const pending = { mip: 2, mie: 2 };
  assertEquals(after("nop; csrw mip, a0; nop", { mie: 2, mstatus: STATUS.MIE }), 2);
  assertEquals(after("nop; csrw mie, a0; nop", { mip: 2, mstatus: STATUS.MIE }), 2);
  assertEquals(after("nop; csrw mstatus, a1; nop", pending), 2);
  assertEquals(after("nop; csrw mideleg, zero; nop", { ...pending, mideleg: 2, mstatus: STATUS.MIE }), 2);
  assertEquals(after("nop; csrs sstatus, a0; nop", { ...pending, mideleg: 2 }, "S"), 2);
  assertEquals(after("nop; mret; nop; nop", { ...pending, mstatus: STATUS.MPIE | STATUS.MPP, mepc: START + 12n }), 3);
  const back = { ...pending, mideleg: 2, mstatus: STATUS.SPIE | STATUS.SPP, sepc: START + 12n };
  assertEquals(after("nop; sret; nop; nop", back, "S"), 3);
});

Deno.test("an interrupt that a store raises is taken right after the store", () => {
  const guest = new Guest("nop; sw a0, 0(a1); addi a2, a2, 1; addi a2, a2, 1", {
    registers: { a0: 1 << 11, a1: DEVICE_BASE + DEVICE_LINES, mie: 1 << 11, mstatus: STATUS.MIE },
  });
  assertEquals(guest.trap(), { to: "M", cause: -11, value: 0n, epc: START + 8n });
  assertEquals(guest.get("a2"), 0n);
});

Deno.test("mret returns to MPP: MIE gets MPIE, MPIE is set, MPP becomes U, and MPRV is cleared below M", () => {
  for (const [mpp, mode] of [[0n, "U"], [1n, "S"], [3n, "M"]] as const) {
    const guest = new Guest("mret", {
      registers: { mstatus: FS | mpp << 11n | STATUS.MPIE | STATUS.MPRV, mepc: START + 64n },
    });
    guest.run(1);
    assertEquals([guest.mode, guest.get("pc")], [mode, START + 64n]);
    const kept = mode === "M" ? STATUS.MPRV : 0n;
    assertEquals(guest.get("mstatus") & 0x3ffffn, FS | STATUS.MIE | STATUS.MPIE | kept);
  }
});

Deno.test("sret returns to SPP: SIE gets SPIE, SPIE is set, SPP becomes U, and MPRV is cleared", () => {
  for (const [spp, mode] of [[0n, "U"], [STATUS.SPP, "S"]] as const) {
    for (const from of ["S", "M"] as const) {
      const guest = new Guest("sret", {
        mode: from,
        registers: { mstatus: FS | spp | STATUS.SPIE | STATUS.MPRV, sepc: START + 66n },
      });
      guest.run(1);
      assertEquals([guest.mode, guest.get("pc")], [mode, START + 66n]);
      assertEquals(guest.get("mstatus") & 0x3ffffn, FS | STATUS.SIE | STATUS.SPIE);
    }
  }
});

Deno.test("system instructions are illegal in modes that may not execute them", () => {
  const TVM = 1n << 20n, TW = 1n << 21n, TSR = 1n << 22n;
  const legal = (source: string, mode: "M" | "S" | "U", mstatus = 0n) => {
    const guest = new Guest(source, { mode, registers: { mstatus, mepc: START + 64n, sepc: START + 64n } });
    guest.run(1);
    return guest.get("mcause") !== 2n;
  };
  const cases: [string, ("M" | "S" | "U")[]][] = [
    ["mret", ["M"]],
    ["sret", ["M", "S"]],
    ["wfi", ["M", "S"]],
    ["sfence.vma", ["M", "S"]],
    ["sinval.vma zero, zero", ["M", "S"]],
    ["sfence.w.inval", ["M", "S"]],
    ["sfence.inval.ir", ["M", "S"]],
    ["csrr a0, satp", ["M", "S"]],
    ["csrr a0, mscratch", ["M"]],
    ["csrr a0, sscratch", ["M", "S"]],
    ["fence.i", ["M", "S", "U"]],
  ];
  for (const [source, modes] of cases) {
    for (const mode of ["M", "S", "U"] as const) {
      assertEquals(legal(source, mode), modes.includes(mode), `${source} in ${mode}`);
    }
  }
  // "When TVM=1, attempts to read or write satp or execute SFENCE.VMA or SINVAL.VMA in S-mode raise an exception."
  for (const source of ["csrr a0, satp", "csrw satp, a0", "sfence.vma", "sinval.vma a0, a1"]) {
    assertEquals([legal(source, "S", TVM), legal(source, "M", TVM)], [false, true], source);
  }
  assertEquals(legal("sfence.w.inval", "S", TVM), true);
  assertEquals([legal("wfi", "S", TW), legal("wfi", "M", TW)], [false, true]);
  assertEquals([legal("sret", "S", TSR), legal("sret", "M", TSR)], [false, true]);
});

Deno.test("an illegal instruction leaves its bits in mtval, of compressed ones the 16 bits", () => {
  assertEquals(new Guest(".word 0xfedcba9f").trap(), { to: "M", cause: 2, value: 0xfedcba9fn, epc: START });
  assertEquals(new Guest(".half 0x0000, 0x1234").trap().value, 0n);
  assertEquals(new Guest(".half 0x8002, 0x1234").trap().value, 0x8002n); // c.jr zero is reserved
  assertEquals(new Guest("csrr a0, mscratch", { mode: "U" }).trap().value, 0x34002573n);
  assertEquals(new Guest("mret", { mode: "S" }).trap().value, 0x30200073n);
  const rounding = new Guest("fadd.s fa0, fa1, fa2", { registers: { frm: 5 } });
  assertEquals(rounding.trap(), { to: "M", cause: 2, value: 0x00c5f553n, epc: START });
  // At the end of a page, where instructions are fetched singly.
  const crossing = new Guest(".half 0xffff, 0xabcd", { base: RAM_BASE + 0xffe });
  assertEquals(crossing.trap(), { to: "M", cause: 2, value: 0xabcdffffn, epc: START + 0xffen });
});

Deno.test("a breakpoint traps with cause 3 and its own address, compressed or not", () => {
  assertEquals(new Guest("nop; ebreak").trap(), { to: "M", cause: 3, value: START + 4n, epc: START + 4n });
  assertEquals(new Guest(".half 0x0001, 0x9002").trap(), { to: "M", cause: 3, value: START + 2n, epc: START + 2n });
});

Deno.test("misaligned atomics trap as misaligned: lr as a load, sc and amo as stores", () => {
  const at = START + 0x1002n;
  for (
    const [source, cause] of [["lr.w a0, (a1)", 4], ["sc.w a0, a2, (a1)", 6], ["amoadd.d a0, a2, (a1)", 6]] as const
  ) {
    assertEquals(new Guest(source, { registers: { a1: at } }).trap(), { to: "M", cause, value: at, epc: START });
  }
});

Deno.test("accesses to nothing are access faults with the address in mtval, and change no register", () => {
  for (const [source, cause] of [["ld a0, 8(a1)", 5], ["sd a0, 8(a1)", 7], ["flw fa0, 8(a1)", 5]] as const) {
    const guest = new Guest(source, { registers: { a0: 123, a1: 0x4000_0000, fa0: 456 } });
    assertEquals(guest.trap(), { to: "M", cause, value: 0x4000_0008n, epc: START });
    assertEquals([guest.get("a0"), guest.get("fa0")], [123n, 456n]);
  }
  for (
    const [source, cause] of [["lr.w a1, (a1)", 5], ["sc.w a1, a1, (a1)", 7], ["amoswap.w a1, a1, (a1)", 7]] as const
  ) {
    const guest = new Guest(source, { registers: { a1: DEVICE_BASE } });
    assertEquals(guest.trap(), { to: "M", cause, value: BigInt(DEVICE_BASE), epc: START });
    assertEquals(guest.get("a1"), BigInt(DEVICE_BASE));
  }
});

Deno.test("a jump to nothing traps at its target, with the link register written", () => {
  const guest = new Guest("jalr ra, 0(a0)", { registers: { a0: 0x4000_0001 } });
  assertEquals(guest.trap(), { to: "M", cause: 1, value: 0x4000_0000n, epc: 0x4000_0000n });
  assertEquals(guest.get("ra"), START + 4n);
});

Deno.test("wfi waits whatever MIE, SIE and mideleg are, and goes on behind itself", () => {
  const guest = new Guest("wfi; addi a0, a0, 1; loop: j loop", { registers: { mie: 2, mideleg: 2 } });
  guest.run(10);
  assertEquals([guest.get("a0"), guest.engine.idle], [0n, true]);
  guest.each(({ hart }) => hart.setInterrupt(9, true)).run(10); // not enabled in mie
  assertEquals([guest.get("a0"), guest.engine.idle], [0n, true]);
  guest.each(({ hart }) => hart.setInterrupt(1, true)).run(10);
  assertEquals([guest.get("a0"), guest.get("scause")], [1n, 0n]);

  const trapped = new Guest("wfi; nop", { registers: { mie: 2, mstatus: STATUS.MIE } });
  trapped.run(1).each(({ hart }) => hart.setInterrupt(1, true));
  assertEquals(trapped.trap(), { to: "M", cause: -1, value: 0n, epc: START + 4n });
});

Deno.test("a trap is a step, and no instruction retired", () => {
  const guest = new Guest("nop; ecall", { registers: { mcycle: 0, minstret: 0 } });
  guest.trap();
  assertEquals([guest.get("mcycle"), guest.get("minstret")], [2n, 1n]);
});
