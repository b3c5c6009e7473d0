// How the machine's thread waits for its vCPUs: by looking, then blocked for a moment, then back in the event loop.

import type { Libc } from "./libc.ts";
import type { Watch } from "./mailbox.ts";

/** The token of the eventfd by which Workers and the host ring; the engine's own have tokens from 1. */
const DOORBELL = 0;
/** A timer's wait is not worth it, and not exact, below this. */
const MILLISECOND = 1_000_000;

/** The files that the machine's thread listens to. */
export class Waiting {
  /** The eventfd that rings for the machine's thread. */
  readonly doorbell: number;
  readonly #libc: Libc;
  readonly #watch: Watch;
  readonly #epoll: number;
  /** The thread of Deno's pool that waits, if one does. */
  #aside: Promise<void> | undefined;
  #asideUntil = Infinity;

  constructor(libc: Libc, watch: Watch) {
    this.#libc = libc;
    this.#watch = watch;
    this.doorbell = libc.eventfd();
    this.#epoll = libc.epoll();
    libc.watch(this.#epoll, this.doorbell, DOORBELL);
  }

  /** Has `fd` wake the machine's thread; {@linkcode ready} tells of it by `token`, from 1 on. */
  add(fd: number, token: number): void {
    this.#libc.watch(this.#epoll, fd, token);
  }

  /** Ends a wait. */
  ring(): void {
    this.#libc.signal(this.doorbell);
  }

  /** The tokens of what has signalled. */
  ready(): number[] {
    const tokens = this.#libc.ready(this.#epoll);
    if (!tokens.includes(DOORBELL)) return tokens;
    this.#libc.takeSignal(this.doorbell);
    return tokens.filter((token) => token !== DOORBELL);
  }

  /** Blocks the thread, at most for so many nanoseconds. */
  block(nanos: number): void {
    this.#libc.block(this.#epoll, nanos);
  }

  /** Settles when something has signalled, or `nanos` later; the event loop goes on meanwhile. */
  async wait(now: number, nanos: number): Promise<void> {
    const until = now + nanos;
    // A wait that the last run left behind serves this one, unless it would last too long.
    if (this.#aside && this.#asideUntil > until) await this.settle();
    if (!this.#aside) {
      const milliseconds = nanos === Infinity
        ? -1
        : Math.min(2 ** 31 - 1, Math.max(1, Math.floor(nanos / MILLISECOND)));
      this.#asideUntil = milliseconds < 0 ? Infinity : until;
      this.#aside = this.#libc.wait(this.#epoll, milliseconds).then(() => this.#aside = undefined);
    }
    await this.#aside;
  }

  /** Ends a wait of the pool's. */
  async settle(): Promise<void> {
    if (!this.#aside) return;
    this.ring();
    await this.#aside;
  }

  /** Workers ring from now on: look once more before a wait. */
  set asleep(asleep: boolean) {
    this.#watch.awake = !asleep;
  }

  /** Gives the files back. Nothing may wait, see {@linkcode settle}. */
  close(): void {
    this.#libc.close(this.#epoll);
    this.#libc.close(this.doorbell);
  }
}
