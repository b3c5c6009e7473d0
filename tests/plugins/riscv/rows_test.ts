// Every row of the instruction table on edge operands: the engine against the oracle, one instruction at a time.

import { assert, assertEquals } from "@std/assert";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { SLOT } from "../../../plugins/riscv/layout.ts";
import { FP_OPS, type FpOp } from "../../../plugins/riscv/softfloat.ts";
import type { Fields, Row } from "../../../plugins/riscv/rows/row.ts";
import { Guest } from "../../support/riscv_guest.ts";
import { describeNext, difference } from "../../support/riscv_lockstep.ts";
import { encode, EngineRig, OracleRig, RAM_BASE, type Rig } from "../../support/riscv_rig.ts";
import { Operands } from "./fp_operands.ts";

const CODE = RAM_BASE;
const DATA = BigInt(RAM_BASE + 0x8000);
const SLOTS = 64;

const EDGES = [0n, 1n, -1n, 2n ** 63n, 2n ** 63n - 1n, 2n ** 31n, 2n ** 31n - 1n, -(2n ** 31n), 31n, 32n, 63n, 64n]
  .map((value) => BigInt.asIntN(64, value));
const FLOATS = [
  0n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0x7ff0000000000000n,
  0x7ff8000000000000n,
  0x7ff0000000000001n,
  0x0000000000000001n,
  0x7fefffffffffffffn,
  0xffffffff3f800000n,
  0xffffffff7f800000n,
  0xffffffff7fc00000n,
  0xffffffff7f800001n,
  0xffffffff80000001n,
  0xfffffffe3f800000n,
].map((value) => BigInt.asIntN(64, value));

/** Steps both rigs over the instruction at pc; throws where they part. */
function step(engine: Rig, oracle: Rig, row: Row): void {
  const what = describeNext(oracle);
  engine.run(1);
  oracle.run(1);
  const found = difference(engine, oracle);
  if (found) assertEquals(found, undefined, `${row.name}: ${what}`);
}

function immediates(row: Row): number[] {
  const { slices, signedBits } = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(row.name)];
  const parts = slices.filter((slice) => slice.field === "imm");
  if (!parts.length) return [0];
  const low = Math.min(...parts.map((slice) => slice.low));
  const high = Math.max(...parts.map((slice) => slice.low + slice.width));
  const unit = 2 ** low;
  if (!signedBits) return [0, unit, 31, 2 ** high - unit].filter((value) => value < 2 ** high);
  return [0, unit, -unit, 2 ** (high - 1) - unit, -(2 ** (high - 1))];
}

/** Encodings of a row with operands apart, all the same, and x0 as destination. */
function variants(row: Row): { bits: number; fields: Partial<Fields> }[] {
  const { fields } = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(row.name)];
  const registers: Partial<Fields>[] = [
    { rd: 12, rs1: 10, rs2: 11, fd: 12, fs1: 10, fs2: 11, fs3: 13 },
    { rd: 10, rs1: 10, rs2: 10, fd: 10, fs1: 10, fs2: 10, fs3: 10 },
    { rd: 0, rs1: 10, rs2: 11, fd: 0, fs1: 10, fs2: 11, fs3: 10 },
    { rd: 11, rs1: 0, rs2: 11, fd: 11, fs1: 0, fs2: 11, fs3: 11 },
  ];
  const modes = fields.has("rm") ? [0, 1, 2, 3, 4, 5, 6, 7] : [0];
  return registers.flatMap((operands) =>
    immediates(row).flatMap((imm) => modes.map((rm) => ({ ...operands, imm, rm })))
  ).map((all) => {
    const used = Object.fromEntries(Object.entries(all).filter(([name]) => fields.has(name as keyof Fields)));
    return { bits: encode(row.name, used), fields: used };
  });
}

