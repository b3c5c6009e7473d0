// devices/virtio_blk.ts: requests as virtio 1.2 section 5.2.6 has them, and back ends that fail.

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Bytes } from "../../core/plugin.ts";
import virtioBlk from "../../devices/virtio_blk.ts";
import { REG } from "../../devices/virtio/registers.ts";
import { type FakeOptions, fakeServices } from "../support/fake_services.ts";
import { type DriverQueue, VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

const FEATURE = { SEG_MAX: 2, RO: 5, FLUSH: 9, MQ: 12, DISCARD: 13, WRITE_ZEROES: 14 };
const TYPE = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 };
const OK = 0, IOERR = 1, UNSUPP = 2;

function disk(options: Record<string, unknown> = {}, fakes: FakeOptions = {}) {
  const services = fakeServices(fakes);
  const config = virtioBlk.config.parse(options, "disk0");
  const device = services.bind(virtioBlk.create({ ...services, config, name: "disk0" }));
  services.block.bytes.forEach((_, i, bytes) => bytes[i] = i >> 9 ^ i);
  const driver = new VirtioDriver(device, services.dma);
  return { services, block: services.block, device, driver };
}

function header(type: number, sector: number | bigint = 0): Bytes {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return new Uint8Array(view.buffer);
}

function range(sector: number, sectors: number, flags = 0): Bytes {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, sectors, true);
  view.setUint32(12, flags, true);
  return new Uint8Array(view.buffer);
}

/** Does one request; its status byte, what was read, and the used length. */
function request(driver: VirtioDriver, readable: Bytes[], room: number[] = [], indirect = false, queue = 0) {
  const ring = driver.queues[queue];
  const { writable } = ring.add(readable, [...room, 1], { indirect });
  driver.dma.store(writable.at(-1)!, 0xff, 1);
  ring.kick();
  const [done] = ring.completed();
  const data = room.flatMap((length, i) => [...driver.bytes(writable[i], length)]);
  return { status: driver.dma.load(writable.at(-1)!, 1), data, written: done?.written };
}

function sectors(block: { bytes: Bytes }, first: number, count: number): number[] {
  return [...block.bytes.subarray(first * 512, (first + count) * 512)];
}

Deno.test("virtio_blk describes the disk", () => {
  const { driver } = disk({ queues: 3 }, { diskSize: 1 << 20 });
  assertEquals(driver.read(REG.DeviceID), 2);
  assertEquals([driver.config(0, 4), driver.config(4, 4)], [2048, 0]);
  assertEquals(driver.config(20, 4), 512);
  assertEquals(driver.config(34, 2), 3);
  for (const feature of [FEATURE.SEG_MAX, FEATURE.FLUSH, FEATURE.MQ, FEATURE.DISCARD, FEATURE.WRITE_ZEROES]) {
    assert(driver.offered().includes(feature), `feature ${feature}`);
  }
  assert(!driver.offered().includes(FEATURE.RO));
  assert(!disk().driver.offered().includes(FEATURE.MQ));
});

for (const indirect of [false, true]) {
  for (const fakes of [{}, { shared: true }, { lendCopies: true }]) {
    const how = `${indirect ? "indirect" : "direct"} ${Object.keys(fakes)}`;
    Deno.test(`virtio_blk reads and writes, scattered, ${how}`, () => {
      const { driver, block, services } = disk({}, fakes);
      driver.start();
      const read = request(driver, [header(TYPE.IN, 4)], [512, 100, 412], indirect);
      assertEquals(read, { status: OK, data: sectors(block, 4, 2), written: 1025 });
      const bytes = Uint8Array.from({ length: 1024 }, (_, i) => i * 7);
      const write = request(driver, [header(TYPE.OUT, 9), bytes.subarray(0, 3), bytes.subarray(3)], [], indirect);
      assertEquals(write, { status: OK, data: [], written: 1 });
      assertEquals(sectors(block, 9, 2), [...bytes]);
      assertEquals(services.dma.borrowed, 0);
    });
  }
}

Deno.test("virtio_blk takes a header and a status in the same buffers as the data", () => {
  const { driver, block } = disk();
  const [queue] = driver.start().queues;
  const data = new Uint8Array(528).fill(5);
  data.set(header(TYPE.OUT, 1));
  const { writable: [status] } = queue.add([data.subarray(0, 7), data.subarray(7)], [1]);
  queue.kick();
  assertEquals(driver.dma.load(status, 1), OK);
  assertEquals(sectors(block, 1, 1), new Array(512).fill(5));
  const { writable: [both] } = queue.add([header(TYPE.IN, 1)], [513]);
  queue.kick();
  assertEquals([...driver.bytes(both, 513)], [...new Array(512).fill(5), OK]);
});

