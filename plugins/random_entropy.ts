// Entropy back end: the host's cryptographic generator, or a reproducible sequence for tests.

import { type Bytes, defineBackend } from "../core/plugin.ts";
import { integer, object, optional } from "../core/schema.ts";

/** Most bytes that Web Cryptography gives at once (section 10.1.1, "getRandomValues"). */
const QUOTA = 65536;

/** Random bytes; with a `seed`, always the same ones, which no secret may rest on. */
export default defineBackend({
  name: "random_entropy",
  provides: "entropy",
  permissions: [],
  config: object({ seed: optional(integer({ max: 0xffff_ffff })) }),
  open({ config: { seed } }) {
    return { fill: seed === undefined ? fillRandomly : reproducible(seed) };
  },
});

function fillRandomly(into: Bytes): void {
  // By way of a private buffer: the generator refuses views of shared memory.
  const chunk = new Uint8Array(Math.min(into.length, QUOTA));
  for (let at = 0; at < into.length; at += chunk.length) {
    into.set(crypto.getRandomValues(chunk).subarray(0, into.length - at), at);
  }
}

/** Marsaglia's xorshift32, one byte a step. */
function reproducible(seed: number): (into: Bytes) => void {
  // Zero is the one state that it never leaves.
  let state = seed ^ 0x9e37_79b9 || 1;
  return (into) => {
    for (let i = 0; i < into.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      into[i] = state >>> 24;
    }
  };
}
