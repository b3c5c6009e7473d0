// Register names: x0…x31, f0…f31 and pc by number or by the ABI's names (RISC-V ABIs specification 1.0, chapter 1).

import { SLOT } from "./layout.ts";

/** ABI names of the integer registers, in order. */
export const X_NAMES: readonly string[] =
  "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(" ");

/** ABI names of the floating-point registers, in order. */
export const F_NAMES: readonly string[] =
  "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11"
    .split(" ");

const SLOTS: ReadonlyMap<string, number> = new Map([
  ["pc", SLOT.pc],
  ["fp", SLOT.x + 8 * 8],
  ...X_NAMES.flatMap((name, i): [string, number][] => [[name, SLOT.x + 8 * i], [`x${i}`, SLOT.x + 8 * i]]),
  ...F_NAMES.flatMap((name, i): [string, number][] => [[name, SLOT.f + 8 * i], [`f${i}`, SLOT.f + 8 * i]]),
]);

/** Where a register stands in a hart's block; `undefined` for any that is not x, f or pc. */
export function registerSlot(name: string): number | undefined {
  return SLOTS.get(name);
}
