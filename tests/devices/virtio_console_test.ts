// devices/virtio_console.ts: virtio 1.2 section 5.3.

import { assert, assertEquals, assertThrows } from "@std/assert";
import virtioConsole from "../../devices/virtio_console.ts";
import { REG } from "../../devices/virtio/registers.ts";
import { fakeServices } from "../support/fake_services.ts";
import { VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";

const RECEIVE = 0, TRANSMIT = 1;

function terminal(options: Record<string, unknown> = {}) {
  const services = fakeServices();
  const config = virtioConsole.config.parse(options, "console0");
  const device = services.bind(virtioConsole.create({ ...services, config, name: "console0" }));
  const driver = new VirtioDriver(device, services.dma);
  return { services, stream: services.stream, device, driver };
}

const turn = () => new Promise((done) => setTimeout(done));
const encode = (text: string) => new TextEncoder().encode(text);

/** What the guest has received, as text. */
function received(driver: VirtioDriver, buffers: Map<number, number>): string {
  return driver.queues[RECEIVE].completed()
    .map(({ head, written }) => new TextDecoder().decode(driver.bytes(buffers.get(head)!, written)))
    .join("");
}

/** Gives the device receive buffers; their addresses by head. */
function offer(driver: VirtioDriver, count: number, size: number): Map<number, number> {
  const queue = driver.queues[RECEIVE];
  const buffers = new Map(
    Array.from({ length: count }, () => queue.add([], [size])).map((b) => [b.head, b.writable[0]]),
  );
  queue.kick();
  return buffers;
}

Deno.test("virtio_console transmits what the guest writes", () => {
  const { driver, stream } = terminal();
  const queue = driver.start().queues[TRANSMIT];
  assertEquals(driver.read(REG.DeviceID), 3);
  queue.add([encode("hello, "), encode("world")]);
  queue.add([encode("!\n")]);
  queue.kick();
  assertEquals(stream.text, "hello, world!\n");
  assertEquals(queue.completed().map((done) => done.written), [0, 0]);
});

Deno.test("virtio_console transmits long buffers whole, and empty ones", () => {
  const { driver, stream } = terminal();
  const queue = driver.start().queues[TRANSMIT];
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i * 31 >> 3);
  queue.add([bytes.subarray(0, 5), bytes.subarray(5)]);
  queue.add([], [4]);
  queue.kick();
  assertEquals(Uint8Array.from(stream.output), bytes);
  assertEquals(queue.completed().length, 2);
});

Deno.test("virtio_console needs a reset after a buffer that shrank while it was transmitted", async () => {
  const { driver, stream, device } = terminal();
  const queue = driver.start().queues[TRANSMIT];
  stream.slow = true;
  queue.add([new Uint8Array(40_000)]);
  queue.kick();
  assertEquals(stream.output.length, 16_384);
  const head = driver.dma.load(queue.avail + 4, 2);
  driver.dma.store(queue.desc + 16 * head + 8, 100, 4);
  stream.drain();
  await turn();
  assert(driver.broken);
  assertEquals(device.state.fault, "a buffer that shrank while it was transmitted");
  stream.slow = false;
  stream.drain();
  await turn();
  driver.start().queues[TRANSMIT].add([encode("again")]);
  driver.queues[TRANSMIT].kick();
  assertEquals(stream.text.slice(-5), "again");
});

Deno.test("virtio_console holds the guest back while the stream asks to wait", async () => {
  const { driver, stream } = terminal();
  const queue = driver.start().queues[TRANSMIT];
  stream.slow = true;
  for (const word of ["one ", "two ", "three"]) queue.add([encode(word)]);
  queue.kick();
  assertEquals(stream.text, "one ");
  assertEquals(queue.completed().length, 1);
  stream.drain();
  await turn();
  assertEquals(stream.text, "one two ");
  stream.slow = false;
  stream.drain();
  await turn();
  assertEquals(stream.text, "one two three");
  assertEquals(queue.completed().length, 2);
});

Deno.test("virtio_console asks for input only while the guest has room, and loses none", async () => {
  const { driver, stream } = terminal();
  stream.type("abcdefgh");
  driver.start();
  await turn();
  assert(!stream.reading);
  const buffers = offer(driver, 2, 3);
  await turn();
  assertEquals(received(driver, buffers), "abcdef");
  stream.type("ij");
  await turn();
  assert(!stream.reading);
  const more = offer(driver, 4, 3);
  await turn();
  assertEquals(received(driver, more), "ghij");
  assert(stream.reading);
});

Deno.test("virtio_console keeps input over a reset of the driver and a restore", async () => {
  const { driver, stream, services, device } = terminal();
  driver.start();
  const buffers = offer(driver, 1, 2);
  stream.type("abcdef");
  await turn();
  assertEquals(received(driver, buffers), "ab");
  driver.start();
  assertEquals(received(driver, offer(driver, 1, 1)), "c");
  const saved = structuredClone(device.state);
  const ram = services.dma.ram.slice();
  driver.start();
  services.dma.ram.set(ram);
  services.restore(structuredClone(saved));
  assertEquals(device.state, saved);
  driver.start();
  const last = offer(driver, 2, 16);
  await turn();
  assertEquals(received(driver, last), "def");
  stream.type("gh");
  await turn();
  assertEquals(received(driver, last), "gh");
});

Deno.test("virtio_console waits quietly after the input's end", async () => {
  const { driver, stream } = terminal();
  driver.start();
  offer(driver, 2, 4);
  stream.type(null);
  await turn();
  driver.queues[RECEIVE].notify();
  await turn();
  assert(!stream.reading);
  assertEquals(driver.queues[RECEIVE].completed(), []);
});

Deno.test("virtio_console tells its size if it has one", () => {
  const { driver } = terminal({ columns: 132, rows: 50 });
  assert(driver.offered().includes(0));
  assertEquals([driver.config(0, 2), driver.config(2, 2), driver.config(4, 4)], [132, 50, 1]);
  assert(!terminal().driver.offered().includes(0));
  assertThrows(() => virtioConsole.config.parse({ rows: 0 }, "console0"), TypeError, "console0.rows");
});
