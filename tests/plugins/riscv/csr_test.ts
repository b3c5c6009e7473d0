// CSRs: access rules, fields that keep legal values, side effects (privileged specification 20240411, chapters 2, 3 and 10; Sstc).

import { assertEquals } from "@std/assert";
import { CSRS } from "../../../plugins/riscv/csrs.ts";
import { RiscvHart } from "../../../plugins/riscv/hart.ts";
import { executeSystem } from "../../../plugins/riscv/system.ts";
import { Guest, type GuestOptions } from "../../support/riscv_guest.ts";
import { EngineRig, OracleRig, RAM_BASE } from "../../support/riscv_rig.ts";

const START = BigInt(RAM_BASE);
const ONES = 2n ** 64n - 1n;
const FS = 0x6000n;

/** What a CSR reads as after a value was written to it. */
function written(csr: string, value: bigint, options: GuestOptions = {}): bigint {
  const guest = new Guest(`csrw ${csr}, a0; csrr a1, ${csr}`, {
    ...options,
    registers: { ...options.registers, a0: value },
  });
  guest.run(2);
  assertEquals(guest.get("pc"), START + 8n, `${csr} trapped`);
  return guest.get("a1");
}

/** What a CSR reads as. */
function reads(csr: string, options: GuestOptions = {}): bigint {
  const guest = new Guest(`csrr a0, ${csr}`, { ...options, registers: { ...options.registers, a0: 0xdead } });
  assertEquals(guest.run(1).get("pc"), START + 4n, `${csr} trapped`);
  return guest.get("a0");
}

/** Whether an instruction is executed, not illegal. */
function legal(source: string, options: GuestOptions = {}): boolean {
  const guest = new Guest(source, options);
  guest.run(1);
  assertEquals(guest.get("pc") === START + 4n, guest.get("mcause") !== 2n);
  return guest.get("mcause") !== 2n;
}

Deno.test("CSRs that are not there, of a higher privilege, or written though read-only, are illegal", () => {
  const guest = new Guest("nop");
  const works = (source: string, mode: "M" | "S" | "U" = "M") => {
    guest.load(source, mode).run(1);
    return guest.get("pc") === START + 4n;
  };
  for (const csr of ["0x000", "0x200", "0x7c0", "0xb01", "0x3c0", "0x3a1", "0x5a8", "0xda0"]) {
    assertEquals(works(`csrr a0, ${csr}`), false, csr);
  }
  for (const { number, name } of CSRS) {
    const csr = `0x${number.toString(16)}`;
    const lowest = number >> 8 & 3;
    assertEquals(works(`csrr a0, ${csr}`), true, name);
    if (lowest > 0) assertEquals(works(`csrr a0, ${csr}`, "U"), false, name);
    if (lowest === 3) assertEquals(works(`csrr a0, ${csr}`, "S"), false, name);
    if (number >> 10 === 3) {
      assertEquals(works(`csrw ${csr}, zero`), false, name);
      // "CSRRS and CSRRC with rs1=x0 … shall not … raise illegal-instruction exceptions on accesses to read-only CSRs."
      assertEquals(works(`csrrc a0, ${csr}, zero`), true, name);
      assertEquals(works(`csrrsi a0, ${csr}, 0`), true, name);
      assertEquals(works(`csrrsi a0, ${csr}, 1`), false, name);
    }
  }
});

Deno.test("an illegal CSR access leaves rd as it is", () => {
  const guest = new Guest("csrrw a0, cycle, a1", { registers: { a0: 7 } });
  guest.trap();
  assertEquals(guest.get("a0"), 7n);
});

