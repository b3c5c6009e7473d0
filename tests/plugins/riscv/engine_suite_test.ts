// The suite of all engines, over the riscv engine.

import { assembleRiscv } from "../../../mod.ts";
import riscv from "../../../plugins/riscv/engine.ts";
import { RAM, REGISTER, testEngine } from "../../support/engine_suite.ts";

const RAM_BASE = 0x8000_0000;
const COUNT = "again: lw t0, 0(a0)\naddi t0, t0, 1\nsw t0, 0(a0)\nj again\n";

const [count, access, stores] = await Promise.all([
  COUNT,
  `li t1, ${REGISTER}\nlw t0, 0(t1)\naddi t0, t0, 1\nsw t0, 0(t1)\nsb t0, 0(t1)\n${COUNT}`,
  `${RAM.STORES.map((page) => `li t1, ${RAM_BASE + page * 4096}\nsw t1, 8(t1)\n`).join("")}
  li t1, ${REGISTER}\nsb zero, 0(t1)\n${COUNT}`,
].map((source) => assembleRiscv(source)));

testEngine("riscv", false, {
  definition: riscv as never,
  ramBase: RAM_BASE,
  programs: { count, access, stores },
  spareRegister: "s11",
  start(engine, hart, program, counter) {
    const at = 0x1000 * (1 + hart);
    new Uint8Array(engine.ram.buffer, engine.ram.offset).set(program, at);
    engine.invalidate(RAM_BASE + at, program.length);
    const registers = { a0: BigInt(RAM_BASE + counter) };
    engine.harts[hart].start({ pc: BigInt(RAM_BASE + at), mode: "M", registers });
  },
});