Deno.test("virtio_blk lends contiguous memory to the back end in one piece", () => {
  const { driver, block, services } = disk();
  const [queue] = driver.start().queues;
  const at = driver.allocate(1024);
  const status = driver.allocate(1);
  const command = driver.place(header(TYPE.IN, 2));
  let parts = 0;
  const read = block.read.bind(block);
  block.read = (position, into) => {
    parts = into.length;
    return read(position, into);
  };
  queue.addBuffers([
    command,
    { at, length: 512, writable: true },
    { at: at + 512, length: 512, writable: true },
    { at: status, length: 1, writable: true },
  ]);
  queue.kick();
  assertEquals([parts, services.dma.borrowed], [1, 0]);
  assertEquals([...driver.bytes(at, 1024)], sectors(block, 2, 2));
});

Deno.test("virtio_blk flushes, identifies, discards and writes zeroes", () => {
  const { driver, block } = disk();
  driver.start();
  assertEquals(request(driver, [header(TYPE.FLUSH)]).status, OK);
  const id = request(driver, [header(TYPE.GET_ID)], [20]);
  assertEquals(new TextDecoder().decode(Uint8Array.from(id.data)), "fake disk".padEnd(20, "\0"));
  assertEquals([id.status, id.written], [OK, 21]);
  assertEquals(request(driver, [header(TYPE.DISCARD), range(8, 4)]).status, OK);
  assertEquals(request(driver, [header(TYPE.WRITE_ZEROES), range(16, 2, 1)]).status, OK);
  assertEquals(sectors(block, 16, 2), new Array(1024).fill(0));
  assertEquals(block.log, ["flush", "discard 4096+2048", "zero 8192+1024"]);
});

Deno.test("virtio_blk writes zeroes itself for a back end that can not", () => {
  const { driver, block } = disk();
  Object.assign(block, { writeZeroes: undefined });
  driver.start();
  assertEquals(request(driver, [header(TYPE.WRITE_ZEROES), range(0, 300)]).status, OK);
  assertEquals(block.log, ["write 0+153600"]);
  assertEquals(sectors(block, 0, 300), new Array(153600).fill(0));
});

Deno.test("virtio_blk does not support what it does not know", () => {
  const { driver, block } = disk();
  Object.assign(block, { discard: undefined });
  driver.start();
  assertEquals(request(driver, [header(77)]).status, UNSUPP);
  assertEquals(request(driver, [header(14), range(0, 1)]).status, UNSUPP);
  assertEquals(request(driver, [header(TYPE.DISCARD), range(0, 1)]).status, UNSUPP);
  assertEquals(request(driver, [header(TYPE.WRITE_ZEROES), range(0, 1, 2)]).status, UNSUPP);
  assertEquals(block.log, []);
});

Deno.test("virtio_blk refuses requests outside of the disk or of odd length", () => {
  const { driver, block } = disk({}, { diskSize: 8192 });
  driver.start();
  assertEquals(request(driver, [header(TYPE.IN, 15)], [1024]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.IN, 16)], [512]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.IN, 2n ** 63n)], [512]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.IN, 2n ** 64n - 1n)], [512]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.IN, 0)], [100]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.OUT, 16), new Uint8Array(512)]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.OUT, 0), new Uint8Array(511)]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.WRITE_ZEROES), range(15, 2)]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.WRITE_ZEROES), range(0, 0xffff_ffff)]).status, IOERR);
  assertEquals(request(driver, [header(TYPE.DISCARD), range(0, 1), range(0, 1)]).status, IOERR);
  for (const room of [4, 19]) assertEquals(request(driver, [header(TYPE.GET_ID)], [room]).status, IOERR);
  assertEquals(block.log, []);
});

Deno.test("virtio_blk moves no more than 16 MiB at once", () => {
  const most = 16 << 20;
  const { driver, block } = disk({}, { diskSize: 2 * most, ramSize: 2 * most });
  const [queue] = driver.start().queues;
  const data = driver.allocate(most + 512);
  const ask = (readable: Bytes[], length = 0) => {
    const status = driver.allocate(1);
    driver.dma.store(status, 0xff, 1);
    const room = [{ at: data, length, writable: true }, { at: status, length: 1, writable: true }];
    queue.addBuffers([...readable.map((bytes) => driver.place(bytes)), ...room]);
    queue.notify();
    return driver.dma.load(status, 1);
  };
  assertEquals([most, most + 512].map((length) => ask([header(TYPE.IN)], length)), [OK, IOERR]);
  assertEquals(ask([header(TYPE.WRITE_ZEROES), range(0, most / 512 + 1)]), IOERR);
  assertEquals(block.log, [`read 0+${most}`]);
});

