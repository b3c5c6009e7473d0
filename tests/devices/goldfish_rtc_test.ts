// Tests devices/goldfish_rtc.ts.

import { assert, assertEquals } from "@std/assert";
import rtc from "../../devices/goldfish_rtc.ts";
import { fakeServices } from "../support/fake_services.ts";

const [TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH] = [0x00, 0x04, 0x08, 0x0c];
const [IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT] = [0x10, 0x14, 0x18, 0x1c];
const START = 1_700_000_000_000_000;

function clockCard() {
  const services = fakeServices();
  let skipped = 0;
  const wallTime = () => START + services.clock.now / 1000 + skipped;
  const device = services.bind(rtc.create({ ...services, wallTime, config: {}, name: "rtc0" }));
  const [regs] = device.regions;
  const get = (offset: number) => regs.read(offset, 4);
  const set = (offset: number, value: number) => regs.write(offset, value, 4);
  return {
    device,
    ...services,
    get,
    set,
    /** The host's time of day goes on while virtual time stands still. */
    skip: (micros: number) => skipped += micros,
    time: () => BigInt(get(TIME_LOW)) | BigInt(get(TIME_HIGH)) << 32n,
    setPair(high: number, low: number, value: bigint) {
      set(high, Number(value >> 32n));
      set(low, Number(value & 0xffff_ffffn));
    },
  };
}

Deno.test("goldfish_rtc tells the host's time in nanoseconds, both halves of one moment", () => {
  const { get, time, skip } = clockCard();
  assertEquals(time(), BigInt(START) * 1000n);
  const high = get(TIME_LOW) && get(TIME_HIGH);
  skip(5_000_000);
  assertEquals(get(TIME_HIGH), high, "latched until the low half is read");
});

Deno.test("goldfish_rtc keeps a time that the guest sets", () => {
  const { time, setPair, clock } = clockCard();
  setPair(TIME_HIGH, TIME_LOW, 1_000_000_000n * 1_000_000_000n);
  clock.advance(7_000_000);
  assertEquals(time(), 1_000_000_000_007_000_000n);
});

Deno.test("goldfish_rtc interrupts when the alarm is due, until the interrupt is cleared", () => {
  const { get, set, setPair, time, clock, irq } = clockCard();
  set(IRQ_ENABLED, 1);
  setPair(ALARM_HIGH, ALARM_LOW, time() + 3_000_000n);
  assertEquals(get(ALARM_STATUS), 1);
  clock.advance(2_999_000);
  assert(!irq.level);
  clock.advance(1_000);
  assert(irq.level);
  assertEquals(get(ALARM_STATUS), 0);
  set(CLEAR_INTERRUPT, 1);
  assert(!irq.level);
});

Deno.test("goldfish_rtc fires an alarm of the past at once, and none that was cleared", () => {
  const { set, setPair, time, clock, irq } = clockCard();
  set(IRQ_ENABLED, 1);
  setPair(ALARM_HIGH, ALARM_LOW, time() + 3_000_000n);
  set(CLEAR_ALARM, 1);
  clock.advance(10_000_000);
  assert(!irq.level);
  setPair(ALARM_HIGH, ALARM_LOW, time() - 1n);
  assert(irq.level);
});

Deno.test("goldfish_rtc raises its line only while interrupts are enabled", () => {
  const { set, setPair, irq } = clockCard();
  setPair(ALARM_HIGH, ALARM_LOW, 1n);
  assert(!irq.level);
  set(IRQ_ENABLED, 1);
  assert(irq.level);
  set(IRQ_ENABLED, 0);
  assert(!irq.level);
});

Deno.test("goldfish_rtc looks at the time of day again after a pause", () => {
  const { device, set, setPair, time, skip, irq } = clockCard();
  set(IRQ_ENABLED, 1);
  setPair(ALARM_HIGH, ALARM_LOW, time() + 60_000_000_000n);
  skip(61_000_000);
  assert(!irq.level);
  device.resume!();
  assert(irq.level);
});