function rigs(config = {}): [EngineRig, OracleRig] {
  const ramSize = 2 ** 16;
  const both: [EngineRig, OracleRig] = [new EngineRig({ ramSize, config }), new OracleRig({ ramSize })];
  for (const rig of both) {
    rig.hart.start({ pc: BigInt(CODE), mode: "M", registers: { mtvec: DATA } });
    rig.hart.set("mstatus", 0x6000n);
  }
  return both;
}

function setFloat({ hart, memory }: Rig, number: number, value: bigint): void {
  memory.i64[(hart.base + SLOT.f >> 3) + number] = value;
}

const isMemory = (row: Row) => /^(l[bhwdr]|s[bhwdc]|fl|fs[dw]$|amo)/.test(row.name) && !/^s[b]?(ext|h)/.test(row.name);
const isJump = (row: Row) => /^(jalr?|b(eq|ne|lt|ge)u?)$/.test(row.name);
const isSystem = (row: Row) => /^[01]+ .* 1110011$|^csr|0001111$/.test(row.bits);

const integers = INSTRUCTIONS.rows.filter((row) => !row.float && !isMemory(row) && !isSystem(row));
const memory = INSTRUCTIONS.rows.filter(isMemory);
const floats = INSTRUCTIONS.rows.filter((row) => row.float && !isMemory(row));

Deno.test("integer rows agree with the oracle on edge operands, with aliased registers and with x0", () => {
  const [engine, oracle] = rigs();
  const random = new Operands(1);
  for (const row of integers) {
    const all = variants(row).slice(0, SLOTS);
    for (const rig of [engine, oracle]) rig.program(CODE, all.map(({ bits }) => bits));
    for (let n = 0; n < EDGES.length ** 2 + 8; n++) {
      const [a, b] = n < EDGES.length ** 2
        ? [EDGES[n % EDGES.length], EDGES[Math.floor(n / EDGES.length)]]
        : [random.operand("l"), random.operand("l")].map((value) => BigInt.asIntN(64, value));
      for (let i = 0; i < all.length; i++) {
        for (const { hart } of [engine, oracle]) {
          hart.pc = BigInt(CODE + 4 * i);
          hart.setX(10, a);
          hart.setX(11, b);
        }
        step(engine, oracle, row);
      }
    }
  }
});

Deno.test("rows agree with the oracle when they are compiled", () => {
  const [engine, oracle] = rigs({ threshold: 1 });
  const random = new Operands(4);
  let before = 0;
  for (const row of INSTRUCTIONS.rows.filter((row) => !isSystem(row) && !isJump(row))) {
    const all = variants(row).slice(0, SLOTS).map(({ bits }) => bits);
    const loop = [...all, encode("jal", { rd: 0, imm: -4 * all.length })];
    const kind = !row.float ? "l" : row.name.includes(".s") ? "s" : "d";
    for (const rig of [engine, oracle]) rig.program(CODE, loop);
    for (let n = 0; n < 8; n++) {
      const operands = [10, 11, 13].map((number): [number, bigint] => [number, random.operand(kind)]);
      for (const rig of [engine, oracle]) {
        rig.hart.pc = BigInt(CODE);
        for (const [number, value] of operands) {
          rig.hart.setX(number, BigInt.asIntN(64, isMemory(row) && number === 10 ? DATA + value % 512n : value));
          setFloat(rig, number, kind === "s" ? value - (1n << 32n) : BigInt.asIntN(64, value));
        }
        rig.run(2 * loop.length);
      }
      const found = difference(engine, oracle, { ram: n === 7 });
      assertEquals(found, undefined, `${row.name}, round ${n}`);
    }
    const { regions } = engine.engine.stats!();
    assert(regions > before, `${row.name} was not compiled`);
    before = regions;
  }
});

