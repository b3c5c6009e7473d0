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
