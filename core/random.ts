// Seeded random numbers (splitmix32 by Steele, Lea and Flood, 32-bit variant) for runs that must repeat to the bit.

import type { Bytes, EntropyBackend } from "./plugin.ts";

/** A number of 32 bits made of a text and a seed (FNV-1a). */
export function seedOf(seed: number, text: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Entropy that is the same in every run of a seed. `state` is plain, so that a snapshot can hold it. */
export class SeededEntropy implements EntropyBackend {
  state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  fill(into: Bytes): void {
    for (let i = 0; i < into.length; i += 4) {
      let word = this.#next();
      for (let j = i; j < Math.min(i + 4, into.length); j++, word >>>= 8) into[j] = word;
    }
  }

  #next(): number {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }
}