Deno.test("compiled floating point gives the oracle's results and flags, whatever mode and flags stand before it", () => {
  const [engine, oracle] = rigs({ threshold: 1 });
  const random = new Operands(5);
  const [RNE, RTZ, DYN] = [0, 1, 7];
  for (const row of floats) {
    const { fields } = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(row.name)];
    const registers = { rd: 12, rs1: 10, fd: 12, fs1: 10, fs2: 11, fs3: 13 };
    const all = fields.has("rm") ? [RNE, DYN, RTZ].map((rm) => ({ ...registers, rm })) : [registers];
    // The same register twice is what moves, absolute values and negations look like.
    const programs = [...all, { ...all[0], fs2: 10 }].map((operands) =>
      encode(
        row.name,
        Object.fromEntries(Object.entries(operands).filter(([name]) => fields.has(name as keyof Fields))),
      )
    );
    const kind = /\.s(\.|$)/.test(row.name.replace(/^fcvt\.[sd]/, "")) ? "s" : "d";
    const op = `${row.name.replace(/^fn?m(add|sub)/, "fma").slice(1)}` as FpOp;
    for (const bits of new Set(programs)) {
      const loop = [bits, encode("jal", { rd: 0, imm: -4 })];
      for (const rig of [engine, oracle]) rig.program(CODE, loop);
      for (let n = 0; n < 250; n++) {
        const floats = FP_OPS.includes(op) && n % 2 ? random.triple(op) : [0, 1, 2].map(() => random.operand(kind));
        const integer = BigInt.asIntN(64, random.operand(n % 2 ? "w" : "l"));
        // Mostly what compiled code is made for; then each mode, with no flag and with others.
        const fcsr = n % 3 ? 1 : random.below(5) << 5 | random.below(32);
        for (const rig of [engine, oracle]) {
          rig.hart.pc = BigInt(CODE);
          rig.hart.set("fcsr", BigInt(fcsr));
          rig.hart.setX(10, integer);
          [10, 11, 13].forEach((number, i) =>
            setFloat(rig, number, kind === "s" ? floats[i] - (1n << 32n) : BigInt.asIntN(64, floats[i]))
          );
          rig.run(2 * loop.length);
        }
        const found = difference(engine, oracle);
        const operands = floats.map((value) => `0x${value.toString(16)}`);
        assertEquals(
          found,
          undefined,
          `${row.name} of ${operands} with fcsr ${fcsr}, instruction ${bits.toString(16)}`,
        );
      }
    }
  }
});

Deno.test("compiled accesses to fflags, frm and fcsr agree with the oracle, and with what is rounded behind them", () => {
  const [engine, oracle] = rigs({ threshold: 1 });
  const random = new Operands(6);
  const inexact = encode("fdiv.d", { fd: 12, fs1: 10, fs2: 11, rm: 7 });
  for (const name of ["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"]) {
    for (const csr of [1, 2, 3]) {
      for (const [rd, rs1] of [[12, 10], [10, 10], [0, 10], [12, 0], [12, 17], [0, 4]]) {
        const loop = [inexact, encode(name, { rd, rs1, csr }), inexact, encode("jal", { rd: 0, imm: -12 })];
        for (const rig of [engine, oracle]) rig.program(CODE, loop);
        for (let n = 0; n < 12; n++) {
          const value = random.bits(n % 2 ? 8 : 64);
          const fcsr = BigInt(random.below(5) << 5 | random.below(2));
          for (const rig of [engine, oracle]) {
            rig.hart.pc = BigInt(CODE);
            rig.hart.set("fcsr", fcsr);
            rig.hart.setX(10, BigInt.asIntN(64, value));
            rig.hart.setX(17, 3n);
            setFloat(rig, 10, 0x3ff0000000000000n);
            setFloat(rig, 11, 0x4008000000000000n);
            rig.run(3 * loop.length);
          }
          assertEquals(difference(engine, oracle), undefined, `${name} x${rd}, ${csr}, ${rs1}, round ${n}`);
        }
      }
    }
  }
});

