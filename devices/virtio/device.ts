// What all virtio devices share, whatever the transport: virtio 1.2 sections 2.1 to 2.7 and 3.1.

import {
  type Alarm,
  type Bytes,
  type CoreServices,
  type Dma,
  DmaFault,
  type InboxPort,
  type IrqLine,
  type Plain,
  type Width,
} from "../../core/plugin.ts";
import { type Chain, DriverFault } from "./chain.ts";
import { idleQueue, Queue, type QueueOwner, type QueueState } from "./queue.ts";

/** Bits of the device status field (section 2.1). */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** Feature bits that belong to every device (section 6). */
export const FEATURE = { INDIRECT_DESC: 28, EVENT_IDX: 29, VERSION_1: 32 } as const;

/** Why the interrupt line is up. */
export const INTERRUPT = { USED_BUFFER: 1, CONFIG_CHANGE: 2 } as const;

const DRIVER_BITS = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK | STATUS.FEATURES_OK | STATUS.FAILED;
const LIVE = STATUS.DRIVER_OK | STATUS.FEATURES_OK;

/** Work in one go, so that no driver can hold up the host: a unit is a descriptor or a KiB. */
const TURN_BUDGET = 8192;
/** Requests the host may be busy with, abandoned ones included. */
const MAX_ISSUED = 4096;

/** All state of a virtio device: of the transport, its queues, its requests in flight, and the device itself. */
export type VirtioState<S extends Plain> = {
  status: number;
  deviceFeaturesSel: number;
  driverFeaturesSel: number;
  driverFeatures: [number, number];
  queueSel: number;
  interruptStatus: number;
  configGeneration: number;
  queues: QueueState[];
  /** Requests that the host works on: the chains' heads, to begin them again after a restore. */
  requests: { token: number; queue: number; head: number }[];
  nextToken: number;
  /** What the driver did wrong, when the device needs a reset. */
  fault: string;
  device: S;
};

/** A request handed to the host. */
export interface Started {
  /** Its result, or the promise of it. */
  readonly outcome: Plain | Promise<Plain>;
  /**
   * Called once, with the result: gives back what was borrowed and, if the request is still `wanted` (the driver did
   * not reset the device), answers the driver. Returns how many writable bytes of the chain were written.
   */
  settle(outcome: Plain, wanted: boolean): number;
}

/** What sets one kind of virtio device apart. */
export interface VirtioModel<S extends Plain> {
  /** The device id (section 5). */
  readonly id: number;
  /** Numbers of the feature bits offered, besides those of every device. */
  readonly features: readonly number[];
  /** The largest size of each queue, a power of two up to 1024. */
  readonly queues: readonly number[];
  /** The device's own state at the start. */
  readonly state: S;
  /** Whether the driver's choice of features holds together. */
  accepts?(): boolean;
  /** The configuration space as it is now, little-endian. */
  config?(): Bytes;
  /** The driver writes to the configuration space. */
  configure?(offset: number, value: number, width: Width): void;
  /** Takes chains from a queue: after a notification, or when the device asked for it. */
  serve?(queue: Queue): void;
  /** Instead of `serve`: begins the request in a chain, or answers it at once with the number of bytes written. */
  start?(chain: Chain, queue: number): Started | number;
  /** The driver reset the device. */
  reset?(): void;
  /** As {@linkcode Device.refresh}. */
  refresh?(): void;
  /** As {@linkcode Device.events}. */
  readonly events?: Readonly<Record<string, (token: number, outcome: Plain) => void>>;
}

/** What a model may ask of the rest of its device. */
export interface VirtioPort<S extends Plain> {
  /** The model's own state; not to be kept across calls. */
  readonly state: S;
  /** Whether a driver is using the device. */
  readonly live: boolean;
  /** Its queues, in the order of the model's. */
  readonly queues: readonly Queue[];
  /** Whether the driver accepted a feature. */
  has(feature: number): boolean;
  /** Has a queue served, now or as soon as may be. */
  serve(queue: number): void;
  /** Tells the driver that the configuration space changed. */
  configChanged(): void;
}

/** The services a virtio device needs for itself. */
export type VirtioServices = Pick<CoreServices, "irq" | "dma" | "clock" | "inbox">;

