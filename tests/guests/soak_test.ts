// Two minutes, boots included, of `deno task soak`. DENOVISOR_SOAK_SECONDS and DENOVISOR_FUZZ_SEED choose another run.

import { assertEquals, assertGreater } from "@std/assert";
import { guestImage } from "../support/linux_guest.ts";
import { growthIn, type Sample, soak } from "../support/soak.ts";

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
  },
});

Deno.test("growth is seen where there is some", () => {
  const sample = (i: number, leak: Partial<Sample> = {}): Sample => ({
    seconds: i,
    rss: 500e6,
    heap: 50e6 + (i % 7) * 1e6,
    external: 10e6,
    handles: 30,
    ...leak,
  });
  const run = (leak: (i: number) => Partial<Sample>) =>
    growthIn(Array.from({ length: 60 }, (_, i) => sample(i, leak(i))));
  assertEquals(run(() => ({})), []);
  assertEquals(run((i) => ({ heap: 50e6 + i * 1e6 })), ["heap grew from 70000000 to 90000000"]);
  assertEquals(run((i) => ({ handles: 30 + i })), ["handles grew from 50 to 70"]);
  assertEquals(run((i) => ({ rss: 500e6 + i * 4e6 })), ["rss grew from 580000000 to 660000000"]);
  // A cache that fills, and then stays, is none.
  assertEquals(run((i) => ({ external: Math.min(i, 15) * 10e6 })), []);
});