Deno.test("virtio_blk counts its status byte as written only if all before it was", () => {
  const { driver } = disk();
  driver.start();
  for (const readable of [[header(TYPE.FLUSH)], [header(TYPE.OUT), new Uint8Array(512)]]) {
    assertEquals(request(driver, readable, [3]), { status: OK, data: [0, 0, 0], written: 0 });
    assertEquals(request(driver, readable), { status: OK, data: [], written: 1 });
  }
});

Deno.test("virtio_blk answers with an error where the back end fails", async () => {
  const { driver, block, services } = disk();
  driver.start();
  block.answer = "error";
  assertEquals(request(driver, [header(TYPE.IN)], [512]), { status: IOERR, data: new Array(512).fill(0), written: 0 });
  block.answer = "unsupported";
  assertEquals(request(driver, [header(TYPE.FLUSH)]).status, UNSUPP);
  block.flush = () => {
    throw new Error("gone");
  };
  assertEquals(request(driver, [header(TYPE.FLUSH)]).status, IOERR);
  block.flush = () => Promise.reject(new Error("gone"));
  const { writable: [status] } = driver.queues[0].add([header(TYPE.FLUSH)], [1]);
  driver.queues[0].kick();
  await block.settle();
  assertEquals(driver.dma.load(status, 1), IOERR);
  assertEquals(services.dma.borrowed, 0);
});

Deno.test("virtio_blk writes to no read-only disk", () => {
  for (const { driver, block } of [disk({ readOnly: true }), disk({}, { readOnlyDisk: true })]) {
    assert(driver.offered().includes(FEATURE.RO));
    driver.start();
    assertEquals(request(driver, [header(TYPE.OUT), new Uint8Array(512)]).status, IOERR);
    assertEquals(request(driver, [header(TYPE.WRITE_ZEROES), range(0, 1)]).status, IOERR);
    assertEquals(request(driver, [header(TYPE.DISCARD), range(0, 1)]).status, IOERR);
    assertEquals(request(driver, [header(TYPE.IN)], [512]).status, OK);
    assertEquals(block.log, ["read 0+512"]);
  }
});

Deno.test("virtio_blk serves several queues", () => {
  const { driver, block } = disk({ queues: 4 });
  driver.start();
  for (const queue of [3, 0, 2, 1]) {
    const { status, data } = request(driver, [header(TYPE.IN, queue)], [512], false, queue);
    assertEquals([status, data], [OK, sectors(block, queue, 1)]);
  }
});

Deno.test("virtio_blk completes slow requests in whatever order they end", async () => {
  const { driver, block, device, services } = disk();
  const [queue] = driver.start().queues;
  block.slow = true;
  const first = queue.add([header(TYPE.IN, 1)], [512, 1]);
  const second = queue.add([header(TYPE.IN, 2)], [512, 1]);
  queue.kick();
  assertEquals([queue.completed(), device.state.requests.length, services.dma.borrowed], [[], 2, 2]);
  await block.settle();
  assertEquals(queue.completed().map((done) => done.head), [first.head, second.head]);
  assertEquals([...driver.bytes(second.writable[0], 512)], sectors(block, 2, 1));
  assertEquals([device.state.requests, services.dma.borrowed], [[], 0]);
});

Deno.test("virtio_blk forgets requests at a reset, and gives their memory back when the host is done", async () => {
  const { driver, block, device, services } = disk();
  driver.start();
  block.slow = true;
  driver.queues[0].add([header(TYPE.IN, 1)], [512, 1]);
  driver.queues[0].kick();
  driver.write(REG.Status, 0);
  assertEquals(device.state.requests, []);
  block.slow = false;
  driver.start();
  const used = driver.bytes(driver.queues[0].used, 100);
  await block.settle();
  assertEquals(services.dma.borrowed, 0);
  assertEquals(driver.bytes(driver.queues[0].used, 100), used);
  assertEquals(request(driver, [header(TYPE.IN, 3)], [512]).status, OK);
});

Deno.test("virtio_blk answers nothing more once a driver broke the rules, and gives memory back", async () => {
  for (
    const break_ of [
      (queue: DriverQueue) => queue.offer(queue.size),
      // With what is in flight, more than the queue holds.
      (queue: DriverQueue) => Array.from({ length: queue.size - 3 }, () => queue.offer(0)),
    ]
  ) {
    const { driver, block, services } = disk();
    const [queue] = driver.start().queues;
    block.slow = true;
    for (let i = 0; i < 4; i++) queue.add([header(TYPE.IN, i)], [513]);
    queue.notify();
    break_(queue);
    queue.notify();
    assert(driver.broken);
    const used = driver.bytes(queue.used, 100);
    driver.interrupts();
    await block.settle();
    assertEquals([services.dma.borrowed, driver.interrupts().used], [0, false]);
    assertEquals(driver.bytes(queue.used, 100), used);
  }
});

