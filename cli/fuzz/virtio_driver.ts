// The driver's side of virtio over MMIO, of a split virtqueue: virtio 1.2 sections 2.7, 3.1 and 4.2.

import { REG } from "../../devices/virtio/registers.ts";
import type { Address, Bytes, Dma, Region, Width } from "../../mod.ts";

/** What the first two registers read. */
export const IDENTITY = { magic: 0x74726976, version: 2 } as const;

/** Bits of the device status field (section 2.1). */
export const STATUS = { ACKNOWLEDGE: 1, DRIVER: 2, DRIVER_OK: 4, FEATURES_OK: 8, NEEDS_RESET: 64 } as const;

const FEATURE_EVENT_IDX = 29;
const INTERRUPT = { USED_BUFFER: 1, CONFIG_CHANGE: 2 } as const;

/** Where RAM begins, unless a driver is told otherwise. */
const RAM_BASE = 0x8000_0000;

/** Guest RAM as a driver uses it. */
export type DriverMemory = Pick<Dma, "load" | "store" | "read" | "write">;

/** A device as a driver reaches it: its first region. */
export interface Registers {
  readonly regions: readonly Pick<Region, "read" | "write">[];
}

/** Flags of a descriptor. */
export const DESC = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** A buffer of a chain, by its address in RAM. */
export interface Buffer {
  readonly at: Address;
  readonly length: number;
  readonly writable: boolean;
}

/** A chain as it was added. */
export interface Added {
  readonly head: number;
  /** The addresses of the writable buffers, in order. */
  readonly writable: readonly Address[];
}

/** Drives one device through its registers and through RAM. */
export class VirtioDriver {
  readonly dma: DriverMemory;
  queues: DriverQueue[] = [];
  readonly #device: Registers;
  readonly #begin: Address;
  #free: Address;

  /** `begin`: where in RAM the driver may put its rings and buffers. */
  constructor(device: Registers, dma: DriverMemory, begin: Address = RAM_BASE) {
    this.#device = device;
    this.dma = dma;
    this.#begin = this.#free = begin;
  }

  read(register: number, width: Width = 4): number {
    return this.#device.regions[0].read(register, width) >>> 0;
  }

  write(register: number, value: number, width: Width = 4): void {
    this.#device.regions[0].write(register, value >>> 0, width);
  }

  /** Reads configuration space, as numbers of the given width. */
  config(offset: number, width: Width): number {
    return this.read(REG.Config + offset, width);
  }

  /** The numbers of the features the device offers. */
  offered(): number[] {
    const bits: number[] = [];
    for (const word of [0, 1]) {
      this.write(REG.DeviceFeaturesSel, word);
      const value = this.read(REG.DeviceFeatures);
      for (let bit = 0; bit < 32; bit++) if (value >>> bit & 1) bits.push(word * 32 + bit);
    }
    return bits;
  }

