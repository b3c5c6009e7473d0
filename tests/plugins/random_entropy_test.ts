// Tests plugins/random_entropy.ts.

import { assertEquals, assertNotEquals } from "@std/assert";
import random_entropy from "../../plugins/random_entropy.ts";
import { entropySuite } from "../support/backend_suites.ts";
import { Room } from "../support/room.ts";

entropySuite("random_entropy", () => new Room().open(random_entropy, {}));
entropySuite("random_entropy with a seed", () => new Room().open(random_entropy, { seed: 7 }));

Deno.test("random_entropy repeats itself for a seed, and only for the same", async () => {
  const bytes = async (seed: number) => {
    const into = new Uint8Array(64);
    (await new Room().open(random_entropy, { seed })).fill(into);
    return into;
  };
  assertEquals(await bytes(1), await bytes(1));
  assertNotEquals(await bytes(1), await bytes(2));
});
