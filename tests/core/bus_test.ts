// The bus: windows, widths, faults.

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Bus, type BusOptions } from "../../core/bus.ts";
import type { Region, Width } from "../../core/plugin.ts";

function region(values: Partial<Region> = {}): Region & { readonly log: string[] } {
  const log: string[] = [];
  return {
    name: "regs",
    size: 0x100,
    widths: [1, 2, 4],
    read: (offset, width) => (log.push(`read ${offset} ${width}`), 0xffff_fff0 + offset),
    write: (offset, value, width) => void log.push(`write ${offset} ${value} ${width}`),
    ...values,
    log,
  };
}

function bus(options: Partial<BusOptions> = {}): Bus {
  return new Bus({ unassigned: () => -1, failed: () => {}, ...options });
}

Deno.test("bus finds the region of an address and hands on its offset", () => {
  const subject = bus();
  const regions = [region(), region(), region()];
  [0x3000, 0x1000, 0x2000].forEach((base, i) => subject.add(`device${i}`, regions[i], base));
  subject.write(0x1004, 1, 4);
  subject.write(0x3010, 2, 2);
  subject.write(0x2001, 3, 1);
  assertEquals(regions.map(({ log }) => log), [["write 16 2 2"], ["write 4 1 4"], ["write 1 3 1"]]);
});

Deno.test("bus refuses overlapping regions by both names", () => {
  const subject = bus();
  subject.add("disk0", region(), 0x1000);
  const error = assertThrows(() => subject.add("net0", region({ name: "ring" }), 0x10fc), RangeError);
  assertStringIncludes(error.message, "net0.ring at 0x10fc…0x11fb: it overlaps disk0.regs at 0x1000…0x10ff");
  subject.add("net0", region(), 0x1100);
});

Deno.test("bus refuses bases and sizes that registers can not have", () => {
  const subject = bus();
  assertThrows(() => subject.add("a", region(), 0x1002), RangeError, "a multiple of 4, got 4098");
  assertThrows(() => subject.add("a", region(), NaN), RangeError, "got NaN");
  assertThrows(() => subject.add("a", region({ size: 6 }), 0x1000), RangeError, "got 6");
  assertThrows(() => subject.add("a", region({ size: 0 }), 0x1000), RangeError, "got 0");
});

Deno.test("bus faults on widths not declared and on misaligned accesses", () => {
  const subject = bus();
  const uart = region({ widths: [1] });
  const virtio = region({ widths: [4] });
  subject.add("uart", uart, 0x1000);
  subject.add("virtio", virtio, 0x2000);
  assertEquals([subject.read(0x1000, 4), subject.read(0x1000, 2)], [-1, -1]);
  assertEquals([subject.write(0x1000, 0, 4), subject.write(0x2000, 0, 1)], [false, false]);
  assertEquals([subject.read(0x2002, 4), subject.write(0x2001, 0, 4)], [-1, false]);
  assertEquals([...uart.log, ...virtio.log], []);
});

Deno.test("bus masks values to the width of the access, both ways", () => {
  const subject = bus();
  const device = region();
  subject.add("device", device, 0x1000);
  assertEquals(([1, 2, 4] as Width[]).map((width) => subject.read(0x1000, width)), [0xf0, 0xfff0, 0xffff_fff0]);
  subject.write(0x1000, -1, 1);
  subject.write(0x1000, 0x12345, 2);
  subject.write(0x1000, -1, 4);
  assertEquals(device.log.slice(3), ["write 0 255 1", "write 0 9029 2", "write 0 4294967295 4"]);
});

Deno.test("bus lets the board answer an access to nothing", () => {
  const seen: unknown[] = [];
  const floating = bus({ unassigned: (...access) => (seen.push(access), 0xffff_ffff) });
  assertEquals(floating.read(0x500, 2), 0xffff);
  assertEquals(floating.write(0x600, 1, 4), true);
  assertEquals(seen, [[0x500, 2, false], [0x600, 4, true]]);
  const faulting = bus();
  assertEquals([faulting.read(0, 4), faulting.write(0, 0, 4)], [-1, false]);
});

Deno.test("bus keeps a device's exception from the CPU and reports it", () => {
  const seen: string[] = [];
  const subject = bus({
    failed: (device, action, error) => seen.push(`${device} ${action}: ${(error as Error).message}`),
  });
  const broken = (): never => {
    throw new Error("boom");
  };
  subject.add("device", region({ read: broken, write: broken }), 0x1000);
  assertEquals([subject.read(0x1010, 4), subject.write(0x1014, 0, 4)], [0, true]);
  assertEquals(seen, ["device reading regs+0x10: boom", "device writing regs+0x14: boom"]);
});
