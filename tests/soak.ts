// deno task soak: an hour of mixed guest work, with memory, handles and code caches watched.

import { parseArgs } from "@std/cli/parse-args";
import type { Sample } from "./support/growth.ts";
import { guestImage } from "./support/linux_guest.ts";
import { soak } from "./support/soak.ts";

const HELP = `Usage: deno task soak [--seconds N] [--seed S]

  --seconds N   how long; default 3600
  --seed S      which work in which order; default: the time of day`;

const MIB = 2 ** 20;

/** What was seen last of what is not seen each time. */
let data = 0;

function line(sample: Sample, rounds: number): string {
  const { seconds, rss, heap, external, code, handles } = sample;
  const time = `${seconds.toFixed(0).padStart(5)} s  ${rounds} rounds`;
  const sizes = Object.entries({ rss, data, heap, external, "code 1": code[0], "code 2": code[1] });
  return [time, ...sizes.map(([name, bytes]) => `${name} ${(bytes / MIB).toFixed(0)} MiB`), `${handles} handles`].join(
    "  ",
  );
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
      data = sample.data ?? data;
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
