// Runs the device suite over every built-in device, each in the middle of its own kind of work.

import clint from "../../devices/clint.ts";
import goldfish_rtc from "../../devices/goldfish_rtc.ts";
import plic from "../../devices/plic.ts";
import serial_16550 from "../../devices/serial_16550.ts";
import syscon from "../../devices/syscon.ts";
import virtio_blk from "../../devices/virtio_blk.ts";
import virtio_console from "../../devices/virtio_console.ts";
import virtio_net from "../../devices/virtio_net.ts";
import virtio_rng from "../../devices/virtio_rng.ts";
import type { Device } from "../../core/plugin.ts";
import { deviceSuite } from "../support/device_suite.ts";
import type { FakeServices } from "../support/fake_services.ts";
import { VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

/** Makes register writes of a device's first region. */
const writes = (...pairs: (readonly [offset: number, value: number])[]) => (device: Device): void => {
  for (const [offset, value] of pairs) device.regions[0].write(offset, value, device.regions[0].widths[0]);
};

/** Starts a virtio device and offers it chains of what is readable and what is writable. */
const chains = (...offers: { queue: number; readable?: number[][]; writable?: number[] }[]) =>
(
  device: Device,
  { dma }: FakeServices,
): void => {
  const driver = new VirtioDriver(device, dma).start();
  for (const { queue, readable = [], writable = [] } of offers) {
    driver.queues[queue].add(readable.map((bytes) => Uint8Array.from(bytes)), writable);
    driver.queues[queue].kick();
  }
};

const readSector1 = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

deviceSuite(serial_16550, {
  // FIFOs on, all interrupts, RTS: input is asked for; the first byte goes to the host, the second waits.
  work: writes([2, 1], [1, 0x0f], [4, 2], [0, 65], [0, 66]),
  waits: true,
});
deviceSuite(clint, {
  work(device, { clock }) {
    writes([4, 1], [0x4000, 100], [0x4004, 0], [0x4008, 1000], [0x400c, 0])(device);
    clock.advance(50_000);
  },
});
deviceSuite(plic, {
  work(device) {
    writes([4 * 5, 1], [4 * 6, 2], [0x2080, 0x60])(device);
    for (const input of [5, 6]) device.controller!.set(input, true);
    device.regions[0].read(0x201004, 4);
  },
});
deviceSuite(syscon);
deviceSuite(goldfish_rtc, { work: writes([0x10, 1], [0x0c, 0x7fff_ffff], [0x08, 0]) });
deviceSuite(virtio_blk, { work: chains({ queue: 0, readable: [readSector1], writable: [512, 1] }), waits: true });
deviceSuite(virtio_net, { work: chains({ queue: 0, writable: [2048] }), waits: true });
deviceSuite(virtio_rng, { work: chains({ queue: 0, writable: [64] }) });
deviceSuite(virtio_console, {
  work: chains({ queue: 0, writable: [64] }, { queue: 1, readable: [[72, 105]] }),
  waits: true,
});
