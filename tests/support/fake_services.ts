// Every service a device can ask for, without a machine: for unit tests of devices.

import {
  type Alarm,
  type Borrowed,
  type Bytes,
  type Clock,
  type CoreServices,
  type CpuPort,
  type Device,
  type Dma,
  DmaFault,
  type EntropyBackend,
  type InboxPort,
  type IrqLine,
  type Nanos,
  type NetBackend,
  type Packet,
  type Plain,
  type StreamBackend,
  type Width,
} from "../../core/plugin.ts";
import { FakeBlock } from "./fake_block.ts";

/** Where the fake RAM begins in guest-physical addresses. */
export const RAM_BASE = 0x8000_0000;

/** An interrupt line that remembers: `level` now, and every change of it. */
export class FakeIrq implements IrqLine {
  level = false;
  readonly history: boolean[] = [];

  set(level: boolean): void {
    if (level !== this.level) this.history.push(level);
    this.level = level;
  }
}

/** Guest RAM at {@linkcode RAM_BASE}; counts what is borrowed. */
export class FakeDma implements Dma {
  readonly ram: Bytes;
  /** How many loans have not been given back. */
  borrowed = 0;
  #view: DataView;
  #lendCopies: boolean;
  #generation = 0;

  constructor(size: number, { shared = false, lendCopies = false } = {}) {
    this.ram = new Uint8Array(shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size));
    this.#view = new DataView(this.ram.buffer);
    this.#lendCopies = lendCopies;
  }

  #offset(at: number, length: number): number {
    const offset = at - RAM_BASE;
    if (!(offset >= 0 && offset + length <= this.ram.length)) throw new DmaFault(at, length);
    return offset;
  }

  load(at: number, width: Width): number {
    const offset = this.#offset(at, width);
    if (width === 1) return this.#view.getUint8(offset);
    return width === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true);
  }

  store(at: number, value: number, width: Width): void {
    const offset = this.#offset(at, width);
    if (width === 1) this.#view.setUint8(offset, value);
    else if (width === 2) this.#view.setUint16(offset, value, true);
    else this.#view.setUint32(offset, value, true);
  }

  load64(at: number): number {
    return Number(this.#view.getBigUint64(this.#offset(at, 8), true));
  }

  borrow(at: number, length: number, access: "read" | "write"): Borrowed {
    const offset = this.#offset(at, length);
    const own = this.ram.subarray(offset, offset + length);
    const bytes = this.#lendCopies ? own.slice() : own;
    const generation = this.#generation;
    this.borrowed++;
    let out = true;
    return {
      bytes,
      done: (written = access === "write" ? length : 0) => {
        if (!out) throw new Error("given back twice");
        out = false;
        if (generation !== this.#generation) return;
        this.borrowed--;
        if (this.#lendCopies) own.set(bytes.subarray(0, written));
      },
    };
  }

  /** What is lent now may be given back, to no effect. */
  forgetLoans(): void {
    this.#generation++;
    this.borrowed = 0;
  }

  read(at: number, into: Bytes): void {
    const offset = this.#offset(at, into.length);
    into.set(this.ram.subarray(offset, offset + into.length));
  }

  write(at: number, from: Bytes): void {
    this.ram.set(from, this.#offset(at, from.length));
  }
}

/** A clock that stands still until the test moves it. */
export class FakeClock implements Clock {
  now: Nanos = 0;
  readonly #deadlines: Map<string, { deadline: Nanos | undefined; fire: () => void }> = new Map();

  alarm(name: string, fire: () => void): Alarm {
    if (this.#deadlines.has(name)) throw new Error(`alarm ${name} exists already`);
    const entry: { deadline: Nanos | undefined; fire: () => void } = { deadline: undefined, fire };
    this.#deadlines.set(name, entry);
    return { at: (deadline) => void (entry.deadline = deadline), cancel: () => void (entry.deadline = undefined) };
  }

  /** When the named alarm fires next. */
  deadline(name: string): Nanos | undefined {
    return this.#deadlines.get(name)?.deadline;
  }

  /** Moves time on and fires what is due, earliest first; alarms set meanwhile wait for the next call. */
  advance(nanos: Nanos): void {
    const target = this.now + nanos;
    const due = [...this.#deadlines.values()].filter((entry) =>
      entry.deadline !== undefined && entry.deadline <= target
    );
    due.sort((a, b) => a.deadline! - b.deadline!);
    for (const entry of due) {
      if (entry.deadline === undefined) continue;
      this.now = Math.max(this.now, entry.deadline);
      entry.deadline = undefined;
      entry.fire();
    }
    this.now = target;
  }
}

/** An inbox that delivers settled outcomes at once, promises when they settle, or on demand while `held`. */
export class FakeInbox implements InboxPort {
  /** Everything delivered so far. */
  readonly log: { event: string; token: number; outcome: Plain }[] = [];
  /** While true, nothing is delivered but by {@linkcode deliver}. */
  held = false;
  device?: Device;
  #queue: { event: string; token: number; outcome: Plain }[] = [];
  #unsettled = 0;
  #generation = 0;

  post(event: string, token: number, outcome: Plain | Promise<Plain>): void {
    this.complete(event, token, outcome);
  }

  complete(event: string, token: number, outcome: Plain | Promise<Plain>): void {
    if (!(outcome instanceof Promise)) return this.#arrive(event, token, outcome);
    const generation = this.#generation;
    this.#unsettled++;
    outcome.catch(() => "error").then((value) => {
      if (generation !== this.#generation) return;
      this.#unsettled--;
      this.#arrive(event, token, value);
    });
  }

  /** Delivers the oldest `count` of what is held. */
  deliver(count = Infinity): void {
    while (count-- > 0 && this.#queue.length > 0) this.#hand(this.#queue.shift()!);
  }

  /** Drops what is held or not yet settled. */
  clear(): void {
    this.#generation++;
    this.#queue = [];
    this.#unsettled = 0;
  }

  /** What is held or not yet settled. */
  get pending(): number {
    return this.#queue.length + this.#unsettled;
  }

  #arrive(event: string, token: number, outcome: Plain): void {
    if (this.held) this.#queue.push({ event, token, outcome });
    else this.#hand({ event, token, outcome });
  }

  #hand(entry: { event: string; token: number; outcome: Plain }): void {
    this.log.push(entry);
    const deliver = this.device?.events?.[entry.event];
    if (!deliver) throw new Error(`no device takes the event ${entry.event}`);
    deliver(entry.token, entry.outcome);
  }
}

/** Interrupt inputs of harts, by `cpu` and line. */
export class FakeCpus implements CpuPort {
  readonly lines: Map<string, boolean> = new Map();
  constructor(readonly count: number) {}

  set(cpu: number, line: number, level: boolean): void {
    this.lines.set(`${cpu}:${line}`, level);
  }

  get(cpu: number, line: number): boolean {
    return this.lines.get(`${cpu}:${line}`) ?? false;
  }
}

/** A stream that the test types into and reads from. */
export class FakeStream implements StreamBackend {
  /** All that the device wrote. */
  readonly output: number[] = [];
  /** While true, writes answer promises that {@linkcode drain} settles. */
  slow = false;
  #input: Bytes[] = [];
  #ended = false;
  #reader?: { max: number; give: (bytes: Bytes | null) => void };
  #drains: (() => void)[] = [];

  read(max: number): Bytes | null | Promise<Bytes | null> {
    if (this.#reader) throw new Error("a read is outstanding already");
    const ready = this.#take(max);
    return ready !== undefined ? ready : new Promise((give) => this.#reader = { max, give });
  }

  write(bytes: Bytes): void | Promise<void> {
    if (this.#drains.length > 0) throw new Error("written while held");
    for (const byte of bytes) this.output.push(byte);
    if (this.slow) return new Promise((done) => this.#drains.push(done));
  }

  /** Whether the device waits for input. */
  get reading(): boolean {
    return this.#reader !== undefined;
  }

  /** The device forgot its read. */
  abandon(): void {
    this.#reader = undefined;
  }

  /** Types text or bytes; `null` ends the input. */
  type(input: string | Bytes | null): void {
    if (input === null) this.#ended = true;
    else if (input.length > 0) this.#input.push(typeof input === "string" ? new TextEncoder().encode(input) : input);
    const reader = this.#reader;
    const ready = reader && this.#take(reader.max);
    if (!reader || ready === undefined) return;
    this.#reader = undefined;
    reader.give(ready);
  }

  /** Settles the writes under way. */
  drain(): void {
    for (const done of this.#drains.splice(0)) done();
  }

  /** All output as text. */
  get text(): string {
    return new TextDecoder().decode(new Uint8Array(this.output));
  }

  #take(max: number): Bytes | null | undefined {
    const first = this.#input.shift();
    if (!first) return this.#ended ? null : undefined;
    if (first.length > max) this.#input.unshift(first.subarray(max));
    return first.subarray(0, max);
  }
}

/** A network the test sends from and looks into. */
export class FakeNet implements NetBackend {
  readonly sent: Packet[] = [];
  linkUp = true;
  #incoming: Packet[] = [];
  #receiver?: { max: number; give: (packets: Packet[]) => void };
  #linkWatcher?: (up: boolean) => void;

  constructor(readonly offloads: boolean) {}

  send(packet: Packet): void {
    this.sent.push({ ...packet, frame: packet.frame.slice() });
  }

  receive(max: number): Packet[] | Promise<Packet[]> {
    if (this.#receiver) throw new Error("a receive is outstanding already");
    if (this.#incoming.length > 0) return this.#incoming.splice(0, max);
    return new Promise((give) => this.#receiver = { max, give });
  }

  linkChange(): Promise<boolean> {
    return new Promise((change) => this.#linkWatcher = change);
  }

  /** Whether the device waits for packets. */
  get receiving(): boolean {
    return this.#receiver !== undefined;
  }

  /** Packets on their way to the device that it has not asked for yet. */
  get backlog(): number {
    return this.#incoming.length;
  }

  /** The device forgot its receive. */
  abandon(): void {
    this.#receiver = undefined;
  }

  /** Lets packets arrive. */
  arrive(...packets: Packet[]): void {
    this.#incoming.push(...packets);
    const receiver = this.#receiver;
    if (!receiver) return;
    this.#receiver = undefined;
    receiver.give(this.#incoming.splice(0, receiver.max));
  }

  /** Plugs the cable in or out. */
  plug(up: boolean): void {
    this.linkUp = up;
    this.#linkWatcher?.(up);
  }
}

/** Random bytes that are the same in every test: a counter's high bits, stirred. */
export class FakeEntropy implements EntropyBackend {
  #state = 1;

  fill(into: Bytes): void {
    for (let i = 0; i < into.length; i++) {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      into[i] = this.#state >>> 24;
    }
  }
}

/** How {@linkcode fakeServices} makes its services. */
export interface FakeOptions {
  /** Bytes of RAM; default 1 MiB. */
  ramSize?: number;
  /** RAM in a SharedArrayBuffer. */
  shared?: boolean;
  /** Loans are private copies, as under the instruction clock. */
  lendCopies?: boolean;
  /** Bytes of the disk; default 1 MiB. */
  diskSize?: number;
  readOnlyDisk?: boolean;
  /** Whether the network carries undone checksums and segmentation; default true. */
  offloads?: boolean;
  cpus?: number;
}

/** All services, the machine's name, and `bind` to tell the inbox where to deliver. */
export interface FakeServices extends CoreServices {
  machine: string;
  irq: FakeIrq;
  dma: FakeDma;
  clock: FakeClock;
  inbox: FakeInbox;
  cpus: FakeCpus;
  /** What the device asked of the power service, in order: `"off 0"`, `"reset 0"`. */
  powerLog: string[];
  stream: FakeStream;
  block: FakeBlock;
  net: FakeNet;
  entropy: FakeEntropy;
  /** Connects the inbox to the device, refreshes it as core does after build, and returns it. */
  bind<D extends Device>(device: D): D;
  /** Gives the bound device another state as core does on reset and restore: all results to come are dropped. */
  restore(state: Plain): void;
}

/** Makes the services for one device under test. */
export function fakeServices(options: FakeOptions = {}): FakeServices {
  const inbox = new FakeInbox();
  const powerLog: string[] = [];
  const services: FakeServices = {
    machine: "machine",
    irq: new FakeIrq(),
    dma: new FakeDma(options.ramSize ?? 1 << 20, options),
    clock: new FakeClock(),
    inbox,
    cpus: new FakeCpus(options.cpus ?? 1),
    power: (what, code = 0) => void powerLog.push(`${what} ${code}`),
    powerLog,
    wallTime: () => 1_700_000_000_000_000,
    stream: new FakeStream(),
    block: new FakeBlock(options.diskSize ?? 1 << 20, options.readOnlyDisk),
    net: new FakeNet(options.offloads ?? true),
    entropy: new FakeEntropy(),
    bind(device) {
      inbox.device = device as Device;
      device.refresh?.();
      return device;
    },
    restore(state) {
      inbox.clear();
      services.dma.forgetLoans();
      services.stream.abandon();
      services.net.abandon();
      services.irq.set(false);
      const device = inbox.device!;
      device.state = state;
      device.refresh?.();
    },
  };
  return services;
}
