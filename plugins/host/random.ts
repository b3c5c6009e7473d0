// Random bytes from the host's cryptographic generator.

import type { Bytes } from "../../core/plugin.ts";

/** Most bytes that Web Cryptography gives at once (section 10.1.1, "getRandomValues"). */
const QUOTA = 65536;

/** Fills `into` with random bytes. */
export function fillRandom(into: Bytes): void {
  // By way of a private buffer: the generator refuses views of shared memory.
  const chunk = new Uint8Array(Math.min(into.length, QUOTA));
  for (let at = 0; at < into.length; at += chunk.length) {
    into.set(crypto.getRandomValues(chunk).subarray(0, into.length - at), at);
  }
}
