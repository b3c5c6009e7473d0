// How many instructions a quantum gets: about half a millisecond's worth, at the speed measured last.

import type { Nanos } from "./plugin.ts";

/** Host time a quantum should take: long against its own cost (about 1 µs), short against what a person or a peer sees. */
const QUANTUM: Nanos = 400_000;
const LEAST = 1_000;
const MOST = 10_000_000;
/** Quanta shorter than this measure the call rather than the guest. */
const MEASURABLE: Nanos = 20_000;

/** Sizes quanta. */
export class Pace {
  readonly #fixed: number | undefined;
  /** Instructions a nanosecond: a careful first guess. */
  #speed = 0.05;

  /** `fixed`: always that many. */
  constructor(fixed?: number) {
    this.#fixed = fixed;
  }

  /** Instructions to run if the next event is `ahead` nanoseconds of host time away. */
  budget(ahead: Nanos): number {
    return this.#fixed ?? Math.min(MOST, Math.max(LEAST, Math.floor(Math.min(ahead, QUANTUM) * this.#speed)));
  }

  /** Nanoseconds of host time that `instructions` will take. */
  nanos(instructions: number): Nanos {
    return instructions / this.#speed;
  }

  /** Learns from a quantum. */
  measured(instructions: number, took: Nanos): void {
    if (took >= MEASURABLE) this.#speed += (Math.max(instructions, 1) / took - this.#speed) / 2;
  }
}
