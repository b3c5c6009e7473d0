// Tests devices/serial_16550.ts against the data sheet.

import { assert, assertEquals } from "@std/assert";
import type { Plain } from "../../core/plugin.ts";
import serial from "../../devices/serial_16550.ts";
import { type FakeServices, fakeServices } from "../support/fake_services.ts";

const [RBR, THR, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR] = [0, 0, 1, 2, 2, 3, 4, 5, 6, 7];
const RTS = 2;
const LOOP = 0x10;
const turn = () => new Promise((done) => setTimeout(done));

function uart(config: Plain = {}) {
  const services: FakeServices = fakeServices();
  const device = services.bind(
    serial.create({ ...services, config: serial.config.parse(config, "serial0"), name: "serial0" }),
  );
  const [regs] = device.regions;
  return {
    device,
    ...services,
    get: (register: number) => regs.read(register, 1),
    set: (register: number, value: number) => regs.write(register, value, 1),
    /** Types, and lets the bytes arrive. */
    async type(text: string) {
      services.stream.type(text);
      await turn();
    },
    /** Reads all that has arrived. */
    take() {
      let text = "";
      while (regs.read(LSR, 1) & 1) text += String.fromCharCode(regs.read(RBR, 1));
      return text;
    },
  };
}

Deno.test("serial_16550 hands each character written to the host at once", () => {
  const { get, set, stream } = uart();
  for (const character of "hello") {
    assertEquals(get(LSR), 0x60);
    set(THR, character.charCodeAt(0));
  }
  assertEquals(stream.text, "hello");
});

Deno.test("serial_16550 holds the transmitter while the host is slow, and loses nothing of a FIFO", async () => {
  const { get, set, stream } = uart();
  set(FCR, 1);
  stream.slow = true;
  set(THR, 65);
  assertEquals(get(LSR), 0x20, "the FIFO is empty, the shift register is not");
  for (let i = 0; i < 16; i++) set(THR, 66 + i);
  assertEquals(get(LSR), 0);
  set(THR, 33);
  stream.slow = false;
  stream.drain();
  await turn();
  assertEquals(get(LSR), 0x60);
  assertEquals(stream.text, "ABCDEFGHIJKLMNOPQ", "the one that was too many is gone");
});

Deno.test("serial_16550 interrupts when the transmitter becomes empty, until IIR is read", () => {
  const { get, set, irq } = uart();
  set(IER, 2);
  assert(irq.level, "enabling the interrupt raises it");
  assertEquals(get(IIR), 2);
  assert(!irq.level);
  assertEquals(get(IIR), 1);
  set(THR, 65);
  assert(irq.level);
  set(IER, 0);
  assertEquals(get(IIR), 1);
  set(IER, 2);
  assertEquals(get(IIR), 2);
});

Deno.test("serial_16550 does not clear the transmitter's interrupt by an IIR read that tells of another", async () => {
  const { get, set, type } = uart();
  set(IER, 3);
  await type("a");
  assertEquals(get(IIR), 4);
  assertEquals(get(RBR), 97);
  assertEquals(get(IIR), 2);
});

Deno.test("serial_16550 interrupts at the trigger level, and below it after four quiet character times", async () => {
  const { get, set, type, irq, clock, take } = uart();
  set(LCR, 0x83);
  set(0, 2);
  set(1, 0);
  set(LCR, 3);
  set(FCR, 0x81);
  set(IER, 1);
  await type("1234567");
  assert(!irq.level);
  clock.advance(340_000);
  assert(!irq.level, "four characters of 10 bits at 115200 baud take 347 µs");
  clock.advance(8_000);
  assertEquals(get(IIR), 0xcc);
  assertEquals(take(), "1234567");
  assert(!irq.level);
  await type("12345678");
  assertEquals(get(IIR), 0xc4);
  get(RBR);
  assertEquals(get(IIR), 0xc1, "below the trigger level");
});

Deno.test("serial_16550 takes input only as fast as the guest reads it", async () => {
  const { set, type, inbox, take } = uart();
  inbox.held = true;
  set(FCR, 1);
  set(MCR, RTS);
  const text = "The quick brown fox jumps over the lazy dog. ".repeat(4);
  await type(text);
  let seen = "";
  for (const start of Array.from({ length: Math.ceil(text.length / 16) }, (_, i) => 16 * i)) {
    inbox.deliver(1);
    assertEquals(inbox.pending, 0, "no more is asked for before the FIFO is empty");
    const piece = take();
    assertEquals(piece, text.slice(start, start + 16));
    seen += piece;
  }
  assertEquals(seen, text);
});

