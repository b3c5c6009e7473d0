// The device's side of a split virtqueue: virtio 1.2 section 2.7.

import type { Address, Dma } from "../../core/plugin.ts";
import { Chain, type DescriptorTable, DriverFault } from "./chain.ts";

const DESCRIPTOR_SIZE = 16;
const AVAIL = { FLAGS: 0, IDX: 2, RING: 4, ENTRY: 2 } as const;
const USED = { IDX: 2, RING: 4, ENTRY: 8 } as const;
const AVAIL_NO_INTERRUPT = 1;

/** A queue as the driver set it up, and how far the device came. */
export type QueueState = {
  /** Entries, a power of two. */
  size: number;
  ready: boolean;
  descLow: number;
  descHigh: number;
  driverLow: number;
  driverHigh: number;
  deviceLow: number;
  deviceHigh: number;
  /** The available ring's index of the chain to be taken next, modulo 2^16. */
  nextAvail: number;
  /** The used ring's index to be filled next, modulo 2^16. */
  nextUsed: number;
  /** Chains taken and not yet given back. */
  inFlight: number;
};

/** A queue before the driver set it up. */
export function idleQueue(): QueueState {
  return {
    size: 0,
    ready: false,
    descLow: 0,
    descHigh: 0,
    driverLow: 0,
    driverHigh: 0,
    deviceLow: 0,
    deviceHigh: 0,
    nextAvail: 0,
    nextUsed: 0,
    inFlight: 0,
  };
}

/** What a queue needs of its device. */
export interface QueueOwner {
  readonly dma: Dma;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  queueState(index: number): QueueState;
  /** Whether chains may be taken now. */
  mayTake(index: number): boolean;
  /** Accounts for the work that a chain makes. */
  spend(chain: Chain): void;
  /** Tells the driver that buffers were used. */
  interrupt(): void;
}

/** The device's view of one virtqueue. All that must last is in its {@linkcode QueueState}. */
export class Queue {
  readonly #owner: QueueOwner;
  readonly #chain: Chain;

  /**
   * Made by the device.
   * @internal
   */
  constructor(
    readonly index: number,
    /** The most entries a driver may ask for. */
    readonly maximum: number,
    owner: QueueOwner,
  ) {
    this.#owner = owner;
    this.#chain = new Chain(owner.dma);
  }

  /** Entries, as the driver chose. */
  get size(): number {
    return this.#state.size;
  }

  /** Starts the queue with what the driver set up. Throws a {@linkcode DriverFault} or a `DmaFault`. */
  enable(): void {
    const state = this.#state;
    const { size } = state;
    if (size < 1 || size > this.maximum || (size & (size - 1)) !== 0) {
      throw new DriverFault(`a queue of ${size} entries`);
    }
    const rings: [Address, number, number][] = [
      [descriptors(state), size * DESCRIPTOR_SIZE, 16],
      [available(state), AVAIL.RING + size * AVAIL.ENTRY + 2, 2],
      [used(state), USED.RING + size * USED.ENTRY + 2, 4],
    ];
    for (const [at, length, alignment] of rings) {
      if (at % alignment !== 0) throw new DriverFault(`a ring at 0x${at.toString(16)}`);
      this.#owner.dma.load(at, 1);
      this.#owner.dma.load(at + length - 1, 1);
    }
    state.ready = true;
    state.nextAvail = state.nextUsed = state.inFlight = 0;
  }

  /** Whether a chain waits to be taken. If none does, the driver is asked to notify when it adds one. */
  waiting(): boolean {
    const state = this.#state;
    if (!state.ready) return false;
    if (this.#backlog(state) > 0) return true;
    if (!this.#owner.eventIndex) return false;
    this.#owner.dma.store(used(state) + USED.RING + state.size * USED.ENTRY, state.nextAvail, 2);
    // The driver may have added one before it could see that a notification is wanted.
    return this.#backlog(state) > 0;
  }

  /** Takes the next chain the driver made available, if there is one and the device's turn is not over. */
  pop(): Chain | undefined {
    const owner = this.#owner;
    if (!owner.mayTake(this.index) || !this.waiting()) return undefined;
    const state = this.#state;
    const slot = available(state) + AVAIL.RING + (state.nextAvail % state.size) * AVAIL.ENTRY;
    const chain = this.walk(owner.dma.load(slot, 2));
    state.nextAvail = (state.nextAvail + 1) & 0xffff;
    state.inFlight++;
    owner.spend(chain);
    return chain;
  }

  /** Walks a chain that was taken before, again. */
  walk(head: number): Chain {
    const state = this.#state;
    const table: DescriptorTable = { at: descriptors(state), size: state.size, indirect: this.#owner.indirect };
    this.#chain.walk(table, head);
    return this.#chain;
  }

  /** Puts the last `count` chains taken back, to be taken again. */
  rewind(count: number): void {
    const state = this.#state;
    state.nextAvail = (state.nextAvail - count) & 0xffff;
    state.inFlight -= count;
  }

  /** Gives a chain back to the driver; `written` is how many of its writable bytes, from the first on, were written. */
  push(head: number, written: number): void {
    this.put(0, head, written);
    this.publish(1);
  }

  /** Prepares the `ahead`-th of several used chains that {@linkcode publish} gives back at once. */
  put(ahead: number, head: number, written: number): void {
    const state = this.#state;
    const at = used(state) + USED.RING + ((state.nextUsed + ahead) % state.size) * USED.ENTRY;
    this.#owner.dma.store(at, head, 4);
    this.#owner.dma.store(at + 4, written, 4);
  }

  /** Gives `count` prepared chains back to the driver, and interrupts it if it wants that. */
  publish(count: number): void {
    const state = this.#state;
    const { dma } = this.#owner;
    const before = state.nextUsed;
    state.nextUsed = (before + count) & 0xffff;
    state.inFlight -= count;
    dma.store(used(state) + USED.IDX, state.nextUsed, 2);
    if (this.#wantsInterrupt(state, before, count)) this.#owner.interrupt();
  }

  get #state(): QueueState {
    return this.#owner.queueState(this.index);
  }

  /** How many chains wait to be taken. */
  #backlog(state: QueueState): number {
    const count = (this.#owner.dma.load(available(state) + AVAIL.IDX, 2) - state.nextAvail) & 0xffff;
    if (count + state.inFlight > state.size) throw new DriverFault(`queue ${this.index} holds more than its size`);
    return count;
  }

  #wantsInterrupt(state: QueueState, before: number, count: number): boolean {
    const { dma, eventIndex } = this.#owner;
    const ring = available(state);
    if (!eventIndex) return (dma.load(ring + AVAIL.FLAGS, 2) & AVAIL_NO_INTERRUPT) === 0;
    const usedEvent = dma.load(ring + AVAIL.RING + state.size * AVAIL.ENTRY, 2);
    return ((usedEvent - before) & 0xffff) < count;
  }
}

function descriptors(state: QueueState): Address {
  return state.descHigh * 2 ** 32 + state.descLow;
}

function available(state: QueueState): Address {
  return state.driverHigh * 2 ** 32 + state.driverLow;
}

function used(state: QueueState): Address {
  return state.deviceHigh * 2 ** 32 + state.deviceLow;
}
