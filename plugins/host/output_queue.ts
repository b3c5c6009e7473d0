// Output on its way to the host: gathers small writes, holds up the guest when the host is slow.

import type { Bytes } from "../../core/plugin.ts";

/** Bytes waiting from which on a write answers with a promise. */
const HIGH_WATER = 64 * 1024;

/** What takes the output, e.g. `Deno.stdout`. */
export interface Sink {
  /** Writes some of `bytes` and tells how many. */
  write(bytes: Bytes): Promise<number>;
}

/** Writes to a sink in order, many small writes as one. */
export class OutputQueue {
  readonly #sink: Sink;
  readonly #failed: (error: unknown) => void;
  #waiting = new Uint8Array(1024);
  #length = 0;
  #flushing?: Promise<void>;
  #broken = false;

  /** `failed` is called once, at the first error; what follows is discarded. */
  constructor(sink: Sink, failed: (error: unknown) => void) {
    this.#sink = sink;
    this.#failed = failed;
  }

  /** Copies `bytes`. A promise means: hold further writes until it settles. */
  write(bytes: Bytes): void | Promise<void> {
    if (this.#broken) return;
    this.#append(bytes);
    this.#flushing ??= this.#flush();
    if (this.#length >= HIGH_WATER) return this.#flushing;
  }

  /** Settles when all is written. */
  async drained(): Promise<void> {
    await this.#flushing;
  }

  /** Takes what was not handed to the sink yet. */
  take(): Bytes {
    const bytes = this.#waiting.subarray(0, this.#length);
    this.#waiting = new Uint8Array(1024);
    this.#length = 0;
    return bytes;
  }

  #append(bytes: Bytes): void {
    const length = this.#length + bytes.length;
    if (length > this.#waiting.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#waiting.length));
      larger.set(this.#waiting.subarray(0, this.#length));
      this.#waiting = larger;
    }
    this.#waiting.set(bytes, this.#length);
    this.#length = length;
  }

  async #flush(): Promise<void> {
    // One microtask later the rest of the burst is there.
    await undefined;
    try {
      while (this.#length > 0) {
        const bytes = this.take();
        for (let done = 0; done < bytes.length;) done += await this.#sink.write(bytes.subarray(done));
      }
    } catch (error) {
      this.#broken = true;
      this.#failed(error);
    }
    this.#flushing = undefined;
  }
}
