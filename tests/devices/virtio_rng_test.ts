// devices/virtio_rng.ts: virtio 1.2 section 5.4.

import { assert, assertEquals, assertThrows } from "@std/assert";
import virtioRng from "../../devices/virtio_rng.ts";
import { REG } from "../../devices/virtio/registers.ts";
import { fakeServices } from "../support/fake_services.ts";
import { VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

function rng() {
  const services = fakeServices();
  const device = services.bind(virtioRng.create({ ...services, config: {}, name: "rng0" }));
  return new VirtioDriver(device, services.dma);
}

Deno.test("virtio_rng fills buffers with entropy", () => {
  const driver = rng().start();
  assertEquals(driver.read(REG.DeviceID), 4);
  const { writable: [first, second] } = driver.queues[0].add([], [32, 8]);
  driver.queues[0].kick();
  assertEquals(driver.queues[0].completed(), [{ head: 0, written: 40 }]);
  const random = [...driver.bytes(first, 32), ...driver.bytes(second, 8)];
  assert(new Set(random).size > 10);
});

Deno.test("virtio_rng gives a part of a huge request and nothing for one it can not write", () => {
  const driver = rng().start();
  const [queue] = driver.queues;
  queue.add([], [100_000]);
  queue.add([new Uint8Array(8)]);
  queue.kick();
  assertEquals(queue.completed().map((done) => done.written), [4096, 0]);
});

Deno.test("virtio_rng takes no options", () => {
  assertThrows(() => virtioRng.config.parse({ seed: 1 }, "rng0"), TypeError, "Cannot configure rng0.seed");
});
