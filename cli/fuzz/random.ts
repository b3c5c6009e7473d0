// Numbers that are the same in every run of a seed (splitmix32, see core/random.ts), for everything that is fuzzed.

/** A sequence of its own for each list of seeds. */
export class Random {
  #state: number;

  constructor(...seeds: readonly number[]) {
    this.#state = 0x811c9dc5;
    for (const seed of seeds) this.#state = this.#next() ^ seed;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.#next() / 2 ** 32 * limit);
  }

  /** Whether one in `n` comes true. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** One of the choices. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  /** Random bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  #next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }
}
