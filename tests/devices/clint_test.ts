// Tests devices/clint.ts.

import { assert, assertEquals } from "@std/assert";
import clint from "../../devices/clint.ts";
import { fakeServices } from "../support/fake_services.ts";

const MTIMECMP = 0x4000;
const MTIME = 0xbff8;
const [MSIP_LINE, MTIP_LINE] = [3, 7];

function timer(timebase = 10_000_000) {
  const services = fakeServices({ cpus: 2 });
  const device = services.bind(
    clint.create({ ...services, config: clint.config.parse({ timebase }, "clint0"), name: "clint0" }),
  );
  const [regs] = device.regions;
  return {
    device,
    ...services,
    get: (offset: number) => regs.read(offset, 4),
    set: (offset: number, value: number) => regs.write(offset, value, 4),
    compare(hart: number, ticks: bigint) {
      regs.write(MTIMECMP + 8 * hart, Number(ticks & 0xffff_ffffn), 4);
      regs.write(MTIMECMP + 8 * hart + 4, Number(ticks >> 32n), 4);
    },
  };
}

Deno.test("clint counts virtual time in ticks of the timebase", () => {
  const { get, clock } = timer();
  clock.now = 2 ** 32 * 100 + 12_345;
  assertEquals([get(MTIME), get(MTIME + 4)], [123, 1]);
});

Deno.test("clint raises a hart's software interrupt while MSIP is set", () => {
  const { get, set, cpus } = timer();
  set(4, 0xffff_ffff);
  assertEquals(get(4), 1);
  assert(cpus.get(1, MSIP_LINE));
  assert(!cpus.get(0, MSIP_LINE));
  set(4, 0);
  assert(!cpus.get(1, MSIP_LINE));
  set(8, 1);
  assertEquals(get(8), 0, "there is no third hart");
});

Deno.test("clint raises the timer interrupt at the compare value, not before, and lowers it with a new one", () => {
  const { compare, clock, cpus } = timer();
  compare(1, 50n);
  clock.advance(4_999);
  assert(!cpus.get(1, MTIP_LINE));
  clock.advance(1);
  assert(cpus.get(1, MTIP_LINE));
  assert(!cpus.get(0, MTIP_LINE));
  compare(1, 2n ** 64n - 1n);
  assert(!cpus.get(1, MTIP_LINE));
});

Deno.test("clint rounds the alarm up where the timebase does not divide the second", () => {
  const { compare, clock, cpus } = timer(32_768);
  compare(0, 1n);
  clock.advance(30_517);
  assert(!cpus.get(0, MTIP_LINE));
  clock.advance(1);
  assert(cpus.get(0, MTIP_LINE));
});

Deno.test("clint follows a guest that sets MTIME", () => {
  const { get, set, compare, clock, cpus } = timer();
  compare(0, 2n ** 33n);
  set(MTIME, 0xffff_fff0);
  set(MTIME + 4, 1);
  assertEquals([get(MTIME), get(MTIME + 4)], [0xffff_fff0, 1]);
  assert(!cpus.get(0, MTIP_LINE));
  clock.advance(1_600);
  assertEquals([get(MTIME), get(MTIME + 4)], [0, 2]);
  assert(cpus.get(0, MTIP_LINE));
});

Deno.test("clint has no timer due after reset", () => {
  const { device, clock, cpus } = timer();
  clock.advance(1e15);
  assert(!cpus.get(0, MTIP_LINE));
  assertEquals(clock.deadline("hart0"), undefined);
  assertEquals(device.deviceTree?.cpuLines, [3, 7]);
});