Deno.test("csrrw, csrrs, csrrc and their immediate forms give the old value and write the new one", () => {
  const cases = [
    ["csrrw a0, mscratch, a1", 0x0fn],
    ["csrrs a0, mscratch, a1", 0xffn],
    ["csrrc a0, mscratch, a1", 0xf0n],
    ["csrrwi a0, mscratch, 5", 5n],
    ["csrrsi a0, mscratch, 5", 0xf5n],
    ["csrrci a0, mscratch, 17", 0xe0n | 0n],
  ] as const;
  for (const [source, result] of cases) {
    const guest = new Guest(source, { registers: { mscratch: 0xf0, a1: source.includes("rc a0") ? 0x0f : 0x0f } });
    guest.run(1);
    assertEquals([guest.get("a0"), guest.get("mscratch")], [0xf0n, result], source);
  }
  const same = new Guest("csrrw a1, mscratch, a1", { registers: { mscratch: 1, a1: 2 } });
  same.run(1);
  assertEquals([same.get("a1"), same.get("mscratch")], [1n, 2n]);
});

Deno.test("mstatus holds its implemented fields; SXL and UXL are 64 bits; MPP keeps a supported mode", () => {
  const XL = 0xa_0000_0000n;
  assertEquals(written("mstatus", ONES), XL | 1n << 63n | 0x7e79aan);
  assertEquals(written("mstatus", 0n), XL);
  assertEquals(written("mstatus", 2n << 11n, { registers: { mstatus: 1n << 11n } }), XL | 1n << 11n);
  // SD sums up FS being dirty.
  for (const fs of [0n, 1n, 2n]) assertEquals(written("mstatus", fs << 13n), XL | fs << 13n);
});

Deno.test("sstatus is a restricted view of mstatus", () => {
  assertEquals(written("sstatus", ONES), 2n << 32n | 1n << 63n | 0xc6122n);
  const guest = new Guest("csrw sstatus, zero", { mode: "S", registers: { mstatus: ONES } });
  guest.run(1);
  assertEquals(guest.get("mstatus"), 0xa_0000_0000n | 0x7e79aan & ~0xc6122n);
});

Deno.test("misa tells the extensions, and writes to it are ignored", () => {
  assertEquals(written("misa", 0n), 2n << 62n | 0b1_0100_0001_0001_0010_1111n);
});

Deno.test("delegation and enable registers hold only the bits there are", () => {
  // "medeleg[11] … is read-only zero": calls from M-mode can not be delegated.
  assertEquals(written("medeleg", ONES), 0xb3ffn);
  assertEquals(written("mideleg", ONES), 0x222n);
  assertEquals(written("mie", ONES), 0xaaan);
  assertEquals(written("mip", ONES), 0x222n);
  assertEquals(written("mip", ONES, { registers: { menvcfg: 1n << 63n } }), 0x202n);
});

Deno.test("sie and sip show what is delegated; of sip only SSIP can be written", () => {
  const view = (mideleg: number) => ({ mode: "S" as const, registers: { mideleg } });
  assertEquals(written("sie", ONES, view(0)), 0n);
  assertEquals(written("sie", ONES, view(0x202)), 0x202n);
  assertEquals(written("sip", ONES, view(0x222)), 2n);
  assertEquals(written("sip", ONES, view(0x220)), 0n);
  const kept = new Guest("csrw sie, zero", { registers: { mie: 0xaaa, mideleg: 0x22 } });
  assertEquals(kept.run(1).get("mie"), 0xa88n);
});

Deno.test("mip.SEIP: reads give software's bit or the device's, read-modify-writes act on software's alone", () => {
  const guest = new Guest("csrrs a0, mip, zero; csrrs a1, mip, a2; csrrc a3, mip, a4; csrr a5, mip", {
    registers: { a2: 0, a4: 2 },
  });
  guest.each(({ hart }) => hart.setInterrupt(9, true)).run(4);
  assertEquals([guest.get("a0"), guest.get("a1"), guest.get("a5")], [0x200n, 0x200n, 0x200n]);
  guest.each(({ hart }) => hart.setInterrupt(9, false));
  assertEquals(guest.get("mip"), 0n, "the device's level must not stick");
});

Deno.test("a line from outside shows in mip and can not be cleared by software, SSIP apart", () => {
  for (const [line, cleared] of [[3, false], [7, false], [9, false], [11, false], [1, true]] as const) {
    const guest = new Guest("csrw mip, zero");
    guest.each(({ hart }) => hart.setInterrupt(line, true)).run(1);
    assertEquals(guest.get("mip"), cleared ? 0n : 1n << BigInt(line));
  }
});

