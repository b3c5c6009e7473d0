// What devices, the engine and the host ask of a machine's loop: served between quanta.

import type { Engine, Nanos, Power } from "./plugin.ts";

/** Rung whenever a sleeping machine should look around. It has one listener at a time. */
class Bell {
  #listener: (() => void) | undefined;

  /** Settles at the next ring. An earlier wait that nobody heeds any more is forgotten. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#listener = resolve);
  }

  ring(): void {
    this.#listener?.();
    this.#listener = undefined;
  }
}

/** The open requests of one machine. */
export class Requests {
  readonly bell: Bell = new Bell();
  /** The first failure counts. */
  failure: Error | undefined;
  power: { readonly what: "off" | "reset"; readonly code: number } | undefined;
  /** The host wants the loop to stop. */
  stop = false;
  /** The virtual time up to which the quantum under way may run; in the past if none is. */
  quantumEnds: Nanos = -Infinity;
  readonly #machine: string;
  #engine: Engine | undefined;
  #held = 0;

  constructor(machine: string) {
    this.#machine = machine;
  }

  /** Names the engine to kick. */
  attach(engine: Engine): void {
    this.#engine = engine;
  }

  /** Whether the loop has something to serve before the next quantum. */
  get pending(): boolean {
    return this.stop || this.power !== undefined || this.failure !== undefined;
  }

  /** Whether the machine has to wait for the host to take output. */
  get held(): boolean {
    return this.#held > 0;
  }

  /** Ends a quantum under way, or a sleep, soon. */
  poke(): void {
    if (this.quantumEnds !== -Infinity) this.#engine?.kick();
    this.bell.ring();
  }

  /** Something is to happen at that virtual time: a quantum that would run over it ends now. */
  earlier(at: Nanos): void {
    if (at < this.quantumEnds) this.#engine?.kick();
  }

  readonly askPower: Power = (what, code = 0) => {
    this.power = { what, code };
    this.poke();
  };

  askStop(): void {
    this.stop = true;
    this.poke();
  }

  /** Something that must not happen has happened. */
  fail(sentence: string, cause?: unknown): void {
    this.failure ??= new Error(`Machine ${this.#machine} failed: ${sentence}`, { cause });
    this.poke();
  }

  /** Forgets what the guest asked for, and its failure. */
  clear(): void {
    this.failure = undefined;
    this.power = undefined;
  }

  /** Stops the guest, not its clock, until `promise` settles. */
  hold(promise: Promise<void>): void {
    this.#held++;
    const release = (): void => {
      this.#held--;
      this.bell.ring();
    };
    promise.then(release, release);
  }
}
