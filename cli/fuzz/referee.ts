// Where a virtio device may write, and how it gives chains back: read off the queues as a driver laid them out, by
// virtio 1.2 section 2.7, without the help of the device's own code.

import { REG } from "../../devices/virtio/registers.ts";
import type { Address, Width } from "../../mod.ts";
import { DESC, type DriverMemory } from "./virtio_driver.ts";

const FIELDS: ReadonlySet<number> = new Set([
  ...[REG.QueueDescLow, REG.QueueDescHigh, REG.QueueDriverLow],
  ...[REG.QueueDriverHigh, REG.QueueDeviceLow, REG.QueueDeviceHigh],
]);

/** Descriptors looked at in one chain: more than any device follows. */
const MAX_CHAIN = 4096;

/** Ranges of addresses: the end of each by its beginning. */
class Ranges {
  readonly #ends: Map<Address, Address> = new Map();

  /** Adds one; whether it is new. */
  add(at: Address, length: number): boolean {
    if (length <= (this.#ends.get(at) ?? at) - at) return false;
    this.#ends.set(at, at + length);
    return true;
  }

  /** Takes away the one that begins there. */
  delete(at: Address): void {
    this.#ends.delete(at);
  }

  /** Whether one of them has a byte there. */
  touch(at: Address, length: number): boolean {
    for (const [start, end] of this.#ends) if (start < at + length && at < end) return true;
    return false;
  }

  /** Where the furthest of them ends that has the byte at `at`; `at` if none has. */
  reach(at: Address): Address {
    let furthest = at;
    for (const [start, end] of this.#ends) if (start <= at && end > furthest) furthest = end;
    return furthest;
  }
}

/** A chain that the device has. */
interface Chain {
  /** All that was ever writable in it while the device had it. */
  readonly lent: Ranges;
  /** The writable buffers, in order, as they were when it was first seen. */
  readonly buffers: readonly Buffer[];
  /** Whether the driver changed it meanwhile. */
  changed: boolean;
  /** The time when it was offered. */
  readonly since: number;
}

type Buffer = readonly [at: Address, length: number];

/** A queue as the driver set it up. */
class Queue {
  size = 0;
  ready = false;
  /** Low and high halves of the rings' addresses, by register. */
  readonly halves: Map<number, number> = new Map();
  /** The used ring's index as the device published it. */
  published = 0;
  /** The heads of the chains that the device has, by their positions in the available ring, the oldest first. */
  readonly offered: Map<number, number> = new Map();
  /** Positions from `published` on that the device gave back before older ones. */
  readonly returned: Set<number> = new Set();
  /** By head. */
  readonly chains: Map<number, Chain> = new Map();

  get table(): Address {
    return this.#at(REG.QueueDescLow);
  }
  get available(): Address {
    return this.#at(REG.QueueDriverLow);
  }
  get used(): Address {
    return this.#at(REG.QueueDeviceLow);
  }

  get rings(): readonly Buffer[] {
    const { size } = this;
    return [[this.table, 16 * size], [this.available, 6 + 2 * size], [this.used, 6 + 8 * size]];
  }

  #at(low: number): Address {
    return (this.halves.get(low + 4) ?? 0) * 2 ** 32 + (this.halves.get(low) ?? 0);
  }
}

/** Follows a driver's register writes, and knows which chains the device has. */
export class Referee {
  /** Changes when the driver takes back what the device has: by a reset, or by stopping a queue. */
  era = 0;
  readonly #memory: DriverMemory;
  readonly #base: Address;
  #queues = new Map<number, Queue>();
  #selected = 0;
  /** Rings and tables of descriptors. */
  #structures = new Ranges();
  /** All that was lent since the last reset. */
  #everLent = new Ranges();
  /**
   * The driver broke the rules, or lends the memory of its rings: nobody can tell which chains the device has. Until the
   * next reset whatever was offered stays so, and no chain that comes back is judged.
   */
  #tangled = false;
  /** The driver wrote to RAM since the queues were looked at. */
  #stale = false;
  /** For each byte of RAM when the device last wrote it: by a clock that each new chain moves on. */
  readonly #writtenAt: Uint32Array;
  #clock = 0;

  constructor(memory: DriverMemory, base: Address, size: number) {
    this.#memory = memory;
    this.#base = base;
    this.#writtenAt = new Uint32Array(size);
  }

  /** The machine or the driver reset the device: all that was lent is the driver's again. */
  reset(): void {
    this.era++;
    this.#queues.clear();
    this.#selected = 0;
    this.#structures = new Ranges();
    this.#everLent = new Ranges();
    this.#tangled = false;
  }

  /** The driver wrote to RAM. */
  changed(): void {
    this.#stale = true;
  }

  /** The device is about to do something: what the driver lends by now counts. */
  begins(): void {
    if (this.#stale) this.#look();
  }

  /** The driver is about to write a register: a queue that starts may be served at once. */
  before(offset: number, value: number): void {
    const queue = this.#queue(this.#selected);
    if (offset === REG.QueueReady && value !== 0 && !queue.ready) this.#open(queue);
  }

  /** The driver wrote a register; `read` reads one. Tells what the device should not have let the driver do. */
  after(offset: number, value: number, read: (offset: number) => number): string | undefined {
    if (offset === REG.QueueSel) this.#selected = value;
    const queue = this.#queue(this.#selected);
    if (offset === REG.QueueNum && !queue.ready) queue.size = value;
    if (FIELDS.has(offset) && !queue.ready) queue.halves.set(offset, value);
    if (offset !== REG.QueueReady || !queue.ready) return undefined;
    if (read(REG.QueueReady) !== 1) return this.#close(queue);
    return value === 0 ? undefined : this.#fault(queue, read(REG.QueueNumMax));
  }

  /** Whether the device may write there now. */
  permits(at: Address, length: number): boolean {
    this.begins();
    if (this.#holds(at, length)) return true;
    this.#look();
    return this.#holds(at, length);
  }

  /** The device wrote there. Tells what is wrong with the chains that it gives back by that. */
  wrote(at: Address, length: number): string | undefined {
    this.#writtenAt.fill(this.#clock, Math.max(0, at - this.#base), Math.max(0, at - this.#base + length));
    for (const queue of this.#queues.values()) {
      if (queue.ready && (at === queue.used + 2 && length === 2 || at === queue.used && length === 4)) {
        return this.#published(queue);
      }
    }
    return undefined;
  }

  // ---------------------------------------------------------------- queues

  #queue(index: number): Queue {
    let queue = this.#queues.get(index);
    if (!queue) this.#queues.set(index, queue = new Queue());
    return queue;
  }

  #open(queue: Queue): void {
    queue.ready = true;
    for (const [at, length] of queue.rings) {
      if (this.#structures.touch(at, length) || this.#everLent.touch(at, length)) this.#tangled = true;
      this.#structures.add(at, length);
    }
    this.#stale = true;
  }

  /** Forgets all of a queue but where the driver put it. */
  #close({ size, halves, rings }: Queue): undefined {
    this.era++;
    for (const [at] of rings) this.#structures.delete(at);
    this.#queues.set(this.#selected, Object.assign(new Queue(), { size, halves }));
  }

  /** What is wrong with a queue that was started (section 2.7). */
  #fault({ size, halves }: Queue, maximum: number): string | undefined {
    if (size < 1 || size > maximum || (size & (size - 1)) !== 0) {
      return `it starts a queue of ${size} entries, of at most ${maximum}`;
    }
    const rings = [[REG.QueueDescLow, 16], [REG.QueueDriverLow, 2], [REG.QueueDeviceLow, 4]] as const;
    const odd = rings.find(([low, alignment]) => (halves.get(low) ?? 0) % alignment !== 0);
    return odd && `it starts a queue with a ring at an address that is no multiple of ${odd[1]}`;
  }

  /** Looks at what is offered, and at what each chain that the device has lends it now. */
  #look(): void {
    this.#stale = false;
    for (const queue of this.#queues.values()) {
      if (!queue.ready || queue.size < 1 || queue.size > 32768) continue;
      this.#lookAtRing(queue);
      for (const [head, chain] of queue.chains) this.#lend(queue, head, chain);
    }
  }

  #lookAtRing(queue: Queue): void {
    const { size, available, published, offered, returned, chains } = queue;
    const index = this.#load(available + 2, 2);
    if (index === undefined) return;
    const count = (index - published) & 0xffff;
    if (count > size) this.#tangled = true;
    for (let i = 0; i < (this.#tangled ? size : count); i++) {
      const position = (published + i) & 0xffff;
      const head = this.#load(available + 4 + 2 * (position % size), 2);
      if (head === undefined || !this.#tangled && returned.has(position)) continue;
      // An entry of the ring is not to be changed before its chain came back.
      if ((offered.get(position) ?? head) !== head) this.#tangled = true;
      offered.set(position, head);
      if (chains.has(head)) continue;
      chains.set(head, {
        lent: new Ranges(),
        buffers: this.#walk(queue, head),
        changed: false,
        since: ++this.#clock,
      });
    }
  }

  /** The device has what a chain holds now, beside what it held before. */
  #lend(queue: Queue, head: number, chain: Chain): void {
    const buffers = this.#walk(queue, head);
    chain.changed ||= String(buffers) !== String(chain.buffers);
    for (const [at, length] of buffers) {
      chain.lent.add(at, length);
      if (this.#everLent.add(at, length) && this.#structures.touch(at, length)) this.#tangled = true;
    }
  }

  /** The writable buffers of a chain, as far as it can be followed. */
  #walk(queue: Queue, head: number): Buffer[] {
    const buffers: Buffer[] = [];
    let { table, size } = queue;
    let indirect = false;
    for (let index = head, hops = 0; hops < Math.min(size, MAX_CHAIN) && index < size; hops++) {
      const slot = table + 16 * index;
      const [low, high, length] = [0, 4, 8].map((offset) => this.#load(slot + offset, 4));
      const flags = this.#load(slot + 12, 2);
      if (low === undefined || high === undefined || length === undefined || flags === undefined) break;
      const address = high * 2 ** 32 + low;
      if (flags & DESC.INDIRECT) {
        if (indirect) break;
        indirect = true;
        [table, size, index, hops] = [address, Math.floor(length / 16), 0, -1];
        if (this.#structures.add(table, 16 * size) && this.#everLent.touch(table, 16 * size)) this.#tangled = true;
        continue;
      }
      if (flags & DESC.WRITE) buffers.push([address, length]);
      if (!(flags & DESC.NEXT)) break;
      index = this.#load(slot + 14, 2) ?? size;
    }
    return buffers;
  }

  #holds(at: Address, length: number): boolean {
    const end = at + length;
    for (let reached = at; reached < end;) {
      const further = this.#reach(reached);
      if (further === reached) return false;
      reached = further;
    }
    return true;
  }

  /** How far memory goes that the device has, from `at` on. */
  #reach(at: Address): Address {
    let furthest = at;
    for (const { ready, used, size, chains } of this.#queues.values()) {
      if (ready && used <= at) furthest = Math.max(furthest, used + 6 + 8 * size);
      for (const { lent } of chains.values()) furthest = Math.max(furthest, lent.reach(at));
    }
    return furthest;
  }

  // ---------------------------------------------------------------- chains that come back

  #published(queue: Queue): string | undefined {
    const { size, used, offered, returned, published } = queue;
    const index = this.#load(used + 2, 2) ?? published;
    const count = (index - published) & 0xffff;
    queue.published = index;
    if (this.#tangled) return undefined;
    if (count > offered.size) return `it gives back ${count} chains, and has ${offered.size}`;
    for (let i = 0; i < count; i++) {
      const entry = used + 4 + 8 * ((published + i) % size);
      const complaint = this.#comesBack(queue, this.#load(entry, 4) ?? size, this.#load(entry + 4, 4) ?? 0);
      if (complaint) return complaint;
    }
    for (const position of returned) if (((position - index) & 0xffff) >= 0x8000) returned.delete(position);
    return undefined;
  }

  /** A chain is the driver's again, of which the device says that it wrote so many bytes (section 2.7.8). */
  #comesBack({ offered, returned, chains }: Queue, head: number, written: number): string | undefined {
    const [oldest, ...others] = [...offered].filter(([, each]) => each === head);
    if (!oldest) return `it gives back a chain that begins with descriptor ${head}, and has none`;
    offered.delete(oldest[0]);
    returned.add(oldest[0]);
    const { buffers, changed, since } = chains.get(head)!;
    if (others.length === 0) chains.delete(head);
    if (changed) return undefined;
    const writable = buffers.reduce((sum, [, length]) => sum + length, 0);
    if (written > writable) {
      return `it says that it wrote ${written} bytes to a chain that has ${writable} to be written`;
    }
    let left = written;
    for (const [at, length] of buffers) {
      const part = Math.min(length, left);
      const start = at - this.#base;
      if (this.#writtenAt.subarray(start, start + part).some((time) => time < since)) {
        return `it says that it wrote ${written} bytes to a chain, and did not write all of them`;
      }
      left -= part;
    }
    return undefined;
  }

  #load(at: Address, width: Width): number | undefined {
    const offset = at - this.#base;
    return offset >= 0 && offset + width <= this.#writtenAt.length ? this.#memory.load(at, width) : undefined;
  }
}
