// Entropy back end: the host's cryptographic generator, or a reproducible sequence for tests.

import { defineBackend, type EntropyBackend } from "../core/plugin.ts";
import { SeededEntropy } from "../core/random.ts";
import { integer, object, optional } from "../core/schema.ts";
import { fillRandom } from "./host/random.ts";

/** Random bytes; with a `seed`, always the same ones, which no secret may rest on. */
export default defineBackend({
  name: "random_entropy",
  provides: "entropy",
  permissions: [],
  config: object({ seed: optional(integer({ max: 0xffff_ffff })) }),
  open: ({ config: { seed } }): EntropyBackend => seed === undefined ? { fill: fillRandom } : new SeededEntropy(seed),
});
