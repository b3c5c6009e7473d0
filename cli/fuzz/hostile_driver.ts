// A virtio driver that follows no rule: queues, rings, descriptors and headers of every kind.

import { REG } from "../../devices/virtio/registers.ts";
import type { Address } from "../../mod.ts";
import { type Bench, RAM_BASE, RAM_SIZE } from "./bench.ts";
import type { Random } from "./random.ts";
import { DESC, type DriverQueue, VirtioDriver } from "./virtio_driver.ts";

/** Below: the rings of a proper start, and what is placed for requests. */
const BUFFERS = RAM_BASE + 0x60000;
const TABLES = RAM_BASE + 0xc0000;
const HEADERS = RAM_BASE + 0xf0000;
const RAM_END = RAM_BASE + RAM_SIZE;
const NOT_RAM = [0, 0x1000_1000, RAM_BASE - 1, RAM_END - 1, RAM_END, 0xffff_ffff_ffff_ffffn, 2n ** 63n];
/** The largest queue set up with many entries. */
const QUEUE_SIZES = [1, 2, 4, 8, 8, 16, 16, 64];
/** Descriptors of a chain and bytes of each: much of both, up to as much as a disk takes at once. */
const HEAVY = [[1024, 16], [1024, 0x1000], [256, 0x10000], [16, 0x40000], [66, 0x40000]] as const;

