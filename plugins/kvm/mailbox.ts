// What the machine's thread and a vCPU's Worker share: a command one way, a request and its answer the other way.

/** What a Worker is to do. */
export const COMMAND = { STOP: 0, RUN: 1, EXIT: 2 } as const;
/** An order is a command below a serial number, so that no two orders are the same. */
const COMMAND_BITS = 2;

/** What an order says. */
export function commandOf(order: number): number {
  return order & (1 << COMMAND_BITS) - 1;
}

/** What a Worker does. */
export const STATE = {
  /** It is being started. */
  STARTING: 0,
  /** It waits for a command; nothing of an access is left over. */
  STOPPED: 1,
  RUNNING: 2,
  /** It waits for the answer to a register access. */
  ACCESS: 3,
  /** The guest reset itself: a triple fault. */
  RESET: 4,
  /** The guest asked for its end. */
  OFF: 5,
  /** An exit that nobody handles: the vCPU can not go on. */
  FAULT: 6,
} as const;

/** Words of a mailbox. */
const WORD = {
  ORDER: 0,
  STATE: 1,
  TID: 2,
  WRITE: 3,
  LOW: 4,
  HIGH: 5,
  WIDTH: 6,
  VALUE: 7,
  EXITS: 8,
  ERRNO: 9,
  GENERATION: 10,
  FD: 11,
  RUN_LOW: 12,
  RUN_HIGH: 13,
  OBEYED: 14,
} as const;
const WORDS = 16;
/** The word that the whole machine shares stands in front: whether its thread looks at mailboxes by itself. */
const AWAKE = 0;

/** Bytes of the mailboxes of so many vCPUs. */
export function mailboxBytes(vcpus: number): number {
  return 4 * WORDS * (1 + vcpus);
}

/** The machine's own word. */
export class Watch {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, WORDS);
  }

  /** Whether the machine's thread sees a new request without being told of it. */
  get awake(): boolean {
    return Atomics.load(this.#words, AWAKE) === 1;
  }

  set awake(awake: boolean) {
    Atomics.store(this.#words, AWAKE, awake ? 1 : 0);
  }
}

/** The mailbox of one vCPU. */
export class Mailbox {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, vcpu: number) {
    this.#words = new Int32Array(buffer, 4 * WORDS * (1 + vcpu), WORDS);
  }

  /** The last order. */
  get order(): number {
    return Atomics.load(this.#words, WORD.ORDER);
  }

  /** Gives an order, unless the last one says the same; wakes the Worker if it waits for one. */
  command(command: number): void {
    const { order } = this;
    if (commandOf(order) === command) return;
    Atomics.store(this.#words, WORD.ORDER, ((order >> COMMAND_BITS) + 1) << COMMAND_BITS | command);
    Atomics.notify(this.#words, WORD.ORDER);
  }

  /** Whether the Worker has stopped by the last order: what it said to an earlier one does not count. */
  get stopped(): boolean {
    return this.state === STATE.STOPPED && Atomics.load(this.#words, WORD.OBEYED) === this.order;
  }

  get state(): number {
    return Atomics.load(this.#words, WORD.STATE);
  }

  set state(state: number) {
    Atomics.store(this.#words, WORD.STATE, state);
  }

  /** The Worker's thread, for signals. */
  get tid(): number {
    return this.#words[WORD.TID];
  }

  set tid(tid: number) {
    this.#words[WORD.TID] = tid;
  }

  /** How often KVM_RUN came back. */
  get exits(): number {
    return this.#words[WORD.EXITS] >>> 0;
  }

  countExit(): void {
    this.#words[WORD.EXITS]++;
  }

  /** Why KVM_RUN failed, if it did. */
  get errno(): number {
    return this.#words[WORD.ERRNO];
  }

  set errno(errno: number) {
    this.#words[WORD.ERRNO] = errno;
  }

  /** The vCPU's file, and the address of what KVM_RUN shares. A vCPU that begins anew has a new generation. */
  get vcpu(): { generation: number; fd: number; run: bigint } {
    const words = this.#words;
    const run = BigInt(words[WORD.RUN_HIGH] >>> 0) << 32n | BigInt(words[WORD.RUN_LOW] >>> 0);
    return { generation: words[WORD.GENERATION], fd: words[WORD.FD], run };
  }

  /** To be called while the Worker is stopped. */
  attach(fd: number, run: bigint): void {
    const words = this.#words;
    words[WORD.FD] = fd;
    words[WORD.RUN_LOW] = Number(BigInt.asIntN(32, run));
    words[WORD.RUN_HIGH] = Number(BigInt.asIntN(32, run >> 32n));
    this.renew();
  }

  /** The vCPU begins anew, even where it could not go on. To be called while the Worker is stopped. */
  renew(): void {
    this.#words[WORD.GENERATION]++;
  }

  // ---------------------------------------------------------------- the Worker's side

  /** Has stopped by an order. */
  obey(order: number): void {
    Atomics.store(this.#words, WORD.OBEYED, order);
    this.state = STATE.STOPPED;
  }

  /** Blocks as long as an order is the last one. */
  waitWhile(order: number): void {
    Atomics.wait(this.#words, WORD.ORDER, order);
  }

  /** Puts an access up; it counts once `state` says so. */
  post(write: boolean, at: number, width: number, value: number): void {
    const words = this.#words;
    words[WORD.WRITE] = write ? 1 : 0;
    words[WORD.LOW] = at | 0;
    words[WORD.HIGH] = Math.floor(at / 2 ** 32);
    words[WORD.WIDTH] = width;
    words[WORD.VALUE] = value | 0;
    this.state = STATE.ACCESS;
  }

  /** Waits for the answer: first by looking, since an answer comes within microseconds, then asleep. */
  answer(looks: number): number {
    const words = this.#words;
    for (let i = 0; i < looks; i++) {
      if (Atomics.load(words, WORD.STATE) !== STATE.ACCESS) return words[WORD.VALUE] >>> 0;
    }
    while (Atomics.load(words, WORD.STATE) === STATE.ACCESS) Atomics.wait(words, WORD.STATE, STATE.ACCESS);
    return words[WORD.VALUE] >>> 0;
  }

  // ---------------------------------------------------------------- the machine's side

  /** Whether the access put up is a store. */
  get write(): boolean {
    return this.#words[WORD.WRITE] === 1;
  }

  get address(): number {
    return (this.#words[WORD.HIGH] >>> 0) * 2 ** 32 + (this.#words[WORD.LOW] >>> 0);
  }

  get width(): 1 | 2 | 4 {
    return this.#words[WORD.WIDTH] as 1 | 2 | 4;
  }

  get value(): number {
    return this.#words[WORD.VALUE] >>> 0;
  }

  /** Answers the access. */
  reply(value: number): void {
    this.#words[WORD.VALUE] = value | 0;
    Atomics.store(this.#words, WORD.STATE, STATE.RUNNING);
    Atomics.notify(this.#words, WORD.STATE);
  }
}
