// From the start of the process to the shell's prompt, and the memory the process holds then.

import { GUEST_PROMPT } from "../../cli/images.ts";
import { type Bench, NO_SELF_TESTS } from "./bench.ts";
import type { Contestant } from "./contestants.ts";
import { type Group, MEGABYTES, type Row, SECONDS } from "./results.ts";

const BOOT: Row = { name: "kernel to shell", unit: SECONDS, wanted: { ratio: 0.8 } };
const AGAIN: Row = { name: "kernel to shell, not the first time", unit: SECONDS, wanted: { ratio: 0.8 } };
const QUICK: Row = { name: "the same, its ciphers untested", unit: SECONDS };
const QUICK_AGAIN: Row = { name: "the same, not the first time", unit: SECONDS };
const MEMORY: Row = { name: "host memory, whole process", unit: MEGABYTES, wanted: { cost: 300, ratio: 1.3 } };

export const BOOTS: Group = { name: "boot of a guest with 512 MB", rows: [BOOT, AGAIN, QUICK, QUICK_AGAIN, MEMORY] };

/** A way to boot: its row, and the one for hosts that have booted so before, and have kept what they compiled. */
interface Way {
  readonly first: Row;
  readonly again: Row;
  readonly append: string;
}
const WAYS: readonly Way[] = [
  { first: BOOT, again: AGAIN, append: "console=ttyS0" },
  { first: QUICK, again: QUICK_AGAIN, append: `console=ttyS0 ${NO_SELF_TESTS}` },
];

/** Boots four times a round; QEMU, which keeps nothing, twice. */
export async function measureBoot({ contestants, rounds, image, folder, results }: Bench): Promise<void> {
  const { kernel, initrd } = image;
  const boot = async (contestant: Contestant, append: string, cache?: string) => {
    const started = performance.now();
    const guest = await contestant.start({ memory: "512M", kernel, initrd, append, cache });
    await guest.shell.until(GUEST_PROMPT, 300);
    return { guest, seconds: (performance.now() - started) / 1000 };
  };
  const [us] = contestants;
  const caches = WAYS.map((_, i) => `${folder}/kept${i}`);
  for (const [i, { append }] of WAYS.entries()) {
    await using guest = (await boot(us, append, caches[i])).guest;
    await guest.shell.type("poweroff -f\n");
    await guest.end();
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, { first, again, append }] of WAYS.entries()) {
      for (const contestant of contestants) {
        const { guest, seconds } = await boot(contestant, append);
        await using _ = guest;
        results.add(first, contestant.name, seconds);
        if (contestant !== us) results.add(again, contestant.name, seconds);
        if (first === BOOT) results.add(MEMORY, contestant.name, await guest.residentMemory());
      }
      const { guest, seconds } = await boot(us, append, caches[i]);
      await using _ = guest;
      results.add(again, us.name, seconds);
    }
  }
}