Deno.test("counters are readable in S-mode by mcounteren, in U-mode by scounteren too", () => {
  const counters = [["cycle", 1], ["time", 2], ["instret", 4], ["hpmcounter3", 8], ["hpmcounter31", 2 ** 31]] as const;
  for (const [name, bit] of counters) {
    const may = (mode: "S" | "U", mcounteren: number, scounteren: number) =>
      legal(`csrr a0, ${name}`, { mode, registers: { mcounteren, scounteren } });
    assertEquals([may("S", bit, 0), may("S", ~bit >>> 0, ~0 >>> 0)], [true, false], name);
    assertEquals([may("U", bit, bit), may("U", bit, 0), may("U", 0, bit)], [true, false, false], name);
  }
});

Deno.test("counters exclude the instruction that reads them; what one writes, the next one reads", () => {
  const guest = new Guest(
    "csrr a0, minstret; nop; csrr a1, instret; csrw minstret, a2; csrr a3, minstret; csrr a4, mcycle",
    {
      registers: { minstret: 0, mcycle: 0, a2: 1000 },
    },
  );
  guest.run(6);
  assertEquals(["a0", "a1", "a3", "a4"].map((name) => guest.get(name)), [0n, 2n, 1000n, 5n]);
  assertEquals([guest.get("minstret"), guest.get("mcycle")], [1002n, 6n]);
  const wrapped = new Guest("csrw mcycle, a0; nop; csrr a1, cycle", { registers: { a0: -1 } });
  wrapped.run(3);
  assertEquals(wrapped.get("a1"), 0n);
});

Deno.test("time is read whole, beyond 32 bits", () => {
  const rig = new OracleRig();
  for (const ticks of [0, 0xffff_fffe, 2 ** 33 + 0x8000_0001, Number.MAX_SAFE_INTEGER]) {
    const context = { ...rig.hart.context, ticks: () => ticks };
    const hart = new RiscvHart(0, rig.memory, context, { isWatched: () => false, written() {}, invalidate() {} });
    executeSystem(hart, "csrrs", 10 << 13, 0xc01, 4);
    assertEquals([hart.x(10), hart.get("time")], [BigInt(ticks), BigInt(ticks)]);
  }
});

// 3.1.11: "The cycle, instret, and hpmcountern CSRs are read-only shadows of mcycle, minstret, and mhpmcounter n,
// respectively."
Deno.test("cycle and instret are shadows of mcycle and minstret", () => {
  for (const value of [0n, 0xffff_ffffn, 2n ** 63n + 5n, ONES]) {
    assertEquals(reads("cycle", { registers: { minstret: 7, mcycle: value } }), value);
    assertEquals(reads("instret", { registers: { mcycle: 7, minstret: value } }), value);
  }
});

// 3.1.10: "All counters should be implemented, but a legal implementation is to make both the counter and its
// corresponding event selector be read-only 0."
Deno.test("hardware performance counters, their event selectors and their shadows are zero, whatever is written", () => {
  for (let i = 3; i < 32; i++) {
    assertEquals(written(`mhpmcounter${i}`, ONES), 0n, `${i}`);
    assertEquals(written(`mhpmevent${i}`, ONES), 0n, `${i}`);
    const mayRead = { mode: "U" as const, registers: { mcounteren: 2 ** i, scounteren: 2 ** i } };
    assertEquals(reads(`hpmcounter${i}`, mayRead), 0n, `${i}`);
  }
});

Deno.test("mcountinhibit is zero, whatever is written: no counter can be stopped", () => {
  // 3.1.12: "If the mcountinhibit register is not implemented, the implementation behaves as though the register were set
  // to zero."
  assertEquals(written("mcountinhibit", ONES), 0n);
});

