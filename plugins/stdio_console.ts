// Stream back end on the process's standard input and output: a person's terminal, or pipes.

import process from "node:process";
import { type BackendContext, type Bytes, defineBackend, type StreamBackend } from "../core/plugin.ts";
import { object } from "../core/schema.ts";
import { OutputQueue } from "./host/output_queue.ts";

/** Bytes a person may type ahead; the keys of the console work even when no guest reads. */
const TYPE_AHEAD = 1 << 20;
/** Signals that end a process at once, with the terminal as it is then. Windows has none that leave a terminal. */
const SIGNALS = Deno.build.os === "windows" ? [] : ["SIGHUP", "SIGINT", "SIGTERM"] as const;
const HELP = "\r\nCtrl-A x       quit\r\nCtrl-A h       this help\r\nCtrl-A Ctrl-A  send Ctrl-A\r\n";

/**
 * The terminal in raw mode, with Ctrl-A as the escape key; or a pipe, read until its end, byte for byte.
 *
 * A signal that may end the process sets the terminal back first and is then sent again, to do what it does without a
 * console: a program that listens for it hears it twice.
 */
export default defineBackend({
  name: "stdio_console",
  provides: "stream",
  permissions: [],
  config: object({}),
  open(context): StreamBackend {
    const stdio = context.shared<{ user?: string }>("stdio_console", () => ({}));
    if (stdio.user !== undefined) {
      throw new Error(`Cannot open ${context.name}: standard input and output belong to ${stdio.user} already`);
    }
    stdio.user = context.name;
    return new StdioConsole(context, () => stdio.user = undefined);
  },
});

class StdioConsole implements StreamBackend {
  readonly #terminal = Deno.stdin.isTerminal();
  readonly #output: OutputQueue;
  readonly #keys: EscapeKeys;
  readonly #release: () => void;
  #input: Bytes[] = [];
  #ahead = 0;
  #ended = false;
  #reader?: { max: number; give: (bytes: Bytes | null) => void };

  constructor({ quit }: BackendContext<unknown>, release: () => void) {
    this.#release = release;
    // Who closed the other end of the pipe wants no more of this.
    this.#output = new OutputQueue(Deno.stdout, () => quit?.());
    this.#keys = new EscapeKeys({ x: () => quit?.(), h: () => void this.write(new TextEncoder().encode(HELP)) });
    process.stdin.on("data", this.#arrive).on("end", this.#end).on("error", this.#end);
    globalThis.addEventListener("unload", this.#unload);
    if (this.#terminal) {
      Deno.stdin.setRaw(true);
      for (const [signal, listener] of this.#interrupted) Deno.addSignalListener(signal, listener);
    } else {
      process.stdin.pause();
    }
  }

  read(max: number): Bytes | null | Promise<Bytes | null> {
    if (this.#input.length > 0 || this.#ended) return this.#take(max);
    process.stdin.resume();
    return new Promise((give) => this.#reader = { max, give });
  }

  write(bytes: Bytes): void | Promise<void> {
    return this.#output.write(bytes);
  }

  async close(): Promise<void> {
    process.stdin.off("data", this.#arrive).off("end", this.#end).off("error", this.#end);
    process.stdin.pause();
    await this.#output.drained();
    globalThis.removeEventListener("unload", this.#unload);
    this.#restore();
    this.#release();
  }

  #restore(): void {
    if (!this.#terminal) return;
    for (const [signal, listener] of this.#interrupted) Deno.removeSignalListener(signal, listener);
    Deno.stdin.setRaw(false);
  }

  readonly #arrive = (chunk: Uint8Array): void => {
    const bytes = this.#terminal ? this.#keys.filter(chunk) : new Uint8Array(chunk);
    // A pipe is read on demand; a terminal always, for its keys.
    if (!this.#terminal) process.stdin.pause();
    if (bytes.length === 0 || this.#ahead >= TYPE_AHEAD) return;
    this.#input.push(bytes);
    this.#ahead += bytes.length;
    this.#answer();
  };

  readonly #end = (): void => {
    this.#ended = true;
    this.#answer();
  };

  /** What is left when the process ends: Deno itself sets the terminal back then. */
  readonly #unload = (): void => {
    try {
      Deno.stdout.writeSync(this.#output.take());
    } catch {
      // Nobody is there to be told.
    }
  };

  readonly #interrupted = SIGNALS.map((signal) =>
    [signal, (): void => {
      this.#unload();
      this.#restore();
      process.kill(process.pid, signal);
    }] as const
  );

  #answer(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.give(this.#take(reader.max));
  }

  #take(max: number): Bytes | null {
    const first = this.#input.shift();
    if (!first) return null;
    if (first.length > max) this.#input.unshift(first.subarray(max));
    const taken = first.subarray(0, max);
    this.#ahead -= taken.length;
    return taken;
  }
}

const CTRL_A = 1;

/** Takes the keys that follow Ctrl-A out of what is typed; Ctrl-A twice stands for itself. */
export class EscapeKeys {
  readonly #actions: Readonly<Record<string, () => void>>;
  #escaped = false;

  /** `actions` by the key that follows Ctrl-A. */
  constructor(actions: Readonly<Record<string, () => void>>) {
    this.#actions = actions;
  }

  /** What is meant for the guest. */
  filter(typed: Bytes): Bytes {
    const kept = [];
    for (const byte of typed) {
      if (!this.#escaped && byte === CTRL_A) {
        this.#escaped = true;
        continue;
      }
      if (!this.#escaped || byte === CTRL_A) kept.push(byte);
      else this.#actions[String.fromCharCode(byte).toLowerCase()]?.();
      this.#escaped = false;
    }
    return Uint8Array.from(kept);
  }
}
