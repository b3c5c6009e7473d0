// Virtual time and named alarms: by the host's clock, or by the instructions executed.

import type { Alarm, Clock, Nanos } from "./plugin.ts";

/** Where virtual time comes from. */
export interface TimeSource {
  readonly now: Nanos;
  /** Time goes on. */
  start(): void;
  /** Time stands still. */
  stop(): void;
}

/** Virtual time that follows the host's monotonic clock while the machine runs. */
export class HostTime implements TimeSource {
  readonly #host: { now(): Nanos };
  /** While running: the host's time at virtual zero. */
  #origin = 0;
  /** While stopped: the time it is. */
  #stopped: Nanos | undefined = 0;

  constructor(host: { now(): Nanos }) {
    this.#host = host;
  }

  get now(): Nanos {
    return this.#stopped ?? this.#host.now() - this.#origin;
  }

  start(): void {
    if (this.#stopped === undefined) return;
    this.#origin = this.#host.now() - this.#stopped;
    this.#stopped = undefined;
  }

  stop(): void {
    this.#stopped = this.now;
  }
}

/**
 * Virtual time that a retired instruction takes under the instruction clock: 200 million instructions a second, about
 * what the interpreter reaches, so that virtual and host time stay near each other.
 */
export const NANOS_PER_INSTRUCTION = 5;

/** Virtual time counted in instructions; it jumps where every hart waits. */
export class InstructionTime implements TimeSource {
  readonly #retired: () => number;
  #skipped: Nanos = 0;

  constructor(retired: () => number) {
    this.#retired = retired;
  }

  get now(): Nanos {
    return this.#retired() * NANOS_PER_INSTRUCTION + this.#skipped;
  }

  /** All harts wait: it is `to` now. */
  skip(to: Nanos): void {
    this.#skipped += Math.max(0, to - this.now);
  }

  start(): void {}
  stop(): void {}
}

class NamedAlarm implements Alarm {
  deadline: Nanos = Infinity;
  readonly #changed: (alarm: NamedAlarm, before: Nanos) => void;

  constructor(
    readonly owner: string,
    readonly name: string,
    readonly fire: () => void,
    changed: (alarm: NamedAlarm, before: Nanos) => void,
  ) {
    this.#changed = changed;
  }

  at(deadline: Nanos): void {
    if (Number.isNaN(deadline)) throw new RangeError("Cannot set an alarm: wanted nanoseconds, got NaN");
    const before = this.deadline;
    // A deadline beyond the safe integers is 104 days away and more: it never comes.
    this.deadline = deadline > Number.MAX_SAFE_INTEGER ? Infinity : deadline;
    this.#changed(this, before);
  }

  cancel(): void {
    const before = this.deadline;
    this.deadline = Infinity;
    this.#changed(this, before);
  }
}

/** Deadlines by owner and name, of the alarms that are set. */
export type SavedAlarms = { [owner: string]: { [alarm: string]: Nanos } };

/** What alarms ask for. */
export interface AlarmsOptions {
  readonly time: TimeSource;
  /** Told when the next deadline has moved forward. */
  readonly earlier: (deadline: Nanos) => void;
  /** Told when an alarm throws. */
  readonly failed: (owner: string, alarm: string, error: unknown) => void;
}

/** All alarms of a machine. */
export class Alarms {
  readonly #options: AlarmsOptions;
  readonly #alarms = new Map<string, Map<string, NamedAlarm>>();
  /** The same alarms in the order they were made, which decides between equal deadlines. */
  readonly #order: NamedAlarm[] = [];
  #next: Nanos = Infinity;

  constructor(options: AlarmsOptions) {
    this.#options = options;
  }

  /** The clock of one device (or of the engine): its alarms' names are its own. */
  clock(owner: string): Clock {
    const names = new Map<string, NamedAlarm>();
    this.#alarms.set(owner, names);
    const { time } = this.#options;
    return {
      get now() {
        return time.now;
      },
      alarm: (name, fire) => {
        if (names.has(name)) throw new TypeError(`Cannot create alarm ${owner}.${name}: there is one`);
        const alarm = new NamedAlarm(owner, name, fire, (alarm, before) => this.#moved(alarm, before));
        names.set(name, alarm);
        this.#order.push(alarm);
        return alarm;
      },
    };
  }

  /** The next deadline; `Infinity` if there is none. */
  get next(): Nanos {
    return this.#next;
  }

  /** Fires what is due, earliest first. What is set meanwhile, even in the past, waits for the next call. */
  fire(now: Nanos): void {
    if (now < this.#next) return;
    const due = this.#order.filter((alarm) => alarm.deadline <= now).sort((a, b) => a.deadline - b.deadline);
    for (const alarm of due) {
      // One that fired before may have moved or cancelled this one.
      if (alarm.deadline > now) continue;
      alarm.cancel();
      try {
        alarm.fire();
      } catch (error) {
        this.#options.failed(alarm.owner, alarm.name, error);
      }
    }
  }

  cancelAll(): void {
    for (const alarm of this.#order) alarm.deadline = Infinity;
    this.#next = Infinity;
  }

  save(): SavedAlarms {
    const saved: SavedAlarms = {};
    for (const [owner, names] of this.#alarms) {
      const set = [...names].filter(([, alarm]) => alarm.deadline < Infinity);
      if (set.length) saved[owner] = Object.fromEntries(set.map(([name, alarm]) => [name, alarm.deadline]));
    }
    return saved;
  }

  /** Sets exactly the alarms of `saved`. Throws a `TypeError` for one that there is not. */
  load(saved: SavedAlarms): void {
    this.cancelAll();
    for (const [owner, names] of Object.entries(saved)) {
      for (const [name, deadline] of Object.entries(names)) {
        const alarm = this.#alarms.get(owner)?.get(name);
        if (!alarm) throw new TypeError(`Cannot restore alarm ${owner}.${name}: there is no such alarm`);
        if (typeof deadline !== "number") throw new TypeError(`Cannot restore alarm ${owner}.${name}: no deadline`);
        alarm.at(deadline);
      }
    }
  }

  #moved(alarm: NamedAlarm, before: Nanos): void {
    if (alarm.deadline < this.#next) {
      this.#next = alarm.deadline;
      this.#options.earlier(alarm.deadline);
    } else if (before === this.#next) {
      this.#scan();
    }
  }

  #scan(): void {
    this.#next = this.#order.reduce((next, alarm) => Math.min(next, alarm.deadline), Infinity);
  }
}