Deno.test("the identification registers are zero, but for the ID of a further hart", () => {
  // 3.1.2: "…a value of 0 can be returned to indicate the field is not implemented or that this is a non-commercial
  // implementation."
  assertEquals(reads("mvendorid"), 0n);
  // 3.1.3: "…a value of 0 can be returned to indicate the field is not implemented."
  assertEquals(reads("marchid"), 0n);
  // 3.1.4: "…a value of 0 can be returned to indicate that the field is not implemented."
  assertEquals(reads("mimpid"), 0n);
  // 3.1.17: "…it may be zero to indicate the configuration data structure does not exist…"
  assertEquals(reads("mconfigptr"), 0n);
  // 3.1.5: "…at least one hart must have a hart ID of zero. Hart IDs must be unique within the execution environment."
  assertEquals(reads("mhartid"), 0n);
  assertEquals(new EngineRig({ harts: 3 }).engine.harts.map((hart) => hart.get("mhartid")), [0n, 1n, 2n]);
});

Deno.test("with FS off, floating-point CSRs and instructions are illegal", () => {
  const off = { registers: { mstatus: 0 } };
  const sources = ["csrr a0, fflags", "csrr a0, frm", "csrr a0, fcsr", "csrwi fcsr, 0", "fadd.d fa0, fa0, fa0"]
    .concat(["flw fa0, 0(a0)", "fsd fa0, 0(a0)", "fmv.x.d a0, fa0", "fsgnj.s fa0, fa0, fa0", "fclass.d a0, fa0"]);
  for (const source of sources) {
    assertEquals(legal(source, off), false, source);
    assertEquals(legal(source, { registers: { mstatus: 1n << 13n, a0: START } }), true, source);
  }
  assertEquals(legal(".half 0x2100, 0", off), false, "c.fld");
});

Deno.test("what changes floating-point state makes FS dirty, what reads it does not", () => {
  const fs = (source: string) => {
    const guest = new Guest(source, { registers: { mstatus: 2n << 13n, a0: START + 64n } });
    guest.run(1);
    assertEquals(guest.get("pc"), START + 4n, source);
    return Number(guest.get("mstatus") >> 13n & 3n);
  };
  for (const source of ["csrw fcsr, zero", "csrsi fflags, 1", "csrwi frm, 0", "flw fa0, 0(a0)", "fld fa0, 0(a0)"]) {
    assertEquals(fs(source), 3, source);
  }
  for (const source of ["fadd.s fa0, fa0, fa0", "fmv.d.x fa0, a0", "fcvt.s.w fa0, a0", "fsgnj.d fa0, fa1, fa1"]) {
    assertEquals(fs(source), 3, source);
  }
  for (
    const source of ["csrr a0, fcsr", "csrrsi a0, fflags, 0", "fsd fa0, 0(a0)", "fsw fa0, 0(a0)", "fmv.x.w a0, fa0"]
  ) {
    assertEquals(fs(source), 2, source);
  }
});

Deno.test("fflags and frm are parts of fcsr; the upper bits read as zero", () => {
  assertEquals(written("fcsr", ONES), 0xffn);
  assertEquals(written("fflags", ONES), 0x1fn);
  assertEquals(written("frm", ONES), 7n);
  const guest = new Guest("csrwi frm, 3; csrwi fflags, 9; csrr a0, fcsr");
  assertEquals(guest.run(3).get("a0"), 0x69n);
});

Deno.test("a dynamic rounding mode that is reserved is illegal only where it rounds", () => {
  for (const frm of [5, 6, 7]) {
    assertEquals(legal("fadd.s fa0, fa0, fa0", { registers: { frm } }), false);
    assertEquals(legal("fadd.s fa0, fa0, fa0, rtz", { registers: { frm } }), true);
    assertEquals(legal("fmin.s fa0, fa0, fa0", { registers: { frm } }), true);
  }
});

