// Turns on the one thread: one machine after the other, and the event loop in between.

import type { Host, Nanos } from "./plugin.ts";

/** How long a machine may keep the thread while no other one waits. The event loop gets its turn in between. */
const SLICE_ALONE: Nanos = 4_000_000;
/** And while another one waits: short, since two guests that talk wait for each other. */
const SLICE_SHARED: Nanos = 1_000_000;

/** Gives the thread to one machine after the other, with a turn of the host's event loop before each. */
export class Turns {
  readonly #host: Pick<Host, "turn">;
  readonly #waiting: (() => void)[] = [];
  #passing = false;

  constructor(host: Pick<Host, "turn">) {
    this.#host = host;
  }

  /** Settles when it is the caller's turn: it then keeps the thread for at most `slice`, until its next `await`. */
  take(): Promise<void> {
    const turn = new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (!this.#passing) void this.#pass();
    return turn;
  }

  /** How long a turn that begins now may last. */
  get slice(): Nanos {
    return this.#waiting.length > 0 ? SLICE_SHARED : SLICE_ALONE;
  }

  async #pass(): Promise<void> {
    this.#passing = true;
    while (this.#waiting.length > 0) {
      await this.#host.turn();
      this.#waiting.shift()!();
    }
    this.#passing = false;
  }
}
