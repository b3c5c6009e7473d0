// devices/virtio/mmio.ts: the registers of virtio 1.2 section 4.2.2, and the life of a device.

import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../core/plugin.ts";
import { STATUS, type VirtioPort, type VirtioState } from "../../devices/virtio/device.ts";
import { virtioMmio } from "../../devices/virtio/mmio.ts";
import { REG } from "../../devices/virtio/registers.ts";
import { fakeServices, RAM_BASE } from "../support/fake_services.ts";
import { VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

const FEATURE_A = 3;
const FEATURE_B = 40;

/** A device that answers each chain with the bytes it read, doubled. */
function echo() {
  const services = fakeServices();
  let port!: VirtioPort<{ setting: number }>;
  const device: Device<VirtioState<{ setting: number }>> = services.bind(virtioMmio(services, (given) => {
    port = given;
    return {
      id: 42,
      features: [FEATURE_A, FEATURE_B],
      queues: [16, 8],
      state: { setting: 0x0102 },
      accepts: () => !given.has(FEATURE_A) || given.has(FEATURE_B),
      config: () => Uint8Array.of(given.state.setting & 255, given.state.setting >> 8, 7, 8, 9),
      configure: (offset, value, width) => {
        if (offset === 0 && width === 2) given.state.setting = value;
      },
      reset: () => given.state.setting = 0x0102,
      serve(queue) {
        for (let chain = queue.pop(); chain; chain = queue.pop()) {
          const bytes = new Uint8Array(chain.readable);
          chain.read(0, bytes);
          queue.push(chain.head, chain.write(0, bytes.map((byte) => byte * 2)));
        }
      },
    };
  }));
  return { services, device, port, driver: new VirtioDriver(device, services.dma) };
}

Deno.test("virtio mmio has its registers where the specification has them", () => {
  // Table 4.1, from the top: drivers and devices here share one list, which is checked by nothing else.
  const offsets = Object.values(REG).map((offset) => offset.toString(16)).join(" ");
  assertEquals(
    offsets,
    "0 4 8 c 10 14 20 24 30 34 38 44 50 60 64 70 80 84 90 94 a0 a4 b0 b4 b8 bc fc 100",
  );
});

Deno.test("virtio mmio identifies itself", () => {
  const { driver } = echo();
  assertEquals(driver.read(REG.MagicValue), 0x74726976);
  assertEquals(driver.read(REG.Version), 2);
  assertEquals(driver.read(REG.DeviceID), 42);
  assertEquals(driver.read(REG.Status), 0);
});

Deno.test("virtio mmio offers its features a word at a time, and none beyond", () => {
  const { driver } = echo();
  assertEquals(driver.offered(), [FEATURE_A, 28, 29, 32, FEATURE_B]);
  driver.write(REG.DeviceFeaturesSel, 2);
  assertEquals(driver.read(REG.DeviceFeatures), 0);
  driver.write(REG.DeviceFeaturesSel, 0xffff_ffff);
  assertEquals(driver.read(REG.DeviceFeatures), 0);
});

Deno.test("virtio mmio agrees only to offered features that hold together and include VERSION_1", () => {
  const { driver } = echo();
  assert(driver.negotiate([32]));
  assert(driver.negotiate([FEATURE_A, 28, 29, 32, FEATURE_B]));
  assert(!driver.negotiate([28, 29]), "without VERSION_1");
  assert(!driver.negotiate([5, 32]), "not offered, low word");
  assert(!driver.negotiate([33, 32]), "not offered, high word");
  assert(!driver.negotiate([FEATURE_A, 32]), "refused by the device");
});

Deno.test("virtio mmio keeps the agreed features once FEATURES_OK is set", () => {
  const { driver, port } = echo();
  assert(driver.negotiate([32]));
  driver.write(REG.DriverFeaturesSel, 0);
  driver.write(REG.DriverFeatures, 1 << FEATURE_A);
  assert(!port.has(FEATURE_A));
});

Deno.test("virtio mmio ignores DRIVER_OK without FEATURES_OK", () => {
  const { driver, port } = echo();
  driver.write(REG.Status, STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK);
  assert(!port.live);
});

Deno.test("virtio mmio reads and writes configuration space in every width", () => {
  const { driver } = echo();
  assertEquals(driver.config(0, 1), 0x02);
  assertEquals(driver.config(1, 1), 0x01);
  assertEquals(driver.config(0, 2), 0x0102);
  assertEquals(driver.config(0, 4), 0x0807_0102);
  assertEquals(driver.config(4, 4), 9, "zero behind the end");
  assertEquals(driver.config(0xe00, 4), 0);
  driver.write(REG.Config, 0xbeef, 2);
  assertEquals(driver.config(0, 2), 0xbeef);
  driver.write(REG.Status, 0);
  assertEquals(driver.config(0, 2), 0x0102);
});

Deno.test("virtio mmio takes registers by 32 bits only and has no shared memory", () => {
  const { driver } = echo();
  assertEquals(driver.read(REG.MagicValue, 1), 0);
  driver.write(REG.Status, 1, 1);
  assertEquals(driver.read(REG.Status), 0);
  for (const register of [REG.SHMLenLow, REG.SHMLenHigh, REG.SHMBaseLow, REG.SHMBaseHigh]) {
    assertEquals(driver.read(register), 0xffff_ffff);
  }
  for (let offset = 0; offset < 0x100; offset += 4) driver.read(offset);
  driver.write(REG.MagicValue, 7);
  assertEquals(driver.read(REG.MagicValue), 0x74726976);
});

Deno.test("virtio mmio says how large each queue may be, and 0 for one that is not there", () => {
  const { driver } = echo();
  const maxima = [0, 1, 2, 0xffff_ffff].map((index) => {
    driver.write(REG.QueueSel, index);
    return driver.read(REG.QueueNumMax);
  });
  assertEquals(maxima, [16, 8, 0, 0]);
  driver.write(REG.QueueReady, 1);
  driver.write(REG.QueueNum, 4);
  driver.write(REG.QueueNotify, 77);
});

Deno.test("virtio mmio sets queues up, runs them and stops them", () => {
  const { driver } = echo();
  driver.start();
  const [queue] = driver.queues;
  driver.write(REG.QueueSel, 0);
  assertEquals(driver.read(REG.QueueReady), 1);
  driver.write(REG.QueueNum, 2);
  const { writable: [at] } = queue.add([Uint8Array.of(1, 2, 3)], [4]);
  queue.kick();
  assertEquals(queue.completed(), [{ head: 0, written: 3 }]);
  assertEquals(driver.bytes(at, 4), Uint8Array.of(2, 4, 6, 0));
  driver.write(REG.QueueReady, 0);
  assertEquals(driver.read(REG.QueueReady), 0);
  queue.add([Uint8Array.of(1)], [1]);
  queue.notify();
  assertEquals(queue.completed(), []);
});

Deno.test("virtio mmio refuses queues of a bad size or place", () => {
  const bad: [number, number, number, number][] = [
    [3, 0, 0x1000, 0x2000],
    [0, 0, 0x1000, 0x2000],
    [32, 0, 0x1000, 0x2000],
    [8, 8, 0x1000, 0x2000],
    [8, 0, 0x1001, 0x2000],
    [8, 0, 0x1000, 0x2002],
    [8, (1 << 20) - 16, 0x1000, 0x2000],
    [8, 0, 0x1000, 1 << 20],
    [8, -0x8000_0000, 0x1000, 0x2000],
  ];
  for (const [size, desc, avail, used] of bad) {
    const { driver } = echo();
    driver.negotiate([32]);
    driver.write(REG.QueueSel, 0);
    driver.write(REG.QueueNum, size);
    driver.write(REG.QueueDescLow, RAM_BASE + desc);
    driver.write(REG.QueueDriverLow, RAM_BASE + avail);
    driver.write(REG.QueueDeviceLow, RAM_BASE + used);
    driver.write(REG.QueueReady, 1);
    assertEquals(driver.read(REG.QueueReady), 0);
    assert(driver.broken);
    assertEquals(driver.read(REG.InterruptStatus), 0, "no notification before DRIVER_OK");
  }
});

Deno.test("virtio mmio raises the interrupt line until all reasons are acknowledged", () => {
  const { driver, services, port } = echo();
  driver.start();
  const [queue] = driver.queues;
  queue.add([Uint8Array.of(1)], [1]);
  queue.kick();
  port.configChanged();
  assertEquals(driver.read(REG.InterruptStatus), 3);
  assert(services.irq.level);
  driver.write(REG.InterruptACK, 1);
  assertEquals(driver.read(REG.InterruptStatus), 2);
  assert(services.irq.level);
  driver.write(REG.InterruptACK, 2);
  assertEquals(services.irq.history, [true, false]);
});

Deno.test("virtio mmio counts configuration changes and notifies only a driver that is there", () => {
  const { driver, services, port } = echo();
  const before = driver.read(REG.ConfigGeneration);
  port.configChanged();
  assert(driver.read(REG.ConfigGeneration) !== before);
  assert(!services.irq.level);
});

Deno.test("virtio mmio takes nothing before DRIVER_OK, and then what was made available earlier", () => {
  const { driver } = echo();
  const [queue] = driver.start({ live: false }).queues;
  queue.add([Uint8Array.of(5)], [1]);
  queue.notify();
  assertEquals(queue.completed(), []);
  driver.goLive();
  assertEquals(queue.completed().length, 1);
});

Deno.test("virtio mmio reset puts every register back and lowers the line", () => {
  const { driver, services } = echo();
  driver.start();
  driver.queues[1].add([Uint8Array.of(1)], [1]);
  driver.queues[1].kick();
  assert(services.irq.level);
  driver.write(REG.Status, 0);
  assertEquals(driver.read(REG.Status), 0);
  assertEquals(driver.read(REG.InterruptStatus), 0);
  driver.write(REG.QueueSel, 1);
  assertEquals(driver.read(REG.QueueReady), 0);
  assert(!services.irq.level);
  driver.start();
  driver.queues[1].add([Uint8Array.of(1)], [1]);
  driver.queues[1].kick();
  assertEquals(driver.queues[1].completed().length, 1);
});

Deno.test("virtio mmio stops a driver that breaks the rules, tells it so, and works after a reset", () => {
  const { driver } = echo();
  driver.start();
  const [queue] = driver.queues;
  queue.describe(queue.desc, 0, 0, 1, 0, 0);
  queue.offer(0);
  queue.notify();
  assert(driver.broken);
  assert(driver.interrupts().config);
  queue.describe(queue.desc, 0, RAM_BASE, 1, 0, 0);
  queue.add([Uint8Array.of(1)], [1]);
  queue.notify();
  assertEquals(queue.completed(), []);
  driver.write(REG.Status, driver.read(REG.Status) & ~STATUS.DEVICE_NEEDS_RESET);
  assert(driver.broken, "only a reset clears it");
  driver.start();
  assert(!driver.broken);
  driver.queues[0].add([Uint8Array.of(1)], [1]);
  driver.queues[0].kick();
  assertEquals(driver.queues[0].completed().length, 1);
});

Deno.test("virtio mmio serves no driver that gave the device up", () => {
  const { driver } = echo();
  const [queue] = driver.start().queues;
  driver.write(REG.Status, driver.read(REG.Status) | STATUS.FAILED);
  queue.add([Uint8Array.of(1)], [1]);
  queue.notify();
  assertEquals(queue.completed(), []);
});

Deno.test("virtio mmio leaves a queue where it is while it runs", () => {
  const { driver, services } = echo();
  const [queue] = driver.start().queues;
  driver.write(REG.QueueSel, 0);
  driver.write(REG.QueueNum, 2);
  for (const register of [REG.QueueDescLow, REG.QueueDriverLow, REG.QueueDeviceLow]) driver.write(register, 0x1000);
  for (let i = 1; i <= 3; i++) {
    const { writable: [answer] } = queue.add([Uint8Array.of(i)], [1]);
    queue.kick();
    assertEquals(services.dma.load(answer, 1), 2 * i);
  }
});

Deno.test("virtio mmio state is plain and stands for the whole device", () => {
  const { driver, device, services } = echo();
  driver.start();
  driver.queues[0].add([Uint8Array.of(1)], [1]);
  driver.queues[0].kick();
  const saved = structuredClone(device.state);
  driver.write(REG.Config, 0x7777, 2);
  driver.write(REG.Status, 0);
  services.restore(structuredClone(saved));
  assertEquals(device.state, saved);
  assert(services.irq.level);
  driver.queues[0].add([Uint8Array.of(9)], [1]);
  driver.queues[0].kick();
  assertEquals(driver.queues[0].completed().length, 2);
});

Deno.test("virtio mmio does nothing while paused and catches up on resume", () => {
  const { driver, device } = echo();
  driver.start();
  device.pause!();
  driver.queues[0].add([Uint8Array.of(1)], [1]);
  driver.queues[0].notify();
  assertEquals(driver.queues[0].completed(), []);
  device.resume!();
  assertEquals(driver.queues[0].completed().length, 1);
});

Deno.test("virtio mmio says what it is in the device tree", () => {
  assertEquals(echo().device.deviceTree, { node: "virtio_mmio", compatible: "virtio,mmio" });
});
