// devices/virtio_net.ts: virtio 1.2 section 5.1.

import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import type { Bytes, Packet } from "../../core/plugin.ts";
import virtioNet from "../../devices/virtio_net.ts";
import { REG } from "../../devices/virtio/registers.ts";
import { type FakeOptions, fakeServices } from "../support/fake_services.ts";
import { VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

const F = { CSUM: 0, GUEST_CSUM: 1, MTU: 3, MAC: 5, GUEST_TSO4: 7, HOST_TSO4: 11, MRG_RXBUF: 15, STATUS: 16 };
const GUEST_OFFLOADS = [1, 7, 8, 9, 54, 55];
const RECEIVE = 0, TRANSMIT = 1, CONTROL = 2;

function card(options: Record<string, unknown> = {}, fakes: FakeOptions = {}) {
  const services = fakeServices(fakes);
  const config = virtioNet.config.parse(options, "net0");
  const device = services.bind(virtioNet.create({ ...services, config, name: "net0" }));
  const driver = new VirtioDriver(device, services.dma);
  return { services, net: services.net, device, driver };
}

const turn = () => new Promise((done) => setTimeout(done));
const frameOf = (length: number, seed = 1): Bytes => Uint8Array.from({ length }, (_, i) => i * seed + (i >> 8));

function header(
  fields: Partial<Record<"flags" | "type" | "hdrLen" | "size" | "start" | "offset", number>> = {},
): Bytes {
  const view = new DataView(new ArrayBuffer(12));
  view.setUint8(0, fields.flags ?? 0);
  view.setUint8(1, fields.type ?? 0);
  view.setUint16(2, fields.hdrLen ?? 0, true);
  view.setUint16(4, fields.size ?? 0, true);
  view.setUint16(6, fields.start ?? 0, true);
  view.setUint16(8, fields.offset ?? 0, true);
  return new Uint8Array(view.buffer);
}

/** Gives the card receive buffers; their addresses by head. */
function offer(driver: VirtioDriver, count: number, size: number): Map<number, number> {
  const queue = driver.queues[RECEIVE];
  const buffers = new Map(
    Array.from({ length: count }, () => queue.add([], [size])).map((b) => [b.head, b.writable[0]]),
  );
  queue.kick();
  return buffers;
}

/** Packets the guest received: header and frame, put together from merged buffers. */
function received(driver: VirtioDriver, buffers: Map<number, number>): { header: DataView; frame: Bytes }[] {
  const parts = driver.queues[RECEIVE].completed().map(({ head, written }) =>
    driver.bytes(buffers.get(head)!, written)
  );
  const packets = [];
  while (parts.length > 0) {
    const view = new DataView(parts[0].slice(0, 12).buffer);
    const bytes = parts.splice(0, view.getUint16(10, true)).flatMap((part) => [...part]);
    packets.push({ header: view, frame: Uint8Array.from(bytes.slice(12)) });
  }
  return packets;
}

Deno.test("virtio_net has the address and MTU it was given", () => {
  const { driver } = card({ mac: "52:54:00:12:34:56", mtu: 9000 });
  assertEquals(driver.read(REG.DeviceID), 1);
  for (const feature of [F.MAC, F.STATUS, F.MTU, F.CSUM, F.HOST_TSO4]) assert(driver.offered().includes(feature));
  assertEquals([0, 1, 2, 3, 4, 5].map((i) => driver.config(i, 1)), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
  assertEquals([driver.config(6, 2), driver.config(8, 2), driver.config(10, 2)], [1, 1, 9000]);
});

Deno.test("virtio_net makes its address of its own and its machine's name", () => {
  const mac = (name: string, machine = "one") => {
    const services = fakeServices();
    const device = virtioNet.create({ ...services, config: { mac: undefined, mtu: undefined }, name, machine });
    const driver = new VirtioDriver(device, services.dma);
    return [0, 1, 2, 3, 4, 5].map((i) => driver.config(i, 1));
  };
  assertEquals(mac("net0"), mac("net0"));
  assertNotEquals(mac("net0"), mac("net1"));
  assertNotEquals(mac("net0"), mac("net0", "two"));
  assertEquals(mac("net0").slice(0, 3), [0x52, 0x54, 0]);
});

Deno.test("virtio_net checks its options", () => {
  const parse = (options: unknown) => () => virtioNet.config.parse(options, "net0");
  assertThrows(parse({ mac: "52:54" }), TypeError, "Cannot configure net0.mac: wanted a unicast MAC address");
  assertThrows(parse({ mac: "ff:ff:ff:ff:ff:ff" }), TypeError, "net0.mac");
  assertThrows(parse({ mac: "00:00:00:00:00:00" }), TypeError, "net0.mac");
  assertThrows(parse({ mtu: 20 }), TypeError, "net0.mtu");
});

Deno.test("virtio_net offers offloads only where the network takes them, and refuses them without their base", () => {
  assertEquals(card({}, { offloads: false }).driver.offered(), [5, 15, 16, 17, 18, 28, 29, 32]);
  const { driver } = card();
  assert(driver.negotiate([32, F.CSUM, F.HOST_TSO4]));
  assert(!driver.negotiate([32, F.HOST_TSO4]));
  assert(!driver.negotiate([32, F.GUEST_TSO4]));
  assert(!driver.negotiate([32, 0, 13]), "ECN without TSO");
});

Deno.test("virtio_net sends frames, scattered or with the header in the same buffer", () => {
  const { driver, net } = card();
  const queue = driver.start().queues[TRANSMIT];
  const frame = frameOf(60);
  queue.add([header(), frame.subarray(0, 14), frame.subarray(14)]);
  queue.add([Uint8Array.of(...header(), ...frame)]);
  queue.kick();
  assertEquals(net.sent, [{ frame }, { frame }]);
  assertEquals(queue.completed().length, 2);
});

Deno.test("virtio_net passes on undone checksums and segmentation", () => {
  const { driver, net } = card();
  const queue = driver.start().queues[TRANSMIT];
  const frame = frameOf(5000);
  queue.add([header({ flags: 1, start: 34, offset: 16 }), frame]);
  queue.add([header({ flags: 1, type: 0x81, hdrLen: 54, size: 1448, start: 34, offset: 16 }), frame]);
  queue.kick();
  const checksum = { start: 34, offset: 16 };
  assertEquals(net.sent, [
    { frame, checksum },
    { frame, checksum, segmentation: { kind: "tcp4", size: 1448, headerLength: 54, ecn: true } },
  ]);
});

Deno.test("virtio_net drops packets whose header lies", () => {
  const lies = [
    [header({ flags: 1, start: 4983, offset: 16 }), frameOf(5000)],
    [header({ flags: 1, start: 0xffff, offset: 0xffff }), frameOf(5000)],
    [header({ type: 1, size: 1448 }), frameOf(5000)],
    [header({ flags: 1, type: 1, size: 0, start: 34, offset: 16 }), frameOf(5000)],
    [header({ flags: 1, type: 2, size: 9, start: 34, offset: 16 }), frameOf(5000)],
    [header({ flags: 1, type: 3, size: 9, start: 34, offset: 16 }), frameOf(5000)],
    [header(), frameOf(13)],
    [header(), frameOf(70_000)],
    [header().subarray(0, 11)],
    [],
  ];
  const { driver, net } = card();
  const queue = driver.start().queues[TRANSMIT];
  for (const parts of lies) {
    if (parts.length > 0) queue.add(parts);
    else queue.add([], [8]);
    queue.kick();
    assertEquals(queue.completed().length, 1);
  }
  assertEquals(net.sent, []);
  assert(!driver.broken);
});

Deno.test("virtio_net drops offloads that were not agreed on", () => {
  const { driver, net } = card();
  const queue = driver.start({ without: [F.HOST_TSO4, 13] }).queues[TRANSMIT];
  queue.add([header({ flags: 1, type: 1, size: 1448, start: 34, offset: 16 }), frameOf(5000)]);
  queue.add([header({ flags: 1, type: 0x84, size: 1448, start: 34, offset: 16 }), frameOf(5000)]);
  queue.kick();
  assertEquals(net.sent, []);
});

Deno.test("virtio_net receives frames, also merged from small buffers", async () => {
  const { driver, net } = card();
  driver.start({ sizes: [64] });
  const buffers = offer(driver, 40, 100);
  net.arrive({ frame: frameOf(60) }, { frame: frameOf(1514, 3) }, { frame: frameOf(88) });
  await turn();
  const packets = received(driver, buffers);
  assertEquals(packets.map((packet) => packet.frame), [frameOf(60), frameOf(1514, 3), frameOf(88)]);
  assertEquals(packets.map((packet) => packet.header.getUint16(10, true)), [1, 16, 1]);
});

Deno.test("virtio_net asks for packets only while the guest has buffers, and keeps what does not fit", async () => {
  const { driver, net, device } = card();
  net.arrive({ frame: frameOf(60) });
  driver.start();
  await turn();
  assertEquals(net.backlog, 1);
  const buffers = offer(driver, 2, 100);
  await turn();
  assertEquals(received(driver, buffers).length, 1);
  net.arrive({ frame: frameOf(200) }, { frame: frameOf(61) });
  await turn();
  assertEquals(received(driver, buffers), []);
  assertEquals([device.state.device.waiting.length, net.receiving], [2, false]);
  const saved = structuredClone(device.state);
  assert(!driver.broken);
  const more = new Map([...buffers, ...offer(driver, 4, 100)]);
  assertEquals(received(driver, more).map((packet) => packet.frame.length), [200, 61]);
  assertEquals(saved.device.waiting.length, 2);
  assert(net.receiving);
});

Deno.test("virtio_net drops a packet that no buffers can hold", async () => {
  const { driver, net } = card();
  driver.start({ sizes: [16], without: [F.MRG_RXBUF] });
  const buffers = offer(driver, 2, 100);
  net.arrive({ frame: frameOf(200) }, { frame: frameOf(60) });
  await turn();
  assertEquals(received(driver, buffers).map((packet) => packet.frame.length), [60]);

  driver.start({ sizes: [2] });
  const merged = offer(driver, 2, 50);
  net.arrive({ frame: frameOf(200) }, { frame: frameOf(60) });
  await turn();
  assertEquals(received(driver, merged).map((packet) => packet.frame.length), [60]);
});

Deno.test("virtio_net needs a reset after a receive buffer below the header", async () => {
  const { driver, net } = card();
  driver.start();
  offer(driver, 2, 11);
  net.arrive({ frame: frameOf(60) });
  await turn();
  assert(driver.broken);
});

Deno.test("virtio_net leaves to the guest what it takes undone, and finishes the rest", async () => {
  const packet: Packet = {
    frame: tcpFrame(4000),
    checksum: { start: 34, offset: 16 },
    segmentation: { kind: "tcp4", size: 1448, headerLength: 54, ecn: false },
  };
  const { driver, net } = card();
  driver.start();
  let buffers = offer(driver, 8, 6000);
  net.arrive(packet);
  await turn();
  const [whole] = received(driver, buffers);
  assertEquals(whole.frame, packet.frame);
  assertEquals([0, 1].map((i) => whole.header.getUint8(i)), [1, 1]);
  assertEquals([2, 4, 6, 8].map((i) => whole.header.getUint16(i, true)), [54, 1448, 34, 16]);

  driver.start({ without: GUEST_OFFLOADS });
  buffers = offer(driver, 8, 6000);
  net.arrive(packet, { frame: packet.frame, checksum: packet.checksum });
  await turn();
  const cut = received(driver, buffers);
  assertEquals(cut.map((packet) => packet.frame.length), [1502, 1502, 1158, 4054]);
  assertEquals(cut.map((packet) => [packet.header.getUint8(0), packet.header.getUint8(1)]), new Array(4).fill([0, 0]));
});

Deno.test("virtio_net leaves segments of UDP to a guest that takes them by both versions of IP", async () => {
  const frame = new Uint8Array(42 + 2000);
  frame.set([0x08, 0x00, 0x45, 0], 12);
  frame[23] = 17;
  const packet: Packet = {
    frame,
    checksum: { start: 34, offset: 6 },
    segmentation: { kind: "udp", size: 1000, headerLength: 42, ecn: false },
  };
  for (const [without, lengths] of [[[], [2042]], [[55], [1042, 1042]], [[54], [1042, 1042]]]) {
    const { driver, net } = card();
    driver.start({ without });
    const buffers = offer(driver, 8, 3000);
    net.arrive(packet);
    await turn();
    assertEquals(received(driver, buffers).map((packet) => packet.frame.length), lengths);
  }
});

Deno.test("virtio_net tells the guest when the cable is plugged out and in", async () => {
  const { driver, net } = card();
  driver.start();
  const before = driver.read(REG.ConfigGeneration);
  net.plug(false);
  await turn();
  assert(driver.interrupts().config);
  assertEquals(driver.config(6, 2), 0);
  assertNotEquals(driver.read(REG.ConfigGeneration), before);
  net.plug(true);
  await turn();
  assertEquals(driver.config(6, 2), 1);
});

Deno.test("virtio_net sees after a restore that the cable is out", () => {
  const { driver, net, services, device } = card();
  driver.start();
  const saved = structuredClone(device.state);
  net.linkUp = false;
  services.restore(saved);
  assertEquals(driver.config(6, 2), 0);
  assert(driver.interrupts().config);
});

Deno.test("virtio_net accepts receive filters and refuses other commands", () => {
  const { driver } = card();
  const queue = driver.start().queues[CONTROL];
  const acknowledged = [[0, 0, 1], [0, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [4, 0, 1, 0], [0], []].map((command) => {
    const { writable: [ack] } = queue.add(command.length ? [Uint8Array.from(command)] : [], [1]);
    queue.kick();
    queue.completed();
    return driver.dma.load(ack, 1);
  });
  assertEquals(acknowledged, [0, 0, 0, 1, 1, 1]);
});

Deno.test("virtio_net goes on receiving after a reset in the middle of traffic", async () => {
  const { driver, net, device } = card();
  driver.start();
  offer(driver, 1, 100);
  net.arrive({ frame: frameOf(200) });
  await turn();
  driver.write(REG.Status, 0);
  assertEquals(device.state.device.waiting, []);
  driver.start();
  const buffers = offer(driver, 2, 100);
  net.arrive({ frame: frameOf(62) });
  await turn();
  assertEquals(received(driver, buffers).map((packet) => packet.frame.length), [62]);
});

Deno.test("virtio_net asks the network again after a restore", async () => {
  const { driver, net, device, services } = card();
  driver.start();
  const buffers = offer(driver, 2, 100);
  assert(net.receiving);
  services.restore(structuredClone(device.state));
  assert(net.receiving);
  net.arrive({ frame: frameOf(63) });
  await turn();
  assertEquals(received(driver, buffers).map((packet) => packet.frame.length), [63]);
});

function tcpFrame(payload: number): Bytes {
  const frame = new Uint8Array(54 + payload);
  frame.set([0x08, 0x00, 0x45, 0], 12);
  frame[23] = 6;
  frame[46] = 5 << 4;
  return frame;
}
