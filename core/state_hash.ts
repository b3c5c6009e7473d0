// The hash of a machine's state: two that agree in it are in the same state.

import { encodePlain } from "./plain.ts";
import type { Bytes, Plain } from "./plugin.ts";

/** Bytes of a block that {@linkcode StateHash} skips when it is all zeroes. */
const BLOCK = 4096;

/** A 64-bit hash to tell states apart by; not a cryptographic one. Most of a guest's RAM is zero and costs little. */
export class StateHash {
  #a = 0x243f6a88;
  #b = 0x85a308d3;

  /** Mixes in plain data. */
  plain(value: Plain): void {
    const bytes = encodePlain(value);
    const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
    padded.set(bytes);
    this.#mix(bytes.length);
    this.#words(new Uint32Array(padded.buffer));
  }

  /** Mixes in memory that lies at `at`; its offset in its buffer and its length are multiples of 4. */
  memory(at: number, bytes: Bytes): void {
    for (let start = 0; start < bytes.length; start += BLOCK) {
      const length = Math.min(BLOCK, bytes.length - start);
      const words = new Uint32Array(bytes.buffer, bytes.byteOffset + start, length >>> 2);
      if (isZero(words)) continue;
      this.#mix((at + start) / 4);
      this.#words(words);
    }
  }

  /** The hash so far, 16 hexadecimal digits. */
  digest(): string {
    return [this.#a, this.#b].map((half) => avalanche(half).toString(16).padStart(8, "0")).join("");
  }

  #mix(word: number): void {
    this.#words(Uint32Array.of(word));
  }

  #words(words: Uint32Array): void {
    let a = this.#a;
    let b = this.#b;
    for (let i = 0; i < words.length; i++) {
      a = Math.imul(a ^ words[i], 0x9e3779b1);
      a = (a << 15) | (a >>> 17);
      b = (Math.imul(b ^ words[i], 0x85ebca77) + a) | 0;
      b = (b << 13) | (b >>> 19);
    }
    this.#a = a;
    this.#b = b;
  }
}

function isZero(words: Uint32Array): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}

function avalanche(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  word = Math.imul(word ^ (word >>> 15), 0x846ca68b);
  return (word ^ (word >>> 16)) >>> 0;
}
