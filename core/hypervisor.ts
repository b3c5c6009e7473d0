// What machines share: objects such as hubs, the cache of plugins, and turns on the one thread.

import type { Host, Nanos } from "./plugin.ts";
import { type Builtins, Registry } from "./registry.ts";

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

/** The machines of one owner, and what they share. There is no state outside of it. */
export class Hypervisor implements AsyncDisposable {
  readonly host: Host;
  readonly registry: Registry;
  readonly turns: Turns;
  readonly #shared = new Map<string, unknown>();
  readonly #machines = new Set<AsyncDisposable>();
  #disposed = false;

  /** `engines` names the engines to choose from where a description names none, best first. */
  constructor(host: Host, builtins: Builtins, readonly engines: readonly string[]) {
    this.host = host;
    this.registry = new Registry(host, builtins);
    this.turns = new Turns(host);
  }

  /** The object of that key, made at the first ask. */
  shared<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make());
    return this.#shared.get(key) as T;
  }

  /** Takes a machine in. Throws if the hypervisor is disposed. */
  adopt(machine: AsyncDisposable): void {
    if (this.#disposed) throw new Error("Cannot create a machine: its hypervisor is disposed");
    this.#machines.add(machine);
  }

  /** Lets go of a machine that is being disposed. */
  release(machine: AsyncDisposable): void {
    this.#machines.delete(machine);
  }

  /** Disposes all machines, then what they shared. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all([...this.#machines].map((machine) => machine[Symbol.asyncDispose]()));
    for (const value of this.#shared.values()) {
      const object = value as Partial<Disposable & AsyncDisposable> | undefined;
      await (object?.[Symbol.asyncDispose] ?? object?.[Symbol.dispose])?.call(object);
    }
    this.#shared.clear();
  }
}
