// devices/virtio/queue.ts: split virtqueues, virtio 1.2 section 2.7, seen from the driver.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../core/plugin.ts";
import { FEATURE } from "../../devices/virtio/device.ts";
import { virtioMmio } from "../../devices/virtio/mmio.ts";
import { fakeServices, RAM_BASE } from "../support/fake_services.ts";
import { DESC, type DriverQueue, VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

const RAM_SIZE = 1 << 20;

/** A device that records what it reads from each chain, and fills what it may write with 0xaa. */
function recorder({ without = [] as number[], size = 16, ramSize = RAM_SIZE } = {}) {
  const services = fakeServices({ ramSize });
  const seen: { bytes: number[]; writable: number }[] = [];
  const device: Device = services.bind(
    virtioMmio(services, () => ({
      id: 42,
      features: [],
      queues: [1024],
      state: null,
      serve(queue) {
        for (let chain = queue.pop(); chain; chain = queue.pop()) {
          const bytes = new Uint8Array(Math.min(chain.readable, 64));
          chain.read(0, bytes);
          seen.push({ bytes: [...bytes], writable: chain.writable });
          queue.push(chain.head, chain.write(0, new Uint8Array(Math.min(chain.writable, 4096)).fill(0xaa)));
        }
      },
    })) as unknown as Device,
  );
  const driver = new VirtioDriver(device, services.dma).start({ without, sizes: [size] });
  return { services, seen, driver, queue: driver.queues[0] };
}

/** A buffer in RAM that no test uses otherwise. */
const SPARE = RAM_BASE + RAM_SIZE - 0x1000;

Deno.test("virtqueue gathers what is readable and scatters what it writes", () => {
  const { queue, seen, driver } = recorder();
  const { writable: [first, second] } = queue.add([Uint8Array.of(1), Uint8Array.of(2, 3)], [3, 5]);
  queue.kick();
  assertEquals(seen, [{ bytes: [1, 2, 3], writable: 8 }]);
  assertEquals(queue.completed(), [{ head: 0, written: 8 }]);
  assertEquals(driver.bytes(first, 3), new Uint8Array(3).fill(0xaa));
  assertEquals(driver.bytes(second, 5), new Uint8Array(5).fill(0xaa));
});

Deno.test("virtqueue follows an indirect table, also behind direct descriptors", () => {
  const { queue, seen, driver } = recorder();
  queue.add([Uint8Array.of(1), Uint8Array.of(2)], [4], { indirect: true });
  queue.kick();
  assertEquals(queue.completed().map((done) => done.written), [4]);
  const table = driver.allocate(32);
  queue.describe(table, 0, driver.place(Uint8Array.of(8)).at, 1, DESC.NEXT, 1);
  queue.describe(table, 1, SPARE, 2, DESC.WRITE, 0);
  queue.describe(queue.desc, 5, driver.place(Uint8Array.of(7)).at, 1, DESC.NEXT, 6);
  queue.describe(queue.desc, 6, table, 32, DESC.INDIRECT, 0);
  queue.offer(5);
  queue.kick();
  assertEquals(seen, [{ bytes: [1, 2], writable: 4 }, { bytes: [7, 8], writable: 2 }]);
});

Deno.test("virtqueue takes an indirect chain longer than the queue", () => {
  const { queue, seen } = recorder({ size: 4 });
  queue.add(Array.from({ length: 40 }, (_, i) => Uint8Array.of(i)), [1], { indirect: true });
  queue.kick();
  assertEquals(seen, [{ bytes: Array.from({ length: 40 }, (_, i) => i), writable: 1 }]);
});

Deno.test("virtqueue indices wrap at 2^16", () => {
  const { queue, seen, driver } = recorder({ size: 2 });
  const buffer = driver.place(Uint8Array.of(1));
  for (let i = 0; i < 0x1_0003; i++) {
    queue.addBuffers([buffer]);
    assert(queue.kick());
    assertEquals(queue.completed().length, 1);
  }
  assertEquals(seen.length, 0x1_0003);
  assertEquals(queue.seen, 3);
  assert(!driver.broken);
});

Deno.test("virtqueue interrupts unless the driver refused, without EVENT_IDX", () => {
  const { queue, driver } = recorder({ without: [FEATURE.EVENT_IDX] });
  queue.add([], [1]);
  queue.refuseInterrupts();
  queue.notify();
  assert(!driver.interrupts().used);
  queue.completed();
  queue.add([], [1]);
  queue.notify();
  assert(driver.interrupts().used);
});

Deno.test("virtqueue interrupts at the completion asked for, with EVENT_IDX", () => {
  const { queue, driver } = recorder();
  queue.wantInterrupt(2);
  const interrupts = [1, 2, 3, 4].map(() => {
    queue.add([], [1]);
    queue.kick();
    return driver.interrupts().used;
  });
  assertEquals(interrupts, [false, false, true, false]);
});

Deno.test("virtqueue asks for a notification only after it has taken everything, with EVENT_IDX", () => {
  const { queue, services } = recorder();
  assert(queue.add([], [1]) && queue.kick());
  queue.completed();
  assertEquals(services.dma.load(queue.used + 4 + 8 * queue.size, 2), 1);
  queue.add([], [1]);
  queue.add([], [1]);
  assert(queue.kick());
  assertEquals(services.dma.load(queue.used + 4 + 8 * queue.size, 2), 3);
});

Deno.test("virtqueue works through more than a turn's work by turns", () => {
  const { queue, services, seen, driver } = recorder({ size: 256 });
  const large = { at: RAM_BASE + 0x40000, length: 0x80000, writable: false };
  for (let i = 0; i < 200; i++) queue.addBuffers([large]);
  queue.kick();
  const first = seen.length;
  assert(first > 0 && first < 50, `${first} at once`);
  for (let turns = 0; seen.length < 200 && turns < 50; turns++) services.clock.advance(0);
  assertEquals(seen.length, 200);
  assertEquals(services.clock.deadline("more"), undefined);
  assert(!driver.broken);
});

const HOSTILE: Record<string, (queue: DriverQueue, driver: VirtioDriver) => void> = {
  "a head behind the table": (queue) => queue.offer(queue.size),
  "a next behind the table": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 1, DESC.NEXT, 0xffff);
    queue.offer(0);
  },
  "a loop of one": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 1, DESC.NEXT, 0);
    queue.offer(0);
  },
  "a loop of empty descriptors": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 0, DESC.NEXT, 1);
    queue.describe(queue.desc, 1, SPARE, 0, DESC.NEXT, 0);
    queue.offer(0);
  },
  "a loop within an indirect table": (queue, driver) => {
    const table = driver.allocate(32);
    queue.describe(table, 0, SPARE, 1, DESC.NEXT, 1);
    queue.describe(table, 1, SPARE, 1, DESC.NEXT, 0);
    queue.describe(queue.desc, 0, table, 32, DESC.INDIRECT, 0);
    queue.offer(0);
  },
  "a readable buffer after a writable one": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 1, DESC.WRITE | DESC.NEXT, 1);
    queue.describe(queue.desc, 1, SPARE + 8, 1, 0, 0);
    queue.offer(0);
  },
  "a buffer past the end of RAM": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 0x1001, DESC.WRITE, 0);
    queue.offer(0);
  },
  "a buffer before RAM": (queue) => {
    queue.describe(queue.desc, 0, RAM_BASE - 1, 2, DESC.WRITE, 0);
    queue.offer(0);
  },
  "a buffer in registers": (queue) => {
    queue.describe(queue.desc, 0, 0x1000_1000, 16, 0, 0);
    queue.offer(0);
  },
  "a buffer that wraps 2^64": (queue) => {
    queue.describe(queue.desc, 0, 0xffff_ffff_ffff_f000n, 0x2000, DESC.WRITE, 0);
    queue.offer(0);
  },
  "a buffer of 4 GiB": (queue) => {
    queue.describe(queue.desc, 0, RAM_BASE, 0xffff_ffff, DESC.WRITE, 0);
    queue.offer(0);
  },
  "an indirect table within an indirect table": (queue, driver) => {
    const table = driver.allocate(16);
    queue.describe(table, 0, table, 16, DESC.INDIRECT, 0);
    queue.describe(queue.desc, 0, table, 16, DESC.INDIRECT, 0);
    queue.offer(0);
  },
  "an indirect table with a next": (queue, driver) => {
    const table = driver.allocate(16);
    queue.describe(table, 0, SPARE, 1, 0, 0);
    queue.describe(queue.desc, 0, table, 16, DESC.INDIRECT | DESC.NEXT, 1);
    queue.offer(0);
  },
  "an indirect table of no length": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 0, DESC.INDIRECT, 0);
    queue.offer(0);
  },
  "an indirect table of an odd length": (queue) => {
    queue.describe(queue.desc, 0, SPARE, 24, DESC.INDIRECT, 0);
    queue.offer(0);
  },
  "an indirect table outside of RAM": (queue) => {
    queue.describe(queue.desc, 0, 0xffff_ffff_ffff_fff0n, 0xffff_fff0, DESC.INDIRECT, 0);
    queue.offer(0);
  },
  "a huge indirect table that runs on": (queue, driver) => {
    const table = driver.allocate(16 * 2000);
    for (let i = 0; i < 2000; i++) queue.describe(table, i, SPARE, 0, DESC.NEXT, i + 1);
    queue.describe(queue.desc, 0, table, 0xffff_fff0, DESC.INDIRECT, 0);
    queue.offer(0);
  },
  "more buffers than a chain may have, in a table behind others": (queue, driver) => {
    const [direct, indirect] = [10, 1020];
    const table = driver.allocate(16 * indirect);
    const at = (i: number) => SPARE + 2 * i;
    for (let i = 0; i < direct; i++) queue.describe(queue.desc, i, at(i), 1, DESC.NEXT, i + 1);
    queue.describe(queue.desc, direct, table, 16 * indirect, DESC.INDIRECT, 0);
    for (let i = 0; i < indirect; i++) {
      queue.describe(table, i, at(i), 1, i < indirect - 1 ? DESC.NEXT : 0, i + 1);
    }
    queue.offer(0);
  },
  "an available index far ahead": (queue, driver) => driver.dma.store(queue.avail + 2, queue.size + 1, 2),
  "an available index that went back": (queue, driver) => driver.dma.store(queue.avail + 2, 0xffff, 2),
};

