// From the start of the process to the shell's prompt, and the memory the process holds then.

import { GUEST_PROMPT } from "../../cli/images.ts";
import { type Bench, NO_SELF_TESTS } from "./bench.ts";
import type { Contestant } from "./contestants.ts";
import { type Group, MEGABYTES, type Row, SECONDS } from "./results.ts";

const BOOT: Row = { name: "kernel to shell", unit: SECONDS, wanted: { ratio: 0.8 } };
const QUICK: Row = { name: "the same, its ciphers untested", unit: SECONDS };
const MEMORY: Row = { name: "host memory, whole process", unit: MEGABYTES, wanted: { cost: 300, ratio: 1.3 } };

export const BOOTS: Group = { name: "boot of a guest with 512 MB", rows: [BOOT, QUICK, MEMORY] };

/** Boots twice a round. */
export async function measureBoot({ contestants, rounds, image, results }: Bench): Promise<void> {
  const { kernel, initrd } = image;
  const boot = async (contestant: Contestant, row: Row, append: string) => {
    const started = performance.now();
    await using guest = await contestant.start({ memory: "512M", kernel, initrd, append });
    await guest.shell.until(GUEST_PROMPT, 300);
    results.add(row, contestant.name, (performance.now() - started) / 1000);
    if (row === BOOT) results.add(MEMORY, contestant.name, await guest.residentMemory());
  };
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) await boot(contestant, BOOT, "console=ttyS0");
    for (const contestant of contestants) await boot(contestant, QUICK, `console=ttyS0 ${NO_SELF_TESTS}`);
  }
}
