// A disk in memory whose answers the test can delay and spoil.

import type { BlockBackend, Bytes, IoResult } from "../../core/plugin.ts";

/** A block back end that logs what it is asked. */
export class FakeBlock implements BlockBackend {
  readonly bytes: Bytes;
  readonly id = "fake disk";
  /** Every call, e.g. `"read 512+1024"`. */
  readonly log: string[] = [];
  /** What every request answers. */
  answer: IoResult = "ok";
  /** While true, requests are done (and answered) only by {@linkcode settle}. */
  slow = false;
  #waiting: (() => void)[] = [];

  constructor(readonly size: number, readonly readOnly = false) {
    this.bytes = new Uint8Array(size);
  }

  read(position: number, into: readonly Bytes[]): IoResult | Promise<IoResult> {
    return this.#act(`read ${position}+${total(into)}`, () => {
      for (const part of into) {
        part.set(this.bytes.subarray(position, position + part.length));
        position += part.length;
      }
    });
  }

  write(position: number, from: readonly Bytes[]): IoResult | Promise<IoResult> {
    return this.#act(`write ${position}+${total(from)}`, () => {
      for (const part of from) {
        this.bytes.set(part, position);
        position += part.length;
      }
    });
  }

  flush(): IoResult | Promise<IoResult> {
    return this.#act("flush", () => {});
  }

  discard(position: number, length: number): IoResult | Promise<IoResult> {
    return this.#act(`discard ${position}+${length}`, () => {});
  }

  writeZeroes(position: number, length: number): IoResult | Promise<IoResult> {
    return this.#act(`zero ${position}+${length}`, () => this.bytes.fill(0, position, position + length));
  }

  /** Does and answers the oldest `count` of the waiting requests. */
  async settle(count = Infinity): Promise<void> {
    while (count-- > 0 && this.#waiting.length > 0) this.#waiting.shift()!();
    await new Promise((turn) => setTimeout(turn));
  }

  #act(what: string, act: () => void): IoResult | Promise<IoResult> {
    this.log.push(what);
    const perform = () => {
      if (this.answer === "ok") act();
      return this.answer;
    };
    if (!this.slow) return perform();
    return new Promise((settled) => this.#waiting.push(() => settled(perform())));
  }
}

function total(parts: readonly Bytes[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
