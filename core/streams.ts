// Byte streams and other intakes between back ends and devices: bounded pipes, and calls that outlive a reset.

import type { Bytes, NetBackend, Packet, StreamBackend } from "./plugin.ts";

/** Bytes a pipe holds, each way, before it asks its writer to wait. */
export const PIPE_SIZE = 65536;

/** One direction of a pipe. */
class Channel {
  readonly #chunks: Bytes[] = [];
  #size = 0;
  #ended = false;
  #reader: (() => void) | undefined;
  #writers: (() => void)[] = [];

  read(max: number): Bytes | null | Promise<Bytes | null> {
    if (this.#size === 0 && !this.#ended) {
      return new Promise<void>((resolve) => this.#reader = resolve).then(() => this.read(max));
    }
    const first = this.#chunks.shift();
    if (!first) return null;
    const [head, rest] = splitBytes(first, max);
    if (rest) this.#chunks.unshift(rest);
    this.#size -= head.length;
    if (this.#size < PIPE_SIZE) this.#release();
    return head;
  }

  write(bytes: Bytes): void | Promise<void> {
    if (this.#ended || bytes.length === 0) return;
    this.#chunks.push(bytes.slice());
    this.#size += bytes.length;
    this.#wake();
    if (this.#size >= PIPE_SIZE) return new Promise((resolve) => this.#writers.push(resolve));
  }

  end(): void {
    this.#ended = true;
    this.#wake();
    this.#release();
  }

  #wake(): void {
    this.#reader?.();
    this.#reader = undefined;
  }

  #release(): void {
    const writers = this.#writers;
    this.#writers = [];
    for (const resolve of writers) resolve();
  }
}

/** Two stream ends, joined both ways. Closing either end ends both directions, after what is in the pipe. */
export function createPipe(): { device: StreamBackend; host: StreamBackend } {
  const up = new Channel();
  const down = new Channel();
  const close = (): void => {
    up.end();
    down.end();
  };
  return {
    device: { read: (max) => down.read(max), write: (bytes) => up.write(bytes), close },
    host: { read: (max) => up.read(max), write: (bytes) => down.write(bytes), close },
  };
}

/** The first `max` items, and the rest if there is any. */
type Split<T> = (answer: T, max: number) => [T, T | undefined];

const splitBytes: Split<Bytes> = (bytes, max) =>
  bytes.length <= max ? [bytes, undefined] : [bytes.subarray(0, max), bytes.subarray(max)];

const splitPackets: Split<Packet[]> = (packets, max) =>
  packets.length <= max ? [packets, undefined] : [packets.slice(0, max), packets.slice(max)];

/**
 * Asks a back end for input one call at a time. A device that was reset forgets its call and makes a new one: the answer
 * to the old call then serves the new one, and no input is lost.
 */
class Intake<T> {
  readonly #ask: (max: number) => T | null | Promise<T | null>;
  readonly #split: Split<T>;
  #asking = false;
  /** What came and was not taken: input, the end (null), or a failure. */
  #kept: { answer: T | null } | { error: unknown } | undefined;
  #caller: { max: number; resolve(answer: T | null): void; reject(error: unknown): void } | undefined;

  constructor(ask: (max: number) => T | null | Promise<T | null>, split: Split<T>) {
    this.#ask = ask;
    this.#split = split;
  }

  take(max: number): T | null | Promise<T | null> {
    if (!this.#kept && !this.#asking) {
      const answer = attempt(() => this.#ask(max));
      if (!(answer instanceof Promise)) return answer;
      this.#asking = true;
      answer.then((answer) => this.#settle({ answer }), (error) => this.#settle({ error }));
    }
    if (this.#kept && "answer" in this.#kept) return this.#cut(this.#kept.answer, max);
    return new Promise((resolve, reject) => {
      this.#caller = { max, resolve, reject };
      if (this.#kept) this.#answer(this.#kept);
    });
  }

  /** The device has forgotten its call. */
  abandon(): void {
    this.#caller = undefined;
  }

  #settle(outcome: { answer: T | null } | { error: unknown }): void {
    this.#asking = false;
    this.#answer(outcome);
  }

  #answer(outcome: { answer: T | null } | { error: unknown }): void {
    const caller = this.#caller;
    this.#kept = caller ? undefined : outcome;
    this.#caller = undefined;
    if (!caller) return;
    if ("error" in outcome) caller.reject(outcome.error);
    else caller.resolve(this.#cut(outcome.answer, caller.max));
  }

  #cut(answer: T | null, max: number): T | null {
    this.#kept = undefined;
    if (answer === null) return null;
    const [head, rest] = this.#split(answer, max);
    if (rest !== undefined) this.#kept = { answer: rest };
    return head;
  }
}

/** A back end's answer; what it throws is a refused promise like any other failure of the host. */
function attempt<T>(call: () => T | Promise<T>): T | Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** A back end as a device gets it, and how core tells it that the device was reset. */
export interface Guarded<T> {
  readonly service: T;
  abandon(): void;
}

/** How {@linkcode guardStream} treats output that the host is slow to take. */
export interface StreamOptions {
  /** Stops the machine until the promise settles. */
  readonly hold: (until: Promise<void>) => void;
  /** Whether the device's writes hold the machine too, so that the host's speed can not show (instruction clock). */
  readonly holdWrites: boolean;
}

/** A guarded stream, and a way to print on it for a caller that can not wait, such as firmware. */
export interface GuardedStream extends Guarded<StreamBackend> {
  print(bytes: Bytes): void;
}

/** A stream with one reader's call at a time, and writes in order even from two writers. */
export function guardStream(backend: StreamBackend, { hold, holdWrites }: StreamOptions): GuardedStream {
  const intake = new Intake<Bytes>((max) => backend.read(max), splitBytes);
  let writing: Promise<void> | undefined;
  const write = (bytes: Bytes): void | Promise<void> => {
    const copy = writing && bytes.slice();
    const next = () => backend.write(copy!);
    // What one write could not do says nothing of the next.
    const done = copy ? writing!.then(next, next) : attempt(() => backend.write(bytes));
    if (!(done instanceof Promise)) return;
    const settled: Promise<void> = done.finally(() => {
      if (writing === settled) writing = undefined;
    });
    // Whoever wants to know of a failure asks; nobody has to.
    settled.catch(() => {});
    return writing = settled;
  };
  const print = (bytes: Bytes): void => {
    const done = write(bytes);
    if (done) hold(done);
  };
  return {
    service: { read: (max) => intake.take(max), write: holdWrites ? print : write },
    abandon: () => intake.abandon(),
    print,
  };
}

/** A network with one receiver's call at a time. `failed` is told of the first packet that the host could not send. */
export function guardNet(backend: NetBackend, failed: (error: unknown) => void = () => {}): Guarded<NetBackend> {
  let told = false;
  const intake = new Intake<Packet[]>((max) => backend.receive(max), splitPackets);
  return {
    service: {
      offloads: backend.offloads,
      get linkUp() {
        return backend.linkUp;
      },
      // A network may drop packets: one that the host refuses is dropped.
      send(packet) {
        try {
          backend.send(packet);
        } catch (error) {
          if (!told) failed(error);
          told = true;
        }
      },
      receive: (max) => intake.take(max),
      linkChange: backend.linkChange && (async () => await backend.linkChange!()),
    },
    abandon: () => intake.abandon(),
  };
}
