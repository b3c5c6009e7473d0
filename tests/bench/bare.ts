// Without an operating system: the speed of plain instructions, and the cost of a device register.

import { buildBare } from "./build.ts";
import type { Setup } from "../support/qemu.ts";
import type { Bench } from "./bench.ts";
import type { Contestant } from "./contestants.ts";
import { type Group, NANOSECONDS, rate, type Row } from "./results.ts";

const INSTRUCTIONS_A_ROUND = 16;

const INTEGER: Row = {
  name: "integer loop",
  unit: rate(1e-6, "MIPS"),
  wanted: { cost: 1 / 200e6 },
};
const REGISTER: Row = {
  name: "device register read",
  unit: NANOSECONDS,
  wanted: { cost: 150 },
};
const INTERPRETED: Record<string, Row> = {
  integer: { ...INTEGER, name: "integer loop, interpreter" },
  register: { ...REGISTER, name: "device register read, interpreter" },
};

export const BARE: Group = { name: "bare metal", rows: [INTEGER, REGISTER, ...Object.values(INTERPRETED)] };

/** Runs the program once a round: on each contestant, and on our interpreter alone. */
export async function measureBare({ contestants, rounds, results, folder }: Bench): Promise<void> {
  const bios = await buildBare(folder);
  const [denovisor] = contestants;
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      const { integer, register } = await costs(contestant, { memory: "128M", bios });
      results.add(INTEGER, contestant.name, integer);
      results.add(REGISTER, contestant.name, register);
    }
    const { integer, register } = await costs(denovisor, { memory: "128M", bios, interpreted: true });
    results.add(INTERPRETED.integer, denovisor.name, integer);
    results.add(INTERPRETED.register, denovisor.name, register);
  }
}

/** Seconds an instruction, and nanoseconds a register read beyond a call that does nothing. */
async function costs(contestant: Contestant, setup: Setup): Promise<{ integer: number; register: number }> {
  await using guest = await contestant.start(setup);
  const nanos: Record<string, number> = {};
  for (const name of ["integer", "call", "register"]) {
    await guest.shell.until(`${name} `, 120);
    const [loops, all] = (await guest.shell.until("\n", 120)).split(" ").map(Number);
    nanos[name] = all / loops;
  }
  await guest.end();
  return { integer: nanos.integer / 1e9 / INSTRUCTIONS_A_ROUND, register: nanos.register - nanos.call };
}
