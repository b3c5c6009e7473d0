// What a virtio device has to do for an ordinary driver: a request to each of its queues, and what has to come of it.

import { REG } from "../../devices/virtio/registers.ts";
import type { Address, Bytes } from "../../mod.ts";
import { same, SECTOR } from "./backend_watch.ts";
import type { Bench } from "./bench.ts";
import { Random } from "./random.ts";
import { type DriverQueue, VirtioDriver } from "./virtio_driver.ts";

/** Does a step of an ordinary driver at a time; between two of them the device has time. In the end: what went wrong. */
export type Probe = Generator<void, string | undefined>;

/** What is in memory before the device writes there. */
const UNTOUCHED = 0xa5;
const BLOCK = { RO: 5, IN: 0, OUT: 1, OK: 0 } as const;
const NET = { CTRL_RX: 18, HEADER: 12, RX_PROMISC: Uint8Array.of(0, 0), ON: Uint8Array.of(1), OK: 0 } as const;

/** The kinds of devices that are known, by their numbers (virtio 1.2 section 5). */
const KINDS: Readonly<Record<number, (probing: Probing) => Probe>> = { 1: net, 2: block, 3: console, 4: entropy };

/** Brings the device up as a driver should and asks it for something ordinary. */
export function* probe(bench: Bench): Probe {
  const driver = new VirtioDriver(bench.registers, bench.memory);
  if (!driver.negotiate(driver.offered())) return "it refuses the features that it offers";
  driver.start();
  if (driver.broken) return "it needs a reset right after a proper start";
  const complaint = yield* KINDS[driver.read(REG.DeviceID)]?.(new Probing(bench, driver)) ?? [];
  return complaint ?? (driver.broken ? "it needs a reset after a proper request" : undefined);
}

/** A driver that looks at what it gets. */
class Probing {
  readonly #random: Random;

  constructor(readonly bench: Bench, readonly driver: VirtioDriver) {
    this.#random = new Random(bench.options.seed, 0x9e0be);
  }

  /** Bytes that nobody else knows. */
  bytes(length: number): Bytes {
    return this.#random.bytes(length);
  }

  /** Makes a chain available, with room that shows what is written to it. */
  offer(queue: DriverQueue, readable: readonly Bytes[], room: readonly number[] = []): readonly Address[] {
    const { writable } = queue.add(readable, room);
    for (const [i, length] of room.entries()) {
      this.driver.dma.write(writable[i], new Uint8Array(length).fill(UNTOUCHED));
    }
    queue.kick();
    return writable;
  }

  /** What a queue's only chain came back with, if it did and the driver was told. */
  taken(queue: DriverQueue): { readonly written: number } | undefined {
    const [done] = queue.completed();
    return this.driver.interrupts().used ? done : undefined;
  }

  /** Offers a chain, and takes it back a little later. */
  *ask(
    queue: DriverQueue,
    readable: readonly Bytes[],
    room: readonly number[] = [],
  ): Generator<void, { readonly written: number; readonly bytes: Bytes } | undefined> {
    const [first] = this.offer(queue, readable, room);
    yield;
    const done = this.taken(queue);
    return done && { ...done, bytes: this.read(first, room.reduce((sum, length) => sum + length, 0)) };
  }

  /** What the device wrote, in buffers that follow each other. */
  read(at: Address | undefined, length: number): Bytes {
    return at === undefined ? new Uint8Array(0) : this.driver.bytes(at, length);
  }
}

function* block(probing: Probing): Probe {
  const { bench, driver } = probing;
  const readOnly = driver.offered().includes(BLOCK.RO);
  const header = (type: number, sector: number): Bytes => {
    const bytes = new Uint8Array(16);
    bytes[0] = type;
    bytes[8] = sector;
    return bytes;
  };
  for (const queue of driver.queues) {
    const sector = queue.index % driver.config(0, 4);
    const bytes = probing.bytes(SECTOR);
    const write = yield* probing.ask(queue, [header(BLOCK.OUT, sector), bytes], [1]);
    const good = write?.written === 1 && write.bytes[0] === BLOCK.OK;
    // A disk of somebody else's may be full.
    if (good === readOnly && (readOnly || bench.owns("block"))) {
      return readOnly ? "it writes a sector of a disk that is read-only" : "it does not write a sector";
    }
    const read = yield* probing.ask(queue, [header(BLOCK.IN, sector)], [SECTOR, 1]);
    if (read?.written !== SECTOR + 1 || read.bytes[SECTOR] !== BLOCK.OK) return "it does not read a sector";
    if (good && !same(read.bytes.subarray(0, SECTOR), bytes)) return "it does not read what was written to a sector";
  }
}

function* net(probing: Probing): Probe {
  const { bench, driver } = probing;
  const [receive, transmit, control] = driver.queues;
  const frame = probing.bytes(60);
  const { sent } = bench;
  const done = yield* probing.ask(transmit, [new Uint8Array(NET.HEADER), frame]);
  if (done?.written !== 0 || bench.sent !== sent + 1) return "it does not send a frame";
  if (!same(bench.output, frame)) return "it sends another frame than it was given";
  if (bench.owns("net")) {
    const [at] = probing.offer(receive, [], [2048]);
    yield;
    bench.backends.arrive(frame);
    yield;
    if (probing.taken(receive)?.written !== NET.HEADER + frame.length) return "it does not receive a frame";
    if (!same(probing.read(at + NET.HEADER, frame.length), frame)) return "it receives another frame than was sent";
  }
  if (!driver.offered().includes(NET.CTRL_RX)) return;
  const answer = yield* probing.ask(control, [NET.RX_PROMISC, NET.ON], [1]);
  if (answer?.written !== 1 || answer.bytes[0] !== NET.OK) return "it does not take a command";
}

function* console(probing: Probing): Probe {
  const { bench, driver: { queues: [receive, transmit] } } = probing;
  const text = Uint8Array.from(probing.bytes(8), (byte) => 97 + byte % 26);
  if (bench.owns("stream")) {
    const [at] = probing.offer(receive, [], [64]);
    yield;
    bench.backends.type(text);
    yield;
    if (probing.taken(receive)?.written !== text.length) return "it does not read what is typed";
    if (!same(probing.read(at, text.length), text)) return "it reads other bytes than were typed";
  }
  const done = yield* probing.ask(transmit, [text]);
  // A stream may hold what it was given before, for as long as it likes.
  if (!done && bench.foreign.held > 0) return;
  if (done?.written !== 0) return "it does not print";
  if (!same(bench.output, text)) return "it prints other bytes than it was given";
}

function* entropy(probing: Probing): Probe {
  const got = yield* probing.ask(probing.driver.queues[0], [], [16]);
  if (got?.written !== 16) return "it does not give random bytes";
  // By the instruction clock random bytes are core's own.
  const known = probing.bench.owns("entropy") && probing.bench.options.clock === "host";
  if (known && got.bytes.some((byte, i) => byte !== i * 7 + 1)) {
    return "it gives other bytes than its source";
  }
}