Deno.test("satp: a write with an unsupported MODE has no effect; no field is modified", () => {
  const before = 8n << 60n | 5n << 44n | 0x80001n;
  for (const mode of [1n, 2n, 7n, 11n, 15n]) {
    assertEquals(written("satp", mode << 60n | 0x1234n, { registers: { satp: before } }), before);
  }
  for (const mode of [8n, 9n, 10n]) {
    const value = mode << 60n | 0xffffn << 44n | 0xfff_ffff_ffffn;
    assertEquals(written("satp", value), value, "16 bits of ASID, 44 of PPN");
  }
  // What the engine's configuration leaves out is not supported.
  for (const [mmu, supported] of [["sv39", [8n]], ["sv48", [8n, 9n]]] as const) {
    for (const mode of [8n, 9n, 10n]) {
      const { hart } = new EngineRig({ config: { mmu } });
      hart.set("satp", mode << 60n | 1n);
      assertEquals(hart.get("satp") >> 60n, supported.some((known) => known === mode) ? mode : 0n, `${mmu}, ${mode}`);
    }
  }
});

Deno.test("trap vectors are 4-byte aligned with mode 0 or 1; exception program counters are even", () => {
  for (const csr of ["mtvec", "stvec"]) {
    assertEquals(written(csr, ONES) & 3n, 1n);
    assertEquals(written(csr, 0x8000_0100n), 0x8000_0100n);
  }
  for (const csr of ["mepc", "sepc"]) assertEquals(written(csr, ONES), ONES - 1n);
  for (const csr of ["mscratch", "sscratch", "mcause", "scause", "mtval", "stval"]) {
    assertEquals(written(csr, ONES), ONES);
  }
});

Deno.test("environment configuration holds FIOM, ADUE and STCE", () => {
  assertEquals(written("menvcfg", ONES), 1n | 1n << 61n | 1n << 63n);
  assertEquals(written("senvcfg", ONES), 1n);
});

// ---------------------------------------------------------------- Sstc

const STCE = 1n << 63n;

Deno.test("stimecmp is illegal below M-mode unless menvcfg.STCE and mcounteren.TM are set", () => {
  const may = (mode: "M" | "S" | "U", menvcfg: bigint, mcounteren: number) =>
    legal("csrr a0, stimecmp", { mode, registers: { menvcfg, mcounteren } });
  assertEquals([may("S", STCE, 2), may("S", STCE, 0), may("S", 0n, 2), may("M", 0n, 0)], [true, false, false, true]);
  assertEquals(may("U", STCE, 2), false);
});

Deno.test("a timer interrupt is pending as long as time is not below stimecmp", () => {
  // A step takes a tenth of a tick.
  const guest = new Guest("loop: j loop", { registers: { menvcfg: STCE, stimecmp: 5 } });
  guest.run(49);
  assertEquals([guest.get("time"), guest.get("mip")], [4n, 0n]);
  guest.run(1);
  assertEquals([guest.get("time"), guest.get("mip")], [5n, 0x20n]);
  guest.each(({ hart }) => hart.set("mip", 0n));
  assertEquals(guest.get("mip"), 0x20n, "STIP is read-only under STCE");
  guest.each(({ hart }) => hart.set("stimecmp", 6n));
  assertEquals(guest.get("mip"), 0n);
  guest.run(10);
  assertEquals(guest.get("mip"), 0x20n);
  guest.each(({ hart }) => hart.set("menvcfg", 0n));
  assertEquals(guest.get("mip"), 0n);
});

Deno.test("a write of stimecmp in the past is an interrupt right away", () => {
  const guest = new Guest("nop; csrw stimecmp, zero; nop", {
    mode: "S",
    registers: { menvcfg: STCE, mcounteren: 2, mideleg: 0x20, mie: 0x20, mstatus: FS | 2n },
  });
  assertEquals(guest.trap(), { to: "S", cause: -5, value: 0n, epc: START + 8n });
});

Deno.test("software's STIP goes away when Sstc takes the bit over", () => {
  const guest = new Guest("csrw mip, a0; csrw menvcfg, a1; csrr a2, mip", { registers: { a0: 0x20, a1: STCE } });
  assertEquals(guest.run(3).get("a2"), 0n);
});
