// How long the host's event loop is held up: timers that come late.

/** Watches from its construction on until it is disposed. */
export class Lag implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #late: number[] = [];

  constructor(milliseconds = 5) {
    let last = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#late.push(Math.max(0, now - last - milliseconds));
      last = now;
    }, milliseconds);
  }

  /** How late a timer came in milliseconds: at most, and half of them at most. */
  get measured(): { readonly most: number; readonly median: number; readonly ticks: number } {
    const sorted = this.#late.toSorted((a, b) => a - b);
    return { most: sorted.at(-1) ?? Infinity, median: sorted[sorted.length >> 1] ?? Infinity, ticks: sorted.length };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Turns of the event loop in a row. */
const TURNS = 10;

/**
 * How many milliseconds the event loop was kept waiting at the most, of ten turns in a row. The host has other work, too:
 * they are tried again, some times, while it was longer than `limit`.
 */
export async function longestWait(limit: number): Promise<number> {
  let best = Infinity;
  for (let tries = 0; best > limit && tries < 50; tries++) {
    let longest = 0;
    for (let i = 0; i < TURNS; i++) {
      const before = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 0));
      longest = Math.max(longest, performance.now() - before);
    }
    best = Math.min(best, longest);
  }
  return best;
}
