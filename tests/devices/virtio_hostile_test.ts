// Drivers that follow no rule: whatever they do, the host stays up, memory they did not offer stays as it was, and a
// reset makes the device usable again.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../core/plugin.ts";
import virtioBlk from "../../devices/virtio_blk.ts";
import virtioConsole from "../../devices/virtio_console.ts";
import virtioNet from "../../devices/virtio_net.ts";
import virtioRng from "../../devices/virtio_rng.ts";
import { REG } from "../../devices/virtio/mmio.ts";
import { type FakeServices, fakeServices, RAM_BASE } from "../support/fake_services.ts";
import { DESC, type DriverQueue, VirtioDriver } from "../support/virtio_driver.ts";

const RAM_SIZE = 0x10000;
/** Below: the driver's rings. From here up to `TABLES`: all that a device may ever write. */
const WRITABLE = RAM_BASE + 0x2000;
/** From here on: what devices may only read. */
const TABLES = RAM_BASE + 0xc000;
const ROUNDS = 50;
const STEPS = 40;

interface Subject {
  create(services: FakeServices): Device;
  /** Host-side events. */
  stir(services: FakeServices, random: Random): void;
  /** A request of the ordinary kind works. */
  probe(driver: VirtioDriver, services: FakeServices): void | Promise<void>;
}

const turn = () => new Promise((done) => setTimeout(done));

const SUBJECTS: Record<string, Subject> = {
  virtio_blk: {
    create: (services) =>
      virtioBlk.create({ ...services, config: { readOnly: false, queues: 2, queueSize: 16 }, name: "disk0" }),
    stir(services, random) {
      services.block.slow = random.below(3) === 0;
      services.block.answer = random.pick(["ok", "ok", "ok", "error", "unsupported"]);
    },
    probe(driver, { block }) {
      Object.assign(block, { slow: false, answer: "ok" });
      const { writable } = driver.queues[0].add([new Uint8Array(16)], [512, 1]);
      driver.dma.store(writable[1], 9, 1);
      driver.queues[0].kick();
      assertEquals(driver.dma.load(writable[1], 1), 0);
    },
  },
  virtio_net: {
    create: (services) => virtioNet.create({ ...services, config: { mac: undefined, mtu: undefined }, name: "net0" }),
    stir(services, random) {
      const frame = new Uint8Array(random.pick([14, 60, 1514, 5000]));
      const checksum = random.below(2) ? { start: 34, offset: 16 } : undefined;
      const kind = random.pick(["tcp4", "tcp6", "udp"] as const);
      const segmentation = checksum && random.below(2) ? { kind, size: 1000, headerLength: 54, ecn: false } : undefined;
      if (frame.length > 60) services.net.arrive({ frame, checksum, segmentation });
      else services.net.arrive({ frame });
      if (random.below(4) === 0) services.net.plug(random.below(2) === 0);
    },
    probe(driver, { net }) {
      const before = net.sent.length;
      driver.queues[1].add([new Uint8Array(12), new Uint8Array(60)]);
      driver.queues[1].kick();
      assertEquals(net.sent.length, before + 1);
    },
  },
  virtio_console: {
    create: (services) =>
      virtioConsole.create({ ...services, config: { columns: undefined, rows: undefined }, name: "console0" }),
    stir(services, random) {
      services.stream.type("x".repeat(random.below(300)));
      services.stream.slow = random.below(3) === 0;
      if (!services.stream.slow) services.stream.drain();
    },
    async probe(driver, { stream }) {
      stream.slow = false;
      stream.drain();
      await turn();
      const before = stream.output.length;
      driver.queues[1].add([new Uint8Array(7)]);
      driver.queues[1].kick();
      assertEquals(stream.output.length, before + 7);
    },
  },
  virtio_rng: {
    create: (services) => virtioRng.create({ ...services, config: {}, name: "rng0" }),
    stir() {},
    probe(driver) {
      driver.queues[0].add([], [16]);
      driver.queues[0].kick();
      assertEquals(driver.queues[0].completed()[0].written, 16);
    },
  },
};