Deno.test("serial_16550 leaves input with the host until the guest listens", async () => {
  const { get, set, type, stream, take } = uart();
  await type("uname\n");
  set(FCR, 1);
  set(FCR, 7);
  set(FCR, 0);
  for (const register of [LSR, RBR, IIR, MSR]) get(register);
  assert(!stream.reading);
  set(FCR, 1);
  set(IER, 1);
  await turn();
  assertEquals(take(), "uname\n");
});

Deno.test("serial_16550 serves a guest that does nothing but poll", async () => {
  const { get, type } = uart();
  await type("x");
  let polls = 0;
  while (!(get(LSR) & 1)) {
    if (++polls > 20) throw new Error("nothing came");
    await turn();
  }
  assertEquals(get(RBR), 120);
});

Deno.test("serial_16550 sends to itself in loopback, modem lines included", async () => {
  const { get, set, type, stream, take } = uart();
  set(FCR, 1);
  set(MCR, LOOP | 0x0a);
  assertEquals(get(MSR) & 0xf0, 0x90);
  set(MCR, LOOP | 0x05);
  assertEquals(get(MSR), 0x60 | 0x0b, "CTS, DSR and DCD changed; the ring indicator only began");
  assertEquals(get(MSR), 0x60);
  set(MCR, LOOP | 0x01);
  assertEquals(get(MSR), 0x20 | 0x04, "the ring indicator's trailing edge");
  await type("no");
  for (const character of "echo") set(THR, character.charCodeAt(0));
  assertEquals(take(), "echo");
  assertEquals(stream.text, "");
});

Deno.test("serial_16550 reports an overrun in loopback and keeps what it had", () => {
  const { get, set, take } = uart();
  set(FCR, 1);
  set(MCR, LOOP);
  set(IER, 4);
  for (let i = 0; i < 17; i++) set(THR, 65 + i);
  assertEquals(get(IIR), 0xc6);
  assertEquals(get(LSR) & 0x03, 0x03);
  assertEquals(get(LSR) & 0x02, 0);
  assertEquals(take(), "ABCDEFGHIJKLMNOP");
});

Deno.test("serial_16550 receives a break in its place among the characters", () => {
  const { get, set } = uart();
  set(FCR, 1);
  set(MCR, LOOP);
  set(THR, 65);
  set(LCR, 0x43);
  assertEquals(get(LSR) & 0x91, 0x81, "an error waits in the FIFO, not on top");
  assertEquals(get(RBR), 65);
  assertEquals(get(LSR) & 0x91, 0x91);
  assertEquals(get(LSR) & 0x91, 0x01);
  assertEquals(get(RBR), 0);
});

Deno.test("serial_16550 interrupts for modem lines that change", () => {
  const { get, set, irq } = uart();
  set(IER, 8);
  assert(!irq.level);
  set(MCR, LOOP);
  assert(irq.level);
  assertEquals(get(IIR), 0);
  get(MSR);
  assert(!irq.level);
});

Deno.test("serial_16550 keeps the divisor apart from the data, and forgets the FIFOs with their enable bit", () => {
  const { get, set } = uart();
  set(LCR, 0x80);
  set(0, 0x34);
  set(1, 0x12);
  assertEquals([get(0), get(1)], [0x34, 0x12]);
  set(LCR, 3);
  assertEquals([get(IER), get(LCR)], [0, 3]);
  set(SCR, 0xa5);
  assertEquals(get(SCR), 0xa5);
  set(FCR, 0xc1);
  assertEquals(get(IIR), 0xc1);
  set(FCR, 0xc0);
  assertEquals(get(IIR), 0x01);
});

Deno.test("serial_16550 moves its registers apart by regShift and says so", () => {
  const { device } = uart({ regShift: 2 });
  const [regs] = device.regions;
  regs.write(SCR << 2, 0x5a, 4);
  assertEquals(regs.read(SCR << 2, 4), 0x5a);
  assertEquals(regs.read(8 << 2, 4), 0);
  assertEquals(device.deviceTree?.properties, { "clock-frequency": 3_686_400, "reg-shift": 2 });
});

Deno.test("serial_16550 keeps bytes that come for a read from before a reset", () => {
  const { device, set, take } = uart();
  device.events!.input(0, new TextEncoder().encode("still here"));
  assertEquals(take(), "", "nobody listens");
  set(FCR, 1);
  set(MCR, RTS);
  assertEquals(take(), "still here");
});

Deno.test("serial_16550 goes on without input when the host's stream ends", async () => {
  const { set, get, stream } = uart();
  set(MCR, RTS);
  stream.type(null);
  await turn();
  assert(!stream.reading);
  set(IER, 1);
  assertEquals(get(LSR), 0x60);
});
