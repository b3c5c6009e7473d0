// A machine's loop: inbox, alarms, a quantum of the guest, a turn of the event loop, and again.

import { type Alarms, HostTime, InstructionTime, NANOS_PER_INSTRUCTION } from "./clock.ts";
import type { Inbox } from "./inbox.ts";
import { Pace } from "./pace.ts";
import type { Engine, Exit, Host, Nanos } from "./plugin.ts";
import type { Requests } from "./requests.ts";
import type { Turns } from "./turns.ts";

/** What the loop works with. */
export interface LoopParts {
  readonly host: Pick<Host, "now" | "sleep">;
  readonly turns: Turns;
  readonly engine: Engine;
  readonly time: HostTime | InstructionTime;
  readonly alarms: Alarms;
  readonly inbox: Inbox;
  readonly requests: Requests;
  /** Instructions of a quantum, if fixed. */
  readonly quantum?: number;
}

/** Why the loop ended. A failure is thrown. */
export type LoopEnd =
  | { readonly reason: "stop" }
  | { readonly reason: "reset" }
  | { readonly reason: "off"; readonly code: number };

/** A sleep shorter than this is not worth it where virtual time runs ahead of the host's. */
const WORTH_SLEEPING: Nanos = 1_000_000;

/** Drives an engine. */
export class Loop {
  readonly #parts: LoopParts;
  readonly #pace: Pace;
  /** The host time spent running: the instruction clock, which jumps where the guest waits, stays near it. */
  readonly #lived: HostTime;

  constructor(parts: LoopParts) {
    this.#parts = parts;
    this.#pace = new Pace(parts.quantum);
    this.#lived = new HostTime(parts.host);
  }

  /** Virtual time goes on until this settles. */
  async run(): Promise<LoopEnd> {
    const { time } = this.#parts;
    time.start();
    this.#lived.start();
    try {
      while (true) {
        await this.#parts.turns.take();
        const end = await this.#slice();
        if (end) return end;
      }
    } finally {
      await this.#parts.engine.pause?.();
      time.stop();
      this.#lived.stop();
    }
  }

  /** Quanta until the thread is to be given away, or until there is nothing to do, which is slept through. */
  async #slice(): Promise<LoopEnd | undefined> {
    const { host, turns, requests, time, inbox, alarms } = this.#parts;
    const until = host.now() + turns.slice;
    while (true) {
      if (requests.pending) return this.#end();
      const now = time.now;
      // The host is slow to take output, or owes a completion that is due: virtual time waits for it.
      if (requests.held || !inbox.drain(now)) return void await requests.bell.wait();
      alarms.fire(now);
      if (requests.pending || requests.held) continue;

      const ran = this.#quantum();
      // An await would cost a microtask and let others in: only where it is needed.
      const [exit, ended] = ran instanceof Promise ? await ran : ran;
      if (exit.reason === "off") requests.askPower("off", exit.code);
      if (exit.reason === "error") requests.fail(exit.message);
      if (exit.reason === "idle" && !requests.pending && !inbox.pending) return void await this.#idle();
      // While the host works on something, every quantum is followed by a turn, in which it may finish.
      if (ended >= until || inbox.inFlight > 0) return;
    }
  }

  /** Lets the guest run up to the next event, at most for a quantum. */
  #quantum(): [Exit, Nanos] | Promise<[Exit, Nanos]> {
    const { host, engine, time, requests } = this.#parts;
    const started = host.now();
    const before = engine.retired;
    const now = time.now;
    const ahead = this.#next - now;
    let budget: number;
    if (time instanceof InstructionTime) {
      budget = Math.min(this.#pace.budget(Infinity), Math.max(1, Math.ceil(ahead / NANOS_PER_INSTRUCTION)));
      requests.quantumEnds = now + budget * NANOS_PER_INSTRUCTION;
    } else if (engine.concurrent) {
      budget = Infinity;
      requests.quantumEnds = now + ahead;
    } else {
      budget = this.#pace.budget(ahead);
      requests.quantumEnds = now + this.#pace.nanos(budget);
    }
    const finish = (exit: Exit): [Exit, Nanos] => {
      requests.quantumEnds = -Infinity;
      const ended = host.now();
      this.#pace.measured(engine.retired - before, ended - started);
      return [exit, ended];
    };
    const exit = engine.run(budget, ahead);
    return exit instanceof Promise ? exit.then(finish) : finish(exit);
  }

  /** Every hart waits: so does the machine, until the next event or input. */
  async #idle(): Promise<void> {
    const { host, time, requests, inbox } = this.#parts;
    const next = this.#next;
    if (time instanceof HostTime) {
      const wait = next - time.now;
      return wait > 0 ? await host.sleep(wait, requests.bell.wait()) : undefined;
    }
    const wait = next - this.#lived.now;
    if (wait >= WORTH_SLEEPING) await host.sleep(wait, requests.bell.wait());
    if (next < Infinity && !inbox.pending && !requests.pending) time.skip(next);
  }

  /** The virtual time of the next event. */
  get #next(): Nanos {
    return Math.min(this.#parts.alarms.next, this.#parts.inbox.next);
  }

  #end(): LoopEnd {
    const { requests } = this.#parts;
    if (requests.failure) throw requests.failure;
    const { power } = requests;
    requests.power = undefined;
    if (!power) return { reason: "stop" };
    return power.what === "off" ? { reason: "off", code: power.code } : { reason: "reset" };
  }
}