  /** Accepts features; whether the device agreed. */
  negotiate(features: readonly number[]): boolean {
    this.write(REG.Status, 0);
    this.write(REG.Status, STATUS.ACKNOWLEDGE);
    this.write(REG.Status, STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    for (const word of [0, 1]) {
      const value = features.filter((bit) => bit >> 5 === word).reduce((sum, bit) => sum | 1 << (bit & 31), 0);
      this.write(REG.DriverFeaturesSel, word);
      this.write(REG.DriverFeatures, value);
    }
    this.write(REG.Status, STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
    return (this.read(REG.Status) & STATUS.FEATURES_OK) !== 0;
  }

  /**
   * Resets the device and brings it up, with all features offered but `without`, and queues of the given sizes; not
   * quite up with `live: false`, for {@linkcode goLive}.
   */
  start(
    { without = [], sizes = [], live = true }: {
      without?: readonly number[];
      sizes?: readonly number[];
      live?: boolean;
    } = {},
  ): this {
    this.#free = this.#begin;
    const features = this.offered().filter((bit) => !without.includes(bit));
    if (!this.negotiate(features)) throw new Error("the device refused the features");
    this.queues = [];
    for (let index = 0;; index++) {
      this.write(REG.QueueSel, index);
      const maximum = this.read(REG.QueueNumMax);
      if (maximum === 0) break;
      this.queues.push(new DriverQueue(this, index, sizes[index] ?? Math.min(16, maximum), features));
    }
    if (live) this.goLive();
    return this;
  }

  /** Tells the device to begin. */
  goLive(): void {
    this.write(REG.Status, this.read(REG.Status) | STATUS.DRIVER_OK);
  }

  /** Whether the device said that it needs a reset. */
  get broken(): boolean {
    return (this.read(REG.Status) & STATUS.NEEDS_RESET) !== 0;
  }

  /** Reads and acknowledges the interrupts. */
  interrupts(): { used: boolean; config: boolean } {
    const status = this.read(REG.InterruptStatus);
    this.write(REG.InterruptACK, status);
    return { used: (status & INTERRUPT.USED_BUFFER) !== 0, config: (status & INTERRUPT.CONFIG_CHANGE) !== 0 };
  }

  /** Takes zeroed RAM for a ring or a buffer. */
  allocate(length: number, alignment = 16): Address {
    const at = Math.ceil(this.#free / alignment) * alignment;
    this.#free = at + length;
    this.dma.write(at, new Uint8Array(length));
    return at;
  }

  /** Puts bytes into RAM. */
  place(bytes: Bytes): Buffer {
    const at = this.allocate(bytes.length, 1);
    this.dma.write(at, bytes);
    return { at, length: bytes.length, writable: false };
  }

  /** A copy of RAM. */
  bytes(at: Address, length: number): Bytes {
    const into = new Uint8Array(length);
    this.dma.read(at, into);
    return into;
  }
}

/** The driver's side of one split virtqueue. */
export class DriverQueue {
  readonly desc: Address;
  readonly avail: Address;
  readonly used: Address;
  /** As in the used ring: completions seen, modulo 2^16. */
  seen = 0;
  /** As in the available ring: chains added, modulo 2^16. */
  added = 0;
  readonly #driver: VirtioDriver;
  readonly #eventIndex: boolean;
  readonly #free: number[];
  readonly #chains: Map<number, number[]> = new Map();
  #kicked = 0;

  constructor(driver: VirtioDriver, readonly index: number, readonly size: number, features: readonly number[]) {
    this.#driver = driver;
    this.#eventIndex = features.includes(FEATURE_EVENT_IDX);
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.desc = driver.allocate(16 * size);
    this.avail = driver.allocate(6 + 2 * size, 2);
    this.used = driver.allocate(6 + 8 * size, 4);
    driver.write(REG.QueueSel, index);
    driver.write(REG.QueueNum, size);
    for (
      const [low, at] of [
        [REG.QueueDescLow, this.desc],
        [REG.QueueDriverLow, this.avail],
        [REG.QueueDeviceLow, this.used],
      ]
    ) {
      driver.write(low, at % 2 ** 32);
      driver.write(low + 4, Math.floor(at / 2 ** 32));
    }
    driver.write(REG.QueueReady, 1);
  }

  /** Makes a chain available: bytes to be read, then room of the given sizes to be written. Does not notify. */
  add(readable: readonly Bytes[], writable: readonly number[] = [], { indirect = false } = {}): Added {
    const driver = this.#driver;
    const buffers: Buffer[] = [
      ...readable.map((bytes) => driver.place(bytes)),
      ...writable.map((length) => ({ at: driver.allocate(length, 1), length, writable: true })),
    ];
    return {
      head: this.addBuffers(buffers, indirect),
      writable: buffers.filter((buffer) => buffer.writable).map((buffer) => buffer.at),
    };
  }

  /** Makes a chain of the given buffers available. */
  addBuffers(buffers: readonly Buffer[], indirect = false): number {
    const dma = this.#driver.dma;
    const taken = this.#take(indirect ? 1 : buffers.length);
    let table = this.desc;
    let slots = taken;
    if (indirect) {
      table = this.#driver.allocate(16 * buffers.length);
      slots = buffers.map((_, i) => i);
      this.describe(this.desc, taken[0], table, 16 * buffers.length, DESC.INDIRECT, 0);
    }
    for (const [i, { at, length, writable }] of buffers.entries()) {
      const next = slots[i + 1];
      const flags = (writable ? DESC.WRITE : 0) | (next === undefined ? 0 : DESC.NEXT);
      this.describe(table, slots[i], at, length, flags, next ?? 0);
    }
    this.#chains.set(taken[0], taken);
    dma.store(this.avail + 4 + 2 * (this.added % this.size), taken[0], 2);
    this.added = (this.added + 1) & 0xffff;
    dma.store(this.avail + 2, this.added, 2);
    return taken[0];
  }

  /** Writes one descriptor of a table. */
  describe(table: Address, index: number, at: number | bigint, length: number, flags: number, next: number): void {
    const dma = this.#driver.dma;
    const slot = table + 16 * index;
    const address = BigInt(at);
    dma.store(slot, Number(address & 0xffff_ffffn), 4);
    dma.store(slot + 4, Number(address >> 32n), 4);
    dma.store(slot + 8, length, 4);
    dma.store(slot + 12, flags, 2);
    dma.store(slot + 14, next, 2);
  }

  /** Makes descriptor `head` available, whatever it holds. */
  offer(head: number): void {
    const dma = this.#driver.dma;
    dma.store(this.avail + 4 + 2 * (this.added % this.size), head, 2);
    this.added = (this.added + 1) & 0xffff;
    dma.store(this.avail + 2, this.added, 2);
  }

  /** Notifies the device, unless it asked not to be; whether it was notified. */
  kick(): boolean {
    const before = this.#kicked;
    this.#kicked = this.added;
    if (this.#eventIndex) {
      const event = this.#driver.dma.load(this.used + 4 + 8 * this.size, 2);
      if (((event - before) & 0xffff) >= ((this.added - before) & 0xffff)) return false;
    }
    this.notify();
    return true;
  }

  /** Notifies the device. */
  notify(): void {
    this.#driver.write(REG.QueueNotify, this.index);
  }

  /** Asks for an interrupt at the next completion but `later`. */
  wantInterrupt(later = 0): void {
    const dma = this.#driver.dma;
    if (this.#eventIndex) dma.store(this.avail + 4 + 2 * this.size, (this.seen + later) & 0xffff, 2);
    else dma.store(this.avail, 0, 2);
  }

  /** Asks for no interrupts. */
  refuseInterrupts(): void {
    const dma = this.#driver.dma;
    if (this.#eventIndex) dma.store(this.avail + 4 + 2 * this.size, (this.seen - 1) & 0xffff, 2);
    else dma.store(this.avail, 1, 2);
  }

  /** Takes what the device has completed, and frees the descriptors. */
  completed(): { head: number; written: number }[] {
    const dma = this.#driver.dma;
    const done: { head: number; written: number }[] = [];
    for (; this.seen !== dma.load(this.used + 2, 2); this.seen = (this.seen + 1) & 0xffff) {
      const entry = this.used + 4 + 8 * (this.seen % this.size);
      const head = dma.load(entry, 4);
      done.push({ head, written: dma.load(entry + 4, 4) });
      const chain = this.#chains.get(head);
      if (!chain) continue;
      this.#chains.delete(head);
      this.#free.push(...chain.reverse());
    }
    this.wantInterrupt();
    return done;
  }

  #take(count: number): number[] {
    if (count > this.#free.length) throw new Error(`queue ${this.index} is full`);
    return Array.from({ length: count }, () => this.#free.pop()!);
  }
}
