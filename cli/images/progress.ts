// Tells how far a pull has come: a bar on a terminal, plain lines elsewhere.

import { paint } from "../text.ts";

const BAR = { width: 20, full: "█", empty: "░" };
const REDRAW_MS = 80;
const MIB = 1024 * 1024;

/** Where progress is shown. */
export interface ProgressOutput {
  /** Lines can be drawn over. */
  readonly terminal: boolean;
  write(text: string): void;
}

/** The standard error stream, or nowhere. */
export function standardError(quiet: boolean): ProgressOutput {
  const encoder = new TextEncoder();
  return {
    terminal: !quiet && Deno.stderr.isTerminal(),
    write: (text) => quiet || Deno.stderr.writeSync(encoder.encode(text)),
  };
}

/** Bytes for people. */
export function mebibytes(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

/** One piece of work after the other. */
export class Progress {
  readonly #output: ProgressOutput;
  #label = "";
  #total = 0;
  #done = 0;
  #started = 0;
  #drawn = 0;

  constructor(output: ProgressOutput) {
    this.#output = output;
  }

  /** Says something that stays. */
  note(text: string): void {
    this.#output.write(`${text}\n`);
  }

  /** Says what the person should know though the pull goes on. */
  warn(text: string): void {
    this.note(`${this.#output.terminal ? paint.bold("Warning:") : "Warning:"} ${text}`);
  }

  /** Does `work` on `total` bytes; it tells how many more are done. */
  async during<T>(label: string, total: number, work: (advance: (bytes: number) => void) => Promise<T>): Promise<T> {
    [this.#label, this.#total, this.#done] = [label, total, 0];
    this.#started = performance.now();
    if (this.#output.terminal) this.#draw();
    else this.note(`${label} (${mebibytes(total)})`);
    try {
      const result = await work((bytes) => this.#advance(bytes));
      this.#done = total;
      return result;
    } finally {
      if (this.#output.terminal) {
        this.#draw();
        this.#output.write("\n");
      }
    }
  }

  #advance(bytes: number): void {
    this.#done += bytes;
    if (this.#output.terminal && performance.now() - this.#drawn > REDRAW_MS) this.#draw();
  }

  #draw(): void {
    this.#drawn = performance.now();
    const part = this.#total ? Math.min(1, this.#done / this.#total) : 1;
    const full = Math.round(part * BAR.width);
    const bar = paint.cyan(BAR.full.repeat(full)) + paint.dim(BAR.empty.repeat(BAR.width - full));
    const seconds = Math.max(0.001, (this.#drawn - this.#started) / 1000);
    const rate = `${mebibytes(this.#done / seconds)}/s`;
    const percent = `${Math.floor(part * 100)}%`.padStart(4);
    const label = this.#label.length > 36 ? `${this.#label.slice(0, 35)}…` : this.#label.padEnd(36);
    this.#output.write(`\r${label} ${bar}${percent} ${rate.padEnd(14)}`);
  }
}
