// Without an operating system: the speed of plain instructions, and the cost of a device register.

import { buildBare } from "./build.ts";
import type { Bench } from "./bench.ts";
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

export const BARE: Group = { name: "bare metal", rows: [INTEGER, REGISTER] };

/** Runs the program once a round. */
export async function measureBare(bench: Bench): Promise<void> {
  const { contestants, rounds, results } = bench;
  const bios = await buildBare(bench.folder);
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      await using guest = await contestant.start({ memory: "128M", bios });
      const costs: Record<string, number> = {};
      for (const name of ["integer", "call", "register"]) {
        await guest.shell.until(`${name} `, 120);
        const [loops, nanos] = (await guest.shell.until("\n", 120)).split(" ").map(Number);
        costs[name] = nanos / loops;
      }
      await guest.end();
      results.add(INTEGER, contestant.name, costs.integer / 1e9 / INSTRUCTIONS_A_ROUND);
      results.add(REGISTER, contestant.name, costs.register - costs.call);
    }
  }
}
