// deno task soak: an hour of mixed guest work, with memory, handles and code caches watched.

import { parseArgs } from "@std/cli/parse-args";
import { guestImage } from "./support/linux_guest.ts";
import { type Sample, soak } from "./support/soak.ts";

const HELP = `Usage: deno task soak [--seconds N] [--seed S]

  --seconds N   how long; default 3600
  --seed S      which work in which order; default: the time of day`;

const MIB = 2 ** 20;

function line({ seconds, rss, heap, external, handles }: Sample, rounds: number): string {
  const [a, b, c] = [rss, heap, external].map((bytes) => (bytes / MIB).toFixed(0));
  return `${
    seconds.toFixed(0).padStart(5)
  } s  ${rounds} rounds  rss ${a} MiB  heap ${b} MiB  external ${c} MiB  ${handles} handles`;
}

async function main(): Promise<number> {
  const options = parseArgs(Deno.args, { boolean: ["help"], string: ["seconds", "seed"] });
  const [seconds, seed] = [Number(options.seconds ?? 3600), Number(options.seed ?? Date.now() % 86_400_000)];
  if (options.help || !(seconds > 0) || !Number.isSafeInteger(seed)) {
    console.log(HELP);
    return options.help ? 0 : 1;
  }
  const image = await guestImage();
  if (!image) return 1;
  console.log(`seed ${seed}`);
  let next = 0;
  const { work, evictions, growth } = await soak({
    image,
    seconds,
    seed,
    progress(sample, rounds) {
      if (sample.seconds < next) return;
      next = sample.seconds + Math.min(60, seconds / 10);
      console.log(line(sample, rounds));
    },
  });
  console.log(Object.entries(work).map(([name, times]) => `${name} ${times}`).join(", "), `evictions ${evictions}`);
  for (const sentence of growth) console.log(sentence);
  console.log(growth.length ? "it grows" : "no growth");
  return growth.length ? 1 : 0;
}

Deno.exit(await main());