Deno.test("loads, stores and atomics agree with the oracle, misaligned, across pages, on devices and on nothing", () => {
  const [engine, oracle] = rigs();
  const random = new Operands(2);
  const bases = [DATA, DATA + 1n, DATA + 4n, DATA + 0xffen, DATA + 0xff9n, 0x10000000n, 0x10000004n, 0x100000fcn, 0n]
    .concat([-1n, -4096n, BigInt(RAM_BASE) - 1n, BigInt(RAM_BASE) + 0xffffn, BigInt(CODE) + 8n]);
  for (const row of memory) {
    const all = variants(row).slice(0, SLOTS);
    for (const base of bases) {
      for (const rig of [engine, oracle]) rig.program(CODE, all.map(({ bits }) => bits));
      const [before, value] = [random.operand("l"), random.operand("l")].map((x) => BigInt.asIntN(64, x));
      for (let i = 0; i < all.length; i++) {
        for (const rig of [engine, oracle]) {
          for (let at = -16; at < 16; at += 8) rig.poke(Number(DATA) + 4096 + at, before);
          rig.hart.pc = BigInt(CODE + 4 * i);
          rig.hart.setX(10, base);
          rig.hart.setX(11, value);
          setFloat(rig, 11, value);
        }
        step(engine, oracle, row);
      }
      assertEquals(difference(engine, oracle, { ram: true }), undefined, `${row.name} at ${base}`);
    }
  }
});

Deno.test("store-conditional succeeds after load-reserved of the same address, once", () => {
  const [engine, oracle] = rigs();
  const names = ["lr.d", "sc.d", "sc.d", "lr.w", "sc.w", "lr.w", "sc.d", "sc.w"];
  for (const rig of [engine, oracle]) {
    rig.program(CODE, names.map((name) => encode(name, { rd: 12, rs1: 10, ...name[0] === "s" && { rs2: 11 } })));
    rig.hart.set("a0", DATA);
    rig.hart.set("a1", -2n);
  }
  const results = names.map((name) => {
    step(engine, oracle, INSTRUCTIONS.rows[INSTRUCTIONS.indexOf(name)]);
    return engine.hart.x(12);
  });
  assertEquals(results.filter((_, i) => names[i].startsWith("sc")), [0n, 1n, 0n, 0n, 1n]);
  assertEquals(difference(engine, oracle, { ram: true }), undefined);
});

Deno.test("store-conditional gives the reservation up wherever it stores, in a page that holds code, too", () => {
  const guest = new Guest("lr.d a1, (a0); sc.d a2, a1, (a5); sc.d a3, a1, (a0)", {
    registers: { a0: DATA, a5: CODE + 0x800 },
  });
  guest.run(3);
  assertEquals([guest.get("a2"), guest.get("a3")], [1n, 1n]);
});

Deno.test("floating-point rows agree with the oracle in every rounding mode and with FS off", () => {
  const [engine, oracle] = rigs();
  const random = new Operands(3);
  for (const row of floats) {
    const all = variants(row);
    for (const rig of [engine, oracle]) rig.program(CODE, all.map(({ bits }) => bits));
    for (let i = 0; i < all.length; i++) {
      for (let n = 0; n < 6; n++) {
        const single = row.name.includes(".s");
        const operands = [10, 11, 13].map((number): [number, bigint] => {
          if (n < 3) return [number, FLOATS[random.below(FLOATS.length)]];
          return [number, single ? random.operand("s") | 0xffffffff00000000n : random.operand("d")];
        });
        const [fs, fcsr, a] = [n === 5 ? 0n : BigInt(1 + n % 3), random.bits(8), random.operand("l")];
        for (const rig of [engine, oracle]) {
          rig.hart.fcsr = Number(fcsr);
          rig.hart.set("mstatus", fs << 13n);
          rig.hart.pc = BigInt(CODE + 4 * i);
          rig.hart.setX(10, BigInt.asIntN(64, a));
          for (const [number, value] of operands) setFloat(rig, number, value);
        }
        step(engine, oracle, row);
      }
    }
  }
});
