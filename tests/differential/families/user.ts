// Cases of user-level instructions: any of them, on any operands, in any mode.

import { MODE } from "../../../plugins/riscv/cause.ts";
import { Body, floatRegisters, Random, registers } from "../body.ts";
import type { Case } from "../case.ts";
import { SCRATCH } from "../programs.ts";

/** What may be used. */
export interface Made {
  readonly may: (name: string) => boolean;
}

const MODES = [MODE.U, MODE.S, MODE.M];

/** Integers, bit manipulation, compressed instructions, branches. */
export function integers(seed: number, { may }: Made): Case {
  const random = new Random(seed);
  const code = new Body(random, { length: 40, kinds: { integer: 8, branch: 1 }, may }).make();
  return { family: "integers", seed, mode: random.pick(MODES), x: registers(random), code };
}

/** Loads, stores and atomics at all alignments, across pages; load-reserved and store-conditional. */
export function memory(seed: number, { may }: Made): Case {
  const random = new Random(seed);
  const kinds = { memory: 8, atomic: 3, integer: 2, branch: 1 };
  const code = new Body(random, { length: 40, kinds, may }).make();
  return {
    family: "memory",
    seed,
    mode: random.pick(MODES),
    x: registers(random),
    f: floatRegisters(random),
    traps: 48,
    code,
  };
}

/** Floating point: all rounding modes, reserved ones too, static and dynamic; mstatus.FS in all its states. */
export function floats(seed: number, { may }: Made): Case {
  const random = new Random(seed);
  const code = new Body(random, { length: 40, kinds: { float: 8, memory: 1 }, may }).make();
  return {
    family: "floats",
    seed,
    mode: random.pick(MODES),
    status: BigInt(random.pick([3, 3, 3, 3, 3, 2, 1, 0]) << 13),
    x: registers(random),
    f: floatRegisters(random),
    fcsr: random.below(32) | (random.chance(6) ? random.below(8) : random.below(5)) << 5,
    traps: 48,
    code,
  };
}

/** Programs of all that without a trap, for an emulator of user mode alone. */
export function program(seed: number, { may }: Made): Case {
  const random = new Random(seed);
  const kinds = { integer: 6, float: 4, memory: 4, atomic: 1, branch: 1 };
  const code = new Body(random, { length: 60, kinds, may, harmless: true, kept: [SCRATCH] }).make();
  return {
    family: "programs",
    seed,
    mode: MODE.U,
    x: registers(random),
    f: floatRegisters(random),
    fcsr: random.below(32) | random.below(5) << 5,
    code,
  };
}