/** Drives a device on its bench, badly and well. */
export class HostileDriver {
  readonly #bench: Bench;
  readonly #driver: VirtioDriver;
  #started = false;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#driver = new VirtioDriver(bench.registers, bench.memory);
  }

  /** Does one thing. */
  act(random: Random): void {
    if (!this.#started || random.oneIn(16) || (this.#driver.broken && !random.oneIn(4))) return this.#start(random);
    const queue = random.pick(this.#driver.queues);
    if (!queue) return;
    switch (random.below(15)) {
      case 0:
        return this.#driver.write(random.below(0x40) * 4, random.pick([0, 1, 2, 7, 0xffff_ffff]));
      case 1:
        this.#driver.config(random.below(0x100), random.pick([1, 2, 4]));
        return this.#driver.write(REG.Config + random.below(64) * 4, random.below(2 ** 32));
      case 2:
        this.#store(queue.avail + 2, random.pick([0, 1, queue.size, queue.size + 1, 0x8000, 0xffff]), 2);
        return queue.notify();
      case 3:
      case 4:
        for (let i = 0; i < queue.size; i++) this.#describe(queue, queue.desc, i, queue.size, random);
        this.#offer(queue, random.below(queue.size + 1));
        return queue.notify();
      case 5:
        return this.#offerTable(queue, random);
      case 6:
        return this.#moveRings(queue, random);
      case 7:
        if (random.oneIn(4)) return this.#overload(queue, random);
        return random.oneIn(2) ? queue.wantInterrupt(random.below(3)) : queue.refuseInterrupts();
      case 8:
        this.#driver.interrupts();
        for (const each of this.#driver.queues) if (this.#lies(each)) each.completed();
        return;
      case 9:
        // The device may be in the middle of this chain.
        return this.#driver.dma.store(
          queue.desc + 16 * random.below(queue.size) + 8,
          random.pick([0, 1, 100, 70_000]),
          4,
        );
      case 10:
        this.#driver.write(REG.Status, random.below(256));
        return;
      default:
        return this.#offerOrdinary(queue, random);
    }
  }

  /** Resets the device and sets it up, mostly properly. */
  #start(random: Random): void {
    const driver = this.#driver;
    const all = driver.offered();
    const without = all.filter((feature) => feature !== 32 && random.oneIn(4));
    driver.write(REG.Status, 0);
    const sizes = Array.from({ length: 16 }, () => random.pick(QUEUE_SIZES));
    if (!driver.negotiate(all.filter((feature) => !without.includes(feature)))) {
      // Features that need each other: without offloads there are none of those.
      without.push(...all.filter((feature) => feature < 24 || feature >= 50));
      if (!driver.negotiate(all.filter((feature) => !without.includes(feature)))) return;
    }
    driver.start({ without, sizes });
    this.#started = true;
  }

  /** Whether what the driver believes to be its used ring is where it put it; a hostile one may have lost it. */
  #lies(queue: DriverQueue): boolean {
    return ((this.#driver.dma.load(queue.used + 2, 2) - queue.seen) & 0xffff) <= queue.size;
  }

  /** A descriptor of any kind. */
  #describe(queue: DriverQueue, table: Address, index: number, size: number, random: Random): void {
    const flags = random.pick([
      0,
      0,
      DESC.NEXT,
      DESC.NEXT,
      DESC.NEXT,
      DESC.INDIRECT,
      DESC.INDIRECT | DESC.NEXT,
      0xfff8,
    ]);
    const length = random.pick([
      0,
      1,
      11,
      12,
      16,
      17,
      512,
      513,
      528,
      random.below(4096),
      random.below(0x10000),
      2 ** 32 - 1,
    ]);
    const next = random.pick([index + 1, index + 1, index + 1, random.below(size + 1), 0xffff]);
    const at = random.below(8) > 0
      ? random.pick([BUFFERS, TABLES - 16, BUFFERS + 0x30000]) + random.below(16)
      : random.pick(NOT_RAM);
    queue.describe(table, index, at, length, flags | (random.oneIn(2) ? DESC.WRITE : 0), next & 0xffff);
  }

  /** An indirect table of anything, of any length. */
  #offerTable(queue: DriverQueue, random: Random): void {
    const table = TABLES + random.below(64) * 16;
    for (let i = 0; i < 16; i++) this.#describe(queue, table, i, 16, random);
    const length = random.pick([0, 8, 16, 24, 64, 256, 256, 256, 0x10000, 0xffff_fff0]);
    queue.describe(queue.desc, 0, table, length, DESC.INDIRECT | random.pick([0, 0, 0, DESC.NEXT, DESC.WRITE]), 0);
    this.#offer(queue, 0);
    queue.notify();
  }

  /** A chain as a driver might mean it: a header, data either way, a status byte. */
  #offerOrdinary(queue: DriverQueue, random: Random): void {
    const header = HEADERS + random.below(16) * 64;
    const buffers = random.oneIn(2) ? this.#diskRequest(header, random) : this.#anyRequest(header, random);
    const chain = buffers.slice(0, queue.size);
    const first = random.below(queue.size - chain.length + 1);
    for (const [i, [at, length, flags]] of chain.entries()) {
      queue.describe(queue.desc, first + i, at, length, flags | (i + 1 < chain.length ? DESC.NEXT : 0), first + i + 1);
    }
    for (let times = random.pick([1, 1, 1, 2, queue.size]); times > 0; times--) this.#offer(queue, first);
    if (!random.oneIn(8)) queue.notify();
  }

  /** A disk's: a type, a sector that there may be, data and a status byte, mostly of the right sizes. */
  #diskRequest(header: Address, random: Random): [Address, number, number][] {
    const bytes = new Uint8Array(32);
    const type = random.pick([0, 0, 1, 1, 4, 8, 11, 13, 34]);
    bytes[0] = type;
    bytes.set([random.below(256), random.below(9), random.oneIn(16) ? 255 : 0], 8);
    bytes.set([random.below(256), random.below(9)], 16);
    bytes[24] = random.pick([1, 8, 0xff]);
    bytes[28] = random.pick([0, 0, 1, 2]);
    this.#driver.dma.write(header, bytes);
    const size = random.oneIn(8) ? random.below(2000) : random.pick([512, 1024, 4096, 40_448]);
    const buffers: [Address, number, number][] = [[header, type > 8 ? 32 : random.oneIn(16) ? 12 : 16, 0]];
    if (type === 1) buffers.push([BUFFERS + random.below(0x40000), size, 0]);
    else if (type < 11) buffers.push([BUFFERS + random.below(0x40000), type === 8 ? 20 : size, DESC.WRITE]);
    if (!random.oneIn(8)) buffers.push([BUFFERS + random.below(0x5fff0), 1, DESC.WRITE]);
    return buffers;
  }

  /** A header of any kind, data either way, perhaps a status byte. */
  #anyRequest(header: Address, random: Random): [Address, number, number][] {
    const bytes = Uint8Array.from({ length: 16 }, () => random.pick([0, 0, 0, 0, 1, 3, 4, 5, 8, 11, 13, 34, 255]));
    this.#driver.dma.write(header, bytes);
    const buffers: [Address, number, number][] = [[header, random.pick([2, 12, 16, 32]), 0]];
    if (random.oneIn(2)) buffers.push([header + 16, random.pick([16, 60, 512, 1500, 9000, 40_000]), 0]);
    if (!random.oneIn(4)) {
      buffers.push([BUFFERS + random.below(0x40000), random.pick([1, 512, 1024, 4096, 0x10000]), DESC.WRITE]);
    }
    if (!random.oneIn(4)) buffers.push([BUFFERS + random.below(0x5fff0), 1, DESC.WRITE]);
    return buffers;
  }

  /** Has a queue's rings anywhere, also where no rings can be. */
  #moveRings(queue: DriverQueue, random: Random): void {
    const driver = this.#driver;
    driver.write(REG.QueueSel, queue.index);
    driver.write(REG.QueueReady, 0);
    driver.write(REG.QueueNum, random.pick([queue.size, queue.size, 0, 3, 0x8000, 0xffff_ffff]));
    for (const low of [REG.QueueDescLow, REG.QueueDriverLow, REG.QueueDeviceLow]) {
      const inside = BigInt(random.pick([BUFFERS, TABLES, RAM_BASE, queue.desc]) + random.pick([0, 0, 0, 1, 2, 4, 16]));
      const at = random.oneIn(4) ? BigInt(random.pick(NOT_RAM)) : inside;
      driver.write(low, Number(at & 0xffff_ffffn));
      driver.write(low + 4, Number(at >> 32n));
    }
    driver.write(REG.QueueReady, 1);
    if (!random.oneIn(4)) queue.notify();
  }

  /** As much work as one notification can ask for: long chains of large buffers, as often as the ring takes them. */
  #overload(queue: DriverQueue, random: Random): void {
    const [count, length] = random.pick(HEAVY);
    const writable = random.oneIn(2) ? DESC.WRITE : 0;
    for (let i = 0; i < count; i++) {
      const first = i === 0;
      const last = i + 1 === count;
      const flags = (first ? 0 : last ? DESC.WRITE : writable) | (last ? 0 : DESC.NEXT);
      queue.describe(TABLES, i, first ? HEADERS : BUFFERS, first ? 16 : last ? 1 : length, flags, i + 1);
    }
    this.#driver.dma.write(HEADERS, Uint8Array.of(random.pick([0, 1, 11, 13]), ...new Uint8Array(63)));
    queue.describe(queue.desc, 0, TABLES, 16 * count, DESC.INDIRECT, 0);
    for (let slot = 0; slot < queue.size; slot++) this.#store(queue.avail + 4 + 2 * slot, 0, 2);
    queue.added = (queue.seen + queue.size) & 0xffff;
    this.#store(queue.avail + 2, queue.added, 2);
    queue.notify();
  }

  /** Makes a descriptor available, whatever it holds. */
  #offer(queue: DriverQueue, head: number): void {
    queue.offer(head);
    this.#bench.note(`queue ${queue.index} offers descriptor ${head}`);
  }

  #store(at: Address, value: number, width: 2): void {
    this.#driver.dma.store(at, value, width);
  }
}
