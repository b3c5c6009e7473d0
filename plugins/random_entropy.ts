// Entropy back end: the host's cryptographic generator, or a reproducible sequence for tests.

import { type Bytes, defineBackend, type EntropyBackend } from "../core/plugin.ts";
import { SeededEntropy } from "../core/random.ts";
import { integer, object, optional } from "../core/schema.ts";

/** Most bytes that Web Cryptography gives at once (section 10.1.1, "getRandomValues"). */
const QUOTA = 65536;

/** Random bytes; with a `seed`, always the same ones, which no secret may rest on. */
export default defineBackend({
  name: "random_entropy",
  provides: "entropy",
  permissions: [],
  config: object({ seed: optional(integer({ max: 0xffff_ffff })) }),
  open: ({ config: { seed } }): EntropyBackend => seed === undefined ? { fill } : new SeededEntropy(seed),
});

function fill(into: Bytes): void {
  // By way of a private buffer: the generator refuses views of shared memory.
  const chunk = new Uint8Array(Math.min(into.length, QUOTA));
  for (let at = 0; at < into.length; at += chunk.length) {
    into.set(crypto.getRandomValues(chunk).subarray(0, into.length - at), at);
  }
}
