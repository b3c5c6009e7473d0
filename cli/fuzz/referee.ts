// Where a virtio device may write: read off the queues as a driver laid them out, by virtio 1.2 section 2.7, without
// the help of the device's own code.

import { REG } from "../../devices/virtio/registers.ts";
import type { Address, Width } from "../../mod.ts";
import { DESC, type DriverMemory } from "./virtio_driver.ts";

interface RefereeQueue {
  size: number;
  ready: boolean;
  /** Low and high halves of the rings' addresses, by register. */
  readonly halves: Map<number, number>;
}

const FIELDS: ReadonlySet<number> = new Set([
  ...[REG.QueueDescLow, REG.QueueDescHigh, REG.QueueDriverLow],
  ...[REG.QueueDriverHigh, REG.QueueDeviceLow, REG.QueueDeviceHigh],
]);

/** Descriptors looked at in one chain: more than any device follows. */
const MAX_CHAIN = 4096;

/** Follows a driver's register writes, and keeps a map of all bytes that it lent the device for writing. */
export class Referee {
  readonly #memory: DriverMemory;
  readonly #base: Address;
  /** 1 for every byte of RAM that the device may write. */
  readonly #permitted: Uint8Array;
  #queues = new Map<number, RefereeQueue>();
  #selected = 0;

  constructor(memory: DriverMemory, base: Address, size: number) {
    this.#memory = memory;
    this.#base = base;
    this.#permitted = new Uint8Array(size);
  }

  /** The machine or the driver reset the device: all that was lent is the driver's again, unless the host has it. */
  reset(hostIsBusy: boolean): void {
    this.#queues.clear();
    this.#selected = 0;
    if (!hostIsBusy) this.#permitted.fill(0);
  }

  /** The driver is about to write a register: what it lends by that counts from now on. */
  before(offset: number): void {
    if (offset === REG.QueueNotify || offset === REG.Status || offset === REG.QueueReady) this.#look();
  }

  /** The driver wrote a register; `read` reads one. Tells what the device should not have let the driver do. */
  after(offset: number, value: number, width: Width, read: (offset: number) => number): string | undefined {
    if (width !== 4) return undefined;
    if (offset === REG.QueueSel) this.#selected = value;
    const queue = this.#queue(this.#selected);
    if (offset === REG.QueueNum && !queue.ready) queue.size = value;
    if (FIELDS.has(offset) && !queue.ready) queue.halves.set(offset, value);
    if (offset !== REG.QueueReady) return undefined;
    const ready = read(REG.QueueReady) === 1;
    const started = ready && !queue.ready;
    queue.ready = ready;
    return started ? this.#fault(queue, read(REG.QueueNumMax)) : undefined;
  }

  /** What is wrong with a queue that was started (section 2.7). */
  #fault({ size, halves }: RefereeQueue, maximum: number): string | undefined {
    if (size < 1 || size > maximum || (size & (size - 1)) !== 0) {
      return `it starts a queue of ${size} entries, of at most ${maximum}`;
    }
    const rings = [[REG.QueueDescLow, 16], [REG.QueueDriverLow, 2], [REG.QueueDeviceLow, 4]] as const;
    const odd = rings.find(([low, alignment]) => (halves.get(low) ?? 0) % alignment !== 0);
    return odd && `it starts a queue with a ring at an address that is no multiple of ${odd[1]}`;
  }

  /** Whether the device may write there; what the driver has in its queues by now counts. */
  permits(at: Address, length: number): boolean {
    if (this.#holds(at, length)) return true;
    this.#look();
    return this.#holds(at, length);
  }

  #holds(at: Address, length: number): boolean {
    const offset = at - this.#base;
    return this.#permitted.subarray(offset, offset + length).indexOf(0) < 0;
  }

  #permit(at: Address, length: number): void {
    const start = Math.max(0, at - this.#base);
    this.#permitted.fill(1, start, Math.max(start, at - this.#base + length));
  }

  #queue(index: number): RefereeQueue {
    let queue = this.#queues.get(index);
    if (!queue) this.#queues.set(index, queue = { size: 0, ready: false, halves: new Map() });
    return queue;
  }

  #look(): void {
    for (const queue of this.#queues.values()) if (queue.size > 0 && queue.size <= 32768) this.#walkQueue(queue);
  }

  #walkQueue({ size, halves }: RefereeQueue): void {
    const at = (low: number): Address => (halves.get(low + 4) ?? 0) * 2 ** 32 + (halves.get(low) ?? 0);
    const [table, available, used] = [at(REG.QueueDescLow), at(REG.QueueDriverLow), at(REG.QueueDeviceLow)];
    this.#permit(used, 6 + 8 * size);
    const heads = new Set<number>();
    for (let slot = 0; slot < size; slot++) heads.add(this.#load(available + 4 + 2 * slot, 2) ?? size);
    for (const head of heads) this.#walkChain(table, size, head);
  }

  /** Permits the writable buffers of a chain, as far as it can be followed. */
  #walkChain(table: Address, size: number, index: number, indirect = false): void {
    for (let hops = 0; hops < Math.min(size, MAX_CHAIN) && index < size; hops++) {
      const slot = table + 16 * index;
      const [low, high, length] = [0, 4, 8].map((offset) => this.#load(slot + offset, 4));
      const flags = this.#load(slot + 12, 2);
      if (low === undefined || high === undefined || length === undefined || flags === undefined) return;
      const address = high * 2 ** 32 + low;
      if (flags & DESC.INDIRECT) {
        if (!indirect) this.#walkChain(address, Math.floor(length / 16), 0, true);
        return;
      }
      if (flags & DESC.WRITE) this.#permit(address, length);
      if (!(flags & DESC.NEXT)) return;
      index = this.#load(slot + 14, 2) ?? size;
    }
  }

  #load(at: Address, width: Width): number | undefined {
    const offset = at - this.#base;
    return offset >= 0 && offset + width <= this.#permitted.length ? this.#memory.load(at, width) : undefined;
  }
}