/** Numbers that are the same in every run. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) % limit;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}

/** What a driver does, and where it allowed writes by doing so. */
class HostileDriver {
  /** 1 for every byte of RAM that the device may write. */
  readonly allowed = new Uint8Array(RAM_SIZE);
  readonly #random: Random;
  readonly #driver: VirtioDriver;

  constructor(driver: VirtioDriver, random: Random) {
    this.#driver = driver;
    this.#random = random;
    this.start();
  }

  /** Resets the device and sets its queues up, properly. */
  start(): void {
    const random = this.#random;
    const guestOffloads = random.below(2) === 0 ? [1, 7, 8, 9, 54, 55] : [];
    const without = [28, 29, 15].filter(() => random.below(3) === 0).concat(guestOffloads);
    this.#driver.start({ without, sizes: [1, 2, 3].map(() => random.pick([1, 2, 8, 16])) });
    for (const { used, size } of this.#driver.queues) this.#allow(used, 6 + 8 * size);
  }

  /** Does one thing to the device. */
  act(): void {
    const random = this.#random;
    const queue = random.pick(this.#driver.queues);
    switch (random.below(10)) {
      case 0:
        return this.#driver.write(random.below(0x40) * 4, random.pick([0, 1, 2, 7, 0xffff_ffff]));
      case 1:
        this.#driver.config(random.below(0x100), random.pick([1, 2, 4]));
        return this.#driver.write(REG.Config + random.below(64) * 4, random.below(1 << 30), 4);
      case 2:
        this.#driver.dma.store(queue.avail + 2, random.pick([0, 1, queue.size, queue.size + 1, 0x8000, 0xffff]), 2);
        return queue.notify();
      case 3:
      case 4:
        for (let i = 0; i < queue.size; i++) this.#describe(queue, queue.desc, i, queue.size);
        queue.offer(random.below(queue.size + 1));
        return queue.notify();
      case 5:
        return this.#offerTable(queue);
      default:
        return this.#offerOrdinary(queue);
    }
  }

  /** A descriptor of any kind. */
  #describe(queue: DriverQueue, table: number, index: number, size: number): void {
    const random = this.#random;
    const flags = random.pick([0, 0, DESC.NEXT, DESC.NEXT, DESC.NEXT, DESC.INDIRECT, DESC.INDIRECT | DESC.NEXT]);
    const length = random.pick([0, 1, 11, 12, 16, 17, 512, 513, 528, random.below(4096), 0xffff_ffff]);
    const next = random.pick([index + 1, index + 1, index + 1, random.below(size + 1), 0xffff]);
    const inside = random.pick([WRITABLE, TABLES - 16]) + random.below(16);
    const outside = [0, 0x1000_1000, RAM_BASE - 1, RAM_BASE + RAM_SIZE - 1, 0xffff_ffff_ffff_ffffn, 2n ** 63n];
    const at = random.below(8) > 0 ? inside : random.pick(outside);
    const writable = random.below(2) === 0 && (at !== inside || inside + length <= TABLES);
    if (writable && at === inside) this.#allow(inside, length);
    queue.describe(table, index, at, length, flags | (writable ? DESC.WRITE : 0), next);
  }

  /** An indirect table of anything, of any length. */
  #offerTable(queue: DriverQueue): void {
    const random = this.#random;
    const table = TABLES + random.below(64) * 16;
    for (let i = 0; i < 16; i++) this.#describe(queue, table, i, 16);
    const length = random.pick([0, 8, 16, 24, 64, 256, 256, 256, 0x10000, 0xffff_fff0]);
    queue.describe(queue.desc, 0, table, length, DESC.INDIRECT | random.pick([0, 0, 0, DESC.NEXT, DESC.WRITE]), 0);
    queue.offer(0);
    queue.notify();
  }