Deno.test("virtio_blk forgets the requests of a queue that the driver stops", async () => {
  const { driver, block, services } = disk({ queues: 2 });
  driver.start();
  block.slow = true;
  for (const queue of driver.queues) {
    queue.add([header(TYPE.IN, 1)], [512, 1]);
    queue.kick();
  }
  driver.write(REG.QueueSel, 0);
  driver.write(REG.QueueReady, 0);
  await block.settle();
  assertEquals(driver.queues.map((queue) => queue.completed().length), [0, 1]);
  assertEquals(services.dma.borrowed, 0);
});

Deno.test("virtio_blk begins requests in flight again after a restore", async () => {
  for (const lendCopies of [false, true]) {
    const { driver, block, device, services } = disk({}, { lendCopies });
    const [queue] = driver.start().queues;
    block.slow = true;
    const { writable: [data, status] } = queue.add([header(TYPE.IN, 1)], [512, 1]);
    queue.kick();
    const saved = structuredClone(device.state);
    const ram = services.dma.ram.slice();
    await block.settle();
    assertEquals(queue.completed().length, 1);
    driver.write(REG.Status, 0);

    services.dma.ram.set(ram);
    services.restore(structuredClone(saved));
    assertEquals(device.state, saved);
    assertEquals(driver.bytes(data, 512), new Uint8Array(512));
    await block.settle();
    assertEquals(driver.dma.load(status, 1), OK);
    assertEquals([...driver.bytes(data, 512)], sectors(block, 1, 1));
    assertEquals([device.state.requests, services.dma.borrowed], [[], 0]);
    assertEquals(services.dma.load(queue.used + 2, 2), 1);
  }
});

Deno.test("virtio_blk survives a restore while the host is still busy with requests", async () => {
  const { driver, block, device, services } = disk();
  const [queue] = driver.start().queues;
  block.slow = true;
  queue.add([header(TYPE.IN, 1)], [512, 1]);
  queue.kick();
  services.restore(structuredClone(device.state));
  assertEquals(block.log, ["read 512+512", "read 512+512"]);
  await block.settle();
  assertEquals(queue.completed().length, 1);
  assertEquals(services.dma.borrowed, 0);
});

Deno.test("virtio_blk begins nothing while paused", () => {
  const { driver, block, device } = disk();
  const [queue] = driver.start().queues;
  device.pause!();
  queue.add([header(TYPE.IN, 1)], [512, 1]);
  queue.kick();
  assertEquals(block.log, []);
  device.resume!();
  assertEquals(queue.completed().length, 1);
});

Deno.test("virtio_blk needs a reset after a request without header or status", () => {
  for (const [readable, room] of [[[new Uint8Array(15)], [1]], [[header(TYPE.IN)], []]] as [Bytes[], number[]][]) {
    const { driver } = disk();
    const [queue] = driver.start().queues;
    queue.add(readable, room);
    queue.kick();
    assert(driver.broken);
    driver.start();
    assertEquals(request(driver, [header(TYPE.FLUSH)]).status, OK);
  }
});

Deno.test("virtio_blk bounds what a driver that resets again and again makes the host do", async () => {
  const { driver, block, services } = disk({}, { ramSize: 1 << 20 });
  block.slow = true;
  for (let round = 0; round < 600; round++) {
    const [queue] = driver.start({ sizes: [32] }).queues;
    for (let i = 0; i < 10; i++) queue.add([header(TYPE.FLUSH)], [1]);
    queue.kick();
  }
  assert(block.log.length <= 4096, `${block.log.length} requests at once`);
  await block.settle();
  await block.settle();
  assertEquals(driver.queues[0].completed().length, 10);
  assertEquals(services.dma.borrowed, 0);
});

Deno.test("virtio_blk checks its options", () => {
  const parse = (options: unknown) => () => virtioBlk.config.parse(options, "disk0");
  assertThrows(parse({ readOnly: "yes" }), TypeError, 'Cannot configure disk0.readOnly: wanted a boolean, got "yes"');
  assertThrows(parse({ queues: 9 }), TypeError, "Cannot configure disk0.queues: wanted a whole number from 1 to 8");
  assertThrows(parse({ queueSize: 100 }), TypeError, "Cannot configure disk0.queueSize: wanted a power of two");
  assertEquals(virtioBlk.config.parse({}, "disk0"), { readOnly: false, queues: 1, queueSize: 256 });
});