/** A virtio device without its registers. */
export class VirtioDevice<S extends Plain> implements VirtioPort<S>, QueueOwner {
  readonly model: VirtioModel<S>;
  readonly queues: readonly Queue[];
  readonly dma: Dma;
  readonly events: Readonly<Record<string, (token: number, outcome: Plain) => void>>;
  /** As {@linkcode Device.state}: core may replace it. */
  root: VirtioState<S>;
  readonly #irq: IrqLine;
  readonly #inbox: InboxPort;
  readonly #clock: VirtioServices["clock"];
  readonly #offered: readonly [number, number];
  readonly #more: Alarm;
  /** What the host works on, by token; abandoned requests stay until the host is done with their memory. */
  readonly #issued: Map<number, Started> = new Map();
  #paused = false;
  #serving = false;
  /** The queues to be served, a bit each. */
  #wanted = 0;
  #budget = 0;

  constructor({ irq, dma, clock, inbox }: VirtioServices, build: (port: VirtioPort<S>) => VirtioModel<S>) {
    this.dma = dma;
    this.#irq = irq;
    this.#inbox = inbox;
    this.#clock = clock;
    this.#more = clock.alarm("more", () => this.#serveAll());
    this.model = build(this);
    this.queues = this.model.queues.map((maximum, index) => new Queue(index, maximum, this));
    this.#offered = words([...Object.values(FEATURE), ...this.model.features]);
    const events = { ...this.model.events, done: (token: number, outcome: Plain) => this.#done(token, outcome) };
    this.events = Object.fromEntries(
      Object.entries(events).map(([event, deliver]) => [
        event,
        (token: number, outcome: Plain) => this.#guard(() => deliver(token, outcome)),
      ]),
    );
    this.root = { ...this.#unbound(), configGeneration: 0, nextToken: 0, device: this.model.state };
  }

  // ---------------------------------------------------------------- for the model

  get state(): S {
    return this.root.device;
  }

  get live(): boolean {
    return (this.root.status & (LIVE | STATUS.DEVICE_NEEDS_RESET | STATUS.FAILED)) === LIVE;
  }

  has(feature: number): boolean {
    return (this.root.driverFeatures[feature >> 5] >>> (feature & 31) & 1) === 1;
  }

  serve(queue: number): void {
    this.#serve(1 << queue);
  }

  configChanged(): void {
    this.root.configGeneration = (this.root.configGeneration + 1) >>> 0;
    if (this.root.status & STATUS.DRIVER_OK) this.#interrupt(INTERRUPT.CONFIG_CHANGE);
  }

  // ---------------------------------------------------------------- for the queues

  get indirect(): boolean {
    return this.has(FEATURE.INDIRECT_DESC);
  }

  get eventIndex(): boolean {
    return this.has(FEATURE.EVENT_IDX);
  }

  queueState(index: number): QueueState {
    return this.root.queues[index];
  }

  mayTake(index: number): boolean {
    if (!this.live) return false;
    if (this.#budget > 0 && this.#issued.size < MAX_ISSUED) return true;
    this.#wanted |= 1 << index;
    return false;
  }

  spend(chain: Chain): void {
    this.#budget -= chain.descriptors + (chain.readable + chain.writable) / 1024;
  }

  interrupt(): void {
    this.#interrupt(INTERRUPT.USED_BUFFER);
  }

  // ---------------------------------------------------------------- for the transport

  /** A word of the features offered. */
  offered(word: number): number {
    return this.#offered[word] ?? 0;
  }

  /** The driver accepts features, a word at a time; too late once both agreed. */
  acceptFeatures(word: number, value: number): void {
    if (word < 2 && !(this.root.status & STATUS.FEATURES_OK)) this.root.driverFeatures[word] = value >>> 0;
  }

  /** The driver writes the device status; 0 resets the device. */
  setStatus(value: number): void {
    const state = this.root;
    if (value === 0) return this.#reset();
    const wasLive = this.live;
    let status = value & DRIVER_BITS;
    if (!(state.status & STATUS.FEATURES_OK) && !this.#agreed()) status &= ~STATUS.FEATURES_OK;
    state.status = status | (state.status & STATUS.DEVICE_NEEDS_RESET);
    if (!wasLive) this.#serveAll();
  }

  /** The driver starts or stops a queue. */
  enableQueue(index: number, ready: boolean): void {
    const state = this.root;
    const queue = state.queues[index];
    if (!queue || queue.ready === ready) return;
    if (!ready) {
      queue.ready = false;
      state.requests = state.requests.filter((request) => request.queue !== index);
      return;
    }
    this.#guard(() => this.queues[index].enable());
    this.serve(index);
  }

  /** The driver has seen interrupts. */
  acknowledge(interrupts: number): void {
    this.root.interruptStatus &= ~interrupts;
    this.#irq.set(this.root.interruptStatus !== 0);
  }

  /** As {@linkcode Device.refresh}: core has dropped all results that were to come. */
  refresh(): void {
    for (const started of this.#issued.values()) started.settle("error", false);
    this.#issued.clear();
    this.#wanted = 0;
    this.#irq.set(this.root.interruptStatus !== 0);
    this.model.refresh?.();
    this.#guard(() => this.#startAgain());
    this.#serveAll();
  }

  /** As {@linkcode Device.pause}. */
  pause(): void {
    this.#paused = true;
  }

  /** As {@linkcode Device.resume}. */
  resume(): void {
    this.#paused = false;
    this.#serveAll();
  }

  // ---------------------------------------------------------------- inside

  #agreed(): boolean {
    const { driverFeatures } = this.root;
    const offered = driverFeatures.every((word, i) => (word & ~this.#offered[i]) === 0);
    return offered && this.has(FEATURE.VERSION_1) && (this.model.accepts?.() ?? true);
  }

  #interrupt(reason: number): void {
    this.root.interruptStatus |= reason;
    this.#irq.set(true);
  }

  /** The state before a driver comes: all but what outlives a reset, as the host may still be busy with old requests. */
  #unbound(): Omit<VirtioState<S>, "configGeneration" | "nextToken" | "device"> {
    return {
      status: 0,
      deviceFeaturesSel: 0,
      driverFeaturesSel: 0,
      driverFeatures: [0, 0],
      queueSel: 0,
      interruptStatus: 0,
      queues: this.queues.map(idleQueue),
      requests: [],
      fault: "",
    };
  }

  #reset(): void {
    Object.assign(this.root, this.#unbound());
    this.#wanted = 0;
    this.#more.cancel();
    this.#irq.set(false);
    this.model.reset?.();
  }

  /** Does `act`; a driver's fault in it stops the device until the driver resets it. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (fault) {
      if (!(fault instanceof DriverFault || fault instanceof DmaFault)) throw fault;
      const state = this.root;
      state.fault = fault.message;
      state.status |= STATUS.DEVICE_NEEDS_RESET;
      state.requests = [];
      if (state.status & STATUS.DRIVER_OK) this.#interrupt(INTERRUPT.CONFIG_CHANGE);
    }
  }

  #serveAll(): void {
    this.#serve((1 << this.queues.length) - 1);
  }

  #serve(queues: number): void {
    this.#wanted |= queues;
    if (this.#serving || this.#paused) return;
    this.#serving = true;
    this.#budget = TURN_BUDGET;
    try {
      this.#guard(() => this.#serveWanted());
    } finally {
      this.#serving = false;
    }
  }

  #serveWanted(): void {
    while (this.#wanted !== 0 && this.live) {
      if (this.#budget <= 0) return this.#more.at(this.#clock.now);
      if (this.#issued.size >= MAX_ISSUED) return;
      const index = 31 - Math.clz32(this.#wanted);
      this.#wanted &= ~(1 << index);
      if (!this.root.queues[index]?.ready) continue;
      if (this.model.serve) this.model.serve(this.queues[index]);
      else this.#startRequests(this.queues[index]);
    }
  }

  #startRequests(queue: Queue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const { head } = chain;
      const started = this.model.start!(chain, queue.index);
      if (typeof started === "number") {
        queue.push(head, started);
        continue;
      }
      const token = this.root.nextToken;
      this.root.nextToken = (token + 1) >>> 0;
      this.root.requests.push({ token, queue: queue.index, head });
      this.#issue(token, started);
    }
  }

  #issue(token: number, started: Started): void {
    this.#issued.set(token, started);
    this.#inbox.complete("done", token, started.outcome);
  }

  #done(token: number, outcome: Plain): void {
    const started = this.#issued.get(token);
    if (!started) return;
    this.#issued.delete(token);
    const { requests } = this.root;
    const at = requests.findIndex((request) => request.token === token);
    const request = requests[at];
    const written = started.settle(outcome, request !== undefined);
    if (request) {
      requests.splice(at, 1);
      this.queues[request.queue].push(request.head, written);
    }
    if (this.#wanted !== 0) this.#serve(0);
  }

  /** Begins the requests in flight again, which are known by their heads. */
  #startAgain(): void {
    for (const { token, queue, head } of [...this.root.requests]) {
      const started = this.model.start!(this.queues[queue].walk(head), queue);
      this.#issue(token, typeof started === "number" ? { outcome: null, settle: () => started } : started);
    }
  }
}

function words(features: readonly number[]): [number, number] {
  const bits: [number, number] = [0, 0];
  for (const feature of features) bits[feature >> 5] |= 1 << (feature & 31);
  return [bits[0] >>> 0, bits[1] >>> 0];
}