for (const [what, break_] of Object.entries(HOSTILE)) {
  Deno.test(`virtqueue refuses ${what}, writes nothing, and works after a reset`, () => {
    const { queue, driver, services, seen } = recorder();
    break_(queue, driver);
    const before = services.dma.ram.slice();
    queue.notify();
    assert(driver.broken);
    assertEquals(seen, []);
    assertEquals(services.dma.ram, before);
    driver.start({ sizes: [16] });
    driver.queues[0].add([Uint8Array.of(1)], [1]);
    driver.queues[0].kick();
    assertEquals(driver.queues[0].completed().length, 1);
  });
}

Deno.test("virtqueue refuses indirect tables that were not negotiated", () => {
  const { queue, driver } = recorder({ without: [FEATURE.INDIRECT_DESC] });
  queue.add([Uint8Array.of(1)], [], { indirect: true });
  queue.kick();
  assert(driver.broken);
});

Deno.test("virtqueue refuses buffers of more than 4 GiB in all", () => {
  const ramSize = 8 << 20;
  const { queue, driver, seen } = recorder({ ramSize });
  const all = { at: RAM_BASE, length: ramSize, writable: true };
  queue.addBuffers(Array.from({ length: 512 }, () => all), true);
  queue.kick();
  assertEquals([seen.length, driver.broken], [1, false]);
  queue.addBuffers(Array.from({ length: 513 }, () => all), true);
  queue.notify();
  assertEquals([seen.length, driver.broken], [1, true]);
});

Deno.test("virtqueue takes what is added before the driver can see that a notification is wanted", () => {
  const { queue, services, seen } = recorder();
  const { dma } = services;
  const event = queue.used + 4 + 8 * queue.size;
  const store = dma.store.bind(dma);
  let late = true;
  dma.store = (at, value, width) => {
    if (at === event && late) {
      late = false;
      queue.add([Uint8Array.of(2)], [1]);
    }
    store(at, value, width);
  };
  queue.add([Uint8Array.of(1)], [1]);
  queue.notify();
  assertEquals(seen.map(({ bytes }) => bytes), [[1], [2]]);
});

Deno.test("virtqueue skips empty buffers, wherever they point", () => {
  const { queue, driver, seen } = recorder();
  queue.addBuffers([
    driver.place(Uint8Array.of(1)),
    { at: 0, length: 0, writable: false },
    { at: 0, length: 0, writable: true },
    { at: SPARE, length: 2, writable: true },
  ]);
  queue.kick();
  assertEquals(seen, [{ bytes: [1], writable: 2 }]);
});
