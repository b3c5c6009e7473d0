// Two minutes, boots included, of `deno task soak`. DENOVISOR_SOAK_SECONDS and DENOVISOR_FUZZ_SEED choose another run.

import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { Random } from "../../cli/fuzz/random.ts";
import { growthIn, type Sample } from "../support/growth.ts";
import { guestImage } from "../support/linux_guest.ts";
import { soak } from "../support/soak.ts";

const image = (await guestImage())!;
const SECONDS = Number(Deno.env.get("DENOVISOR_SOAK_SECONDS") ?? 90);
const SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);

Deno.test({
  name: "machines under mixed work grow neither in memory nor in handles nor in compiled code",
  ignore: !image,
  async fn() {
    const { samples, work, evictions, growth } = await soak({ image, seconds: SECONDS, seed: SEED });
    assertEquals(growth, [], JSON.stringify(samples.filter((_, i) => i % 10 === 0)));
    assertGreater(Object.keys(work).length, 6, "every kind of work has its turn");
    assertGreater(evictions, 0, "code is made anew where there is little room for it");
    assert(samples.some(({ code }) => code.every((bytes) => bytes > 0)), "code is kept");
    assert(Deno.build.os !== "linux" || samples[0].data! > 0, "data is told from code");
  },
});

const MIB = 2 ** 20;
const QUIET: Omit<Sample, "seconds"> = {
  rss: 900 * MIB,
  heap: 50 * MIB,
  external: 10 * MIB,
  handles: 30,
  code: [10 * MIB, 3 * MIB],
};

/** Samples, one in so many seconds. */
function series(count: number, every: number, sample: (i: number) => Partial<Sample>): Sample[] {
  return Array.from({ length: count }, (_, i) => ({ seconds: i * every, ...QUIET, ...sample(i) }));
}

Deno.test("growth is seen where there is some", () => {
  const run = (leak: (i: number) => Partial<Sample>) => growthIn(series(60, 1, leak));
  assertEquals(run((i) => ({ heap: (50 + i % 7) * MIB })), []);
  assertEquals(run((i) => ({ heap: (50 + i) * MIB })), [`heap grew from ${70 * MIB} to ${90 * MIB}`]);
  assertEquals(run((i) => ({ handles: 30 + i })), ["handles grew from 50 to 70"]);
  assertEquals(run((i) => ({ rss: (500 + 8 * i) * MIB })), [`rss grew from ${660 * MIB} to ${820 * MIB}`]);
  const over = `guest 2 keeps ${4 * MIB} bytes of code, with room for ${3 * MIB}`;
  assertEquals(run((i) => ({ code: [0, (i === 30 ? 4 : 3) * MIB] })), [over]);
  // A cache that fills, and then stays, is none.
  assertEquals(run((i) => ({ external: Math.min(i, 15) * 10 * MIB })), []);
});

/** MiB that a sound run had resident, minute by minute. */
// deno-fmt-ignore
const SOUND = [
  559, 844, 873, 906, 905, 959, 964, 970, 984, 900, 920, 942, 962, 957, 966, 980, 962, 968, 972, 904,
  905, 950, 963, 959, 969, 992, 994, 977, 976, 1014, 958, 939, 957, 1003, 988, 1015, 1006, 1016, 1014, 1012,
  1019, 1014, 1020, 1031, 1027, 1026, 1019, 1020, 1034, 958, 955, 958, 956, 966, 963, 993, 996, 997, 1002,
];

Deno.test("slow growth is seen in an hour, and code that comes and goes is none", () => {
  const random = new Random(1);
  /** A run with a leak of so many MiB an hour, outside of code. */
  const hour = (leak: number) =>
    growthIn(series(SOUND.length, 60, (i) => ({
      rss: (SOUND[i] + leak * i / 60) * MIB,
      data: (Math.min(660, 470 + 190 * i) + random.below(25) + leak * i / 60) * MIB,
    })));
  assertEquals(hour(0), []);
  assertMatch(hour(100).join(), /data grows by \d+ MiB an hour/);
  assertEquals(growthIn(series(30, 60, (i) => ({ rss: SOUND[i] * MIB }))), []);
  assertEquals(growthIn(series(11, 60, (i) => ({ rss: SOUND[i] * MIB }))), []);
});