  /** A chain as a driver might mean it: a small header, data either way, a status byte. */
  #offerOrdinary(queue: DriverQueue): void {
    const random = this.#random;
    const header = RAM_BASE + RAM_SIZE - 0x1000;
    const bytes = Uint8Array.from({ length: 16 }, () => random.pick([0, 0, 0, 0, 1, 4, 8, 11, 13, 34]));
    this.#driver.dma.write(header, bytes);
    const buffers: [number, number, number][] = [[header, random.pick([12, 16]), 0]];
    if (random.below(2) === 0) buffers.push([header + 16, random.pick([16, 60, 512, 1500]), 0]);
    if (random.below(4) > 0) buffers.push([WRITABLE + random.below(0x4000), random.pick([1, 512, 1024]), DESC.WRITE]);
    buffers.push([WRITABLE + random.below(0x9000), 1, DESC.WRITE]);
    const chain = buffers.slice(0, queue.size);
    for (const [i, [at, length, flags]] of chain.entries()) {
      if (flags & DESC.WRITE) this.#allow(at, length);
      queue.describe(queue.desc, i, at, length, flags | (i + 1 < chain.length ? DESC.NEXT : 0), i + 1);
    }
    queue.offer(0);
    queue.notify();
  }

  #allow(at: number, length: number): void {
    const start = at - RAM_BASE;
    this.allowed.fill(1, start, start + length);
  }
}

function assertOnlyAllowed(before: Uint8Array, after: Uint8Array, allowed: Uint8Array, where: string): void {
  const [was, is] = [before, after].map((bytes) => new BigUint64Array(bytes.buffer));
  for (let word = 0; word < was.length; word++) {
    if (was[word] === is[word]) continue;
    for (let i = word * 8; i < word * 8 + 8; i++) {
      assert(before[i] === after[i] || allowed[i] === 1, `${where}: byte 0x${i.toString(16)} was written`);
    }
  }
}

for (const [name, subject] of Object.entries(SUBJECTS)) {
  Deno.test(`${name} withstands hostile drivers`, async () => {
    const services = fakeServices({ ramSize: RAM_SIZE, diskSize: 0x4000 });
    const device = services.bind(subject.create(services));
    let broken = 0;
    let completed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const random = new Random(round);
      const driver = new VirtioDriver(device, services.dma);
      const hostile = new HostileDriver(driver, random);
      for (let step = 0; step < STEPS; step++) {
        subject.stir(services, random);
        const { before, after } = recordWrites(services, () => hostile.act());
        assertOnlyAllowed(before, after, hostile.allowed, `round ${round} step ${step}`);
        if (random.below(16) === 0) {
          const quiet = services.dma.ram.slice();
          services.clock.advance(1000);
          await services.block.settle(random.below(3));
          assertOnlyAllowed(quiet, services.dma.ram, hostile.allowed, `round ${round} after step ${step}`);
        }
        completed += driver.queues.flatMap((queue) => queue.completed()).length;
        if (!driver.broken) continue;
        broken++;
        hostile.start();
      }
      await services.block.settle();
      services.stream.drain();
      await turn();
      driver.start({ sizes: [8, 8, 8] });
      await subject.probe(driver, services);
      assert(!driver.broken);
      assertEquals(services.dma.borrowed, 0);
    }
    assert(broken > ROUNDS && completed > ROUNDS, `${broken} times broken, ${completed} requests completed`);
  });
}

/** Runs `act`; RAM as the device found it, with all that the driver wrote, and RAM as the device left it. */
function recordWrites(services: FakeServices, act: () => void): { before: Uint8Array; after: Uint8Array } {
  const { dma } = services;
  const region = services.inbox.device!.regions[0] as { write(offset: number, value: number, width: number): void };
  const write = region.write;
  let before = dma.ram.slice();
  region.write = (offset, value, width) => {
    before = dma.ram.slice();
    write.call(region, offset, value, width);
  };
  try {
    act();
  } finally {
    region.write = write;
  }
  return { before, after: dma.ram };
}
