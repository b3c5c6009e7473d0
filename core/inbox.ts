// The inbox: host results reach devices as plain events, between quanta and in order.

import { messageOf } from "./errors.ts";
import type { InboxPort, Nanos, Plain } from "./plugin.ts";

/** What is delivered to a device. Plain data: it can be logged, and a log of them replayed. */
export type InboxEvent = {
  readonly device: string;
  readonly event: string;
  /** The device's own name for its request. */
  readonly token: number;
  readonly payload: Plain;
  /** The virtual time of delivery. */
  readonly at: Nanos;
};

/**
 * How long a request takes under the instruction clock, whatever the host took: a fast disk's 50 µs. The machine waits
 * for the host at that time, so the guest sees the same delay in every run.
 */
export const COMPLETION_LATENCY: Nanos = 50_000;

/** What the inbox asks for. */
export interface InboxOptions {
  readonly now: () => Nanos;
  /** Whether completions are to take {@linkcode COMPLETION_LATENCY}. */
  readonly deterministic: boolean;
  /** Calls the device's handler. Does not throw. */
  readonly deliver: (device: string, event: string, token: number, payload: Plain) => void;
  /** Something arrived: a sleeping machine wakes. */
  readonly arrived: () => void;
  /** Something is to be delivered at that virtual time: a running quantum may have to end earlier. */
  readonly scheduled: (at: Nanos) => void;
  readonly log: (line: string) => void;
  /** Gets every host-timed input as it is delivered. */
  readonly record?: (event: InboxEvent) => void;
}

interface Envelope {
  readonly device: string;
  readonly event: string;
  readonly token: number;
  payload: Plain;
}

interface Completion extends Envelope {
  readonly due: Nanos;
  settled: boolean;
}

/** A completion that is still to come, for snapshots. */
export type SavedCompletion = { device: string; event: string; token: number; due: Nanos };

const isPromise = (value: unknown): value is Promise<Plain> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === "function";

/** Holds what came from the host until the machine's loop delivers it. */
export class Inbox {
  readonly #options: InboxOptions;
  /** Host-timed inputs, and completions that the host took its time for. */
  #arrived: Envelope[] = [];
  /** Settled completions asked for while one is being delivered: delivered after it, without recursion. */
  #nested: Envelope[] = [];
  #completing = false;
  /** Under the instruction clock: completions in the order they are due. */
  #scheduled: Completion[] = [];
  /** Due times of restored completions, until the devices issue them again. */
  #restored: SavedCompletion[] = [];
  /** Counts resets and restores: results of earlier requests are dropped. */
  #epoch = 0;
  #inFlight = 0;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** A device's end. */
  port(device: string): InboxPort {
    return {
      post: (event, token, outcome) => this.#post(device, event, token, outcome),
      complete: (event, token, outcome) => this.#complete(device, event, token, outcome),
    };
  }

  /** How many requests the host is working on. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether {@linkcode drain} would deliver something. */
  get pending(): boolean {
    return this.#arrived.length > 0;
  }

  /** When the next scheduled completion is due; `Infinity` if none is. */
  get next(): Nanos {
    return this.#scheduled[0]?.due ?? Infinity;
  }

  /**
   * Delivers the completions that are due by `now`, then what has arrived. Returns `false`, with nothing of the rest
   * delivered, where a completion is due that the host has not finished: call again after it `arrived`.
   */
  drain(now: Nanos): boolean {
    while (this.#scheduled.length > 0 && this.#scheduled[0].due <= now) {
      if (!this.#scheduled[0].settled) return false;
      this.#deliver(this.#scheduled.shift()!);
    }
    // What these deliveries bring in turn waits for the next call, so that the guest gets on.
    const batch = this.#arrived;
    this.#arrived = [];
    for (const envelope of batch) {
      this.#options.record?.({ ...envelope, at: now });
      this.#deliver(envelope);
    }
    return true;
  }

  /** Drops everything, what is still under way included. */
  clear(): void {
    this.#epoch++;
    this.#arrived = [];
    this.#nested = [];
    this.#scheduled = [];
    this.#restored = [];
    this.#inFlight = 0;
  }

  /** The scheduled completions. */
  save(): SavedCompletion[] {
    return this.#scheduled.map(({ device, event, token, due }) => ({ device, event, token, due }));
  }

  /** After {@linkcode clear}: the requests that devices issue again in `reissue` complete when they were to. */
  restore(saved: readonly SavedCompletion[], reissue: () => void): void {
    this.#restored = [...saved];
    reissue();
    this.#restored = [];
  }

  #post(device: string, event: string, token: number, outcome: Plain | Promise<Plain>): void {
    const envelope: Envelope = { device, event, token, payload: undefined };
    if (isPromise(outcome)) return this.#await(envelope, outcome, () => this.#arrive(envelope));
    envelope.payload = outcome;
    this.#arrived.push(envelope);
    this.#options.scheduled(this.#options.now());
  }

  #complete(device: string, event: string, token: number, outcome: Plain | Promise<Plain>): void {
    if (this.#options.deterministic) return this.#schedule(device, event, token, outcome);
    if (isPromise(outcome)) {
      const envelope: Envelope = { device, event, token, payload: undefined };
      this.#inFlight++;
      return this.#await(envelope, outcome, () => {
        this.#inFlight--;
        this.#arrive(envelope);
      });
    }
    if (this.#completing) {
      this.#nested.push({ device, event, token, payload: outcome });
      return;
    }
    this.#completing = true;
    this.#options.deliver(device, event, token, outcome);
    for (let next = this.#nested.shift(); next; next = this.#nested.shift()) this.#deliver(next);
    this.#completing = false;
  }

  #schedule(device: string, event: string, token: number, outcome: Plain | Promise<Plain>): void {
    const restored = this.#restored.find((r) => r.device === device && r.event === event && r.token === token);
    const due = restored?.due ?? this.#options.now() + COMPLETION_LATENCY;
    const completion: Completion = { device, event, token, payload: undefined, due, settled: false };
    const later = this.#scheduled.findIndex((other) => other.due > due);
    this.#scheduled.splice(later < 0 ? this.#scheduled.length : later, 0, completion);
    if (isPromise(outcome)) {
      this.#await(completion, outcome, () => {
        completion.settled = true;
        this.#options.arrived();
      });
    } else {
      completion.payload = outcome;
      completion.settled = true;
    }
    this.#options.scheduled(due);
  }

  #await(envelope: Envelope, outcome: Promise<Plain>, settled: () => void): void {
    const epoch = this.#epoch;
    outcome.then(
      (payload) => {
        if (epoch !== this.#epoch) return;
        envelope.payload = payload;
        settled();
      },
      (error: unknown) => {
        if (epoch !== this.#epoch) return;
        this.#options.log(`${envelope.device}: ${envelope.event} failed: ${messageOf(error)}`);
        envelope.payload = "error";
        settled();
      },
    );
  }

  #arrive(envelope: Envelope): void {
    this.#arrived.push(envelope);
    this.#options.arrived();
  }

  #deliver({ device, event, token, payload }: Envelope): void {
    this.#options.deliver(device, event, token, payload);
  }
}
