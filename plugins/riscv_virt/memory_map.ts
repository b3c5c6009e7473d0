// Where devices stand: the memory map and interrupt numbers of QEMU's "virt" machine, and free space beside them.

import type { Address, Placeable, Placement } from "../../core/plugin.ts";
import { hex } from "../boards/hex.ts";

/** Where RAM begins. */
export const RAM_BASE = 0x8000_0000;

interface Slot {
  readonly at: Address;
  readonly size: number;
  readonly irq?: number;
}

/** The places that guests know by heart, by plugin name. */
const SLOTS: ReadonlyMap<string, Slot> = new Map([
  ["syscon", { at: 0x10_0000, size: 0x1000 }],
  ["goldfish_rtc", { at: 0x10_1000, size: 0x1000, irq: 11 }],
  ["clint", { at: 0x200_0000, size: 0x1_0000 }],
  ["plic", { at: 0xc00_0000, size: 0x400_0000 }],
  ["serial_16550", { at: 0x1000_0000, size: 0x1000, irq: 10 }],
]);

/** The virtio devices' places: 8 with QEMU's interrupt numbers, then 24 more with numbers from 32 up. */
const VIRTIO_SLOTS: readonly Slot[] = Array.from({ length: 32 }, (_, i) => ({
  at: 0x1000_1000 + i * 0x1000,
  size: 0x1000,
  irq: i < 8 ? 1 + i : 24 + i,
}));

/** Everything else: addresses from `FREE.at` up to RAM, interrupt numbers from `FREE.irq` up. */
const FREE = { at: 0x2000_0000, step: 0x1_0000, irq: 64 } as const;
/** The largest interrupt number of the board's PLIC. */
export const LAST_IRQ = 127;
/** RISC-V physical addresses have 56 bits; what a number holds exactly ends before. */
const ADDRESS_LIMIT = 2 ** 53;

/** Address ranges in use, each with its owner's name. */
class Taken {
  readonly #ranges: { name: string; at: Address; size: number }[] = [];

  /** A range that overlaps the given one. */
  find(at: Address, size: number): { name: string; at: Address; size: number } | undefined {
    return this.#ranges.find((range) => at < range.at + range.size && range.at < at + size);
  }

  add(name: string, at: Address, size: number): Address {
    this.#ranges.push({ name, at, size });
    return at;
  }
}

function placePinned(device: Placeable, taken: Taken): void {
  const { name, at } = device;
  if (at === undefined) return;
  const region = device.regions[0];
  if (!region) throw new RangeError(`Cannot place ${name} at ${hex(at)}: it has no registers`);
  if (!Number.isSafeInteger(at) || at < 0 || at % 4 || at + region.size > ADDRESS_LIMIT) {
    throw new RangeError(`Cannot place ${name} at ${hex(at)}: wanted an address that is a multiple of 4`);
  }
  const other = taken.find(at, region.size);
  if (other) {
    throw new RangeError(
      `Cannot place ${name} at ${hex(at)}: ${other.name} is at ${hex(other.at)}, ${hex(other.size)} bytes long`,
    );
  }
  taken.add(name, at, region.size);
}

/** The first of a device's usual places that is free and large enough. */
function usualPlace(device: Placeable, size: number, taken: Taken): Address | undefined {
  const slot = SLOTS.get(device.plugin);
  const slots = device.plugin.startsWith("virtio_") ? VIRTIO_SLOTS : slot ? [slot] : [];
  return slots.find((slot) => size <= slot.size && !taken.find(slot.at, slot.size))?.at;
}

function freePlace(device: Placeable, size: number, taken: Taken): Address {
  const step = Math.max(FREE.step, 2 ** Math.ceil(Math.log2(size)));
  let at = Math.ceil(FREE.at / step) * step;
  for (let other = taken.find(at, size); other; other = taken.find(at, size)) {
    at = Math.ceil((other.at + other.size) / step) * step;
    if (at + size > RAM_BASE) {
      throw new RangeError(`Cannot place ${device.name}: no room below RAM for its ${hex(size)} bytes of registers`);
    }
  }
  return at;
}

function placeRegions(device: Placeable, taken: Taken): Address[] {
  return device.regions.map(({ size }, i) => {
    if (i === 0 && device.at !== undefined) return device.at;
    const usual = i === 0 ? usualPlace(device, size, taken) : undefined;
    return taken.add(device.name, usual ?? freePlace(device, size, taken), size);
  });
}

function checkPinnedIrq({ name, irqNumber }: Placeable): void {
  if (irqNumber === undefined) return;
  if (!Number.isInteger(irqNumber) || irqNumber < 1 || irqNumber > LAST_IRQ) {
    throw new RangeError(`Cannot wire ${name}.irq: wanted a whole number from 1 to ${LAST_IRQ}, got ${irqNumber}`);
  }
}

/** Numbers interrupts: what is pinned (two devices may share one), what the place implies, then free numbers. */
function numberInterrupts(devices: readonly Placeable[], addresses: readonly Address[][]): (number | undefined)[] {
  devices.forEach(checkPinnedIrq);
  const taken = new Set(devices.map((device) => device.irqNumber));
  const slots = [...SLOTS.values(), ...VIRTIO_SLOTS];
  let free: number = FREE.irq;
  return devices.map((device, i) => {
    if (device.irqNumber !== undefined) return device.irqNumber;
    if (!device.irq) return undefined;
    let irq = slots.find((slot) => slot.at === addresses[i][0])?.irq;
    if (irq === undefined || taken.has(irq)) {
      while (taken.has(free)) free++;
      irq = free;
    }
    if (irq > LAST_IRQ) {
      throw new RangeError(`Cannot wire ${device.name}: all ${LAST_IRQ} interrupt numbers are in use`);
    }
    taken.add(irq);
    return irq;
  });
}

/**
 * Places devices: pinned ones where they are pinned, the known ones at their usual places, all others, in order, in
 * the free space.
 *
 * @throws {RangeError} for a place that can not be had, with the names of both who want it.
 */
export function placeDevices(devices: readonly Placeable[], ramSize: number): Placement[] {
  const taken = new Taken();
  taken.add("RAM", RAM_BASE, ramSize);
  for (const device of devices) placePinned(device, taken);
  const addresses = devices.map((device) => placeRegions(device, taken));
  const irqs = numberInterrupts(devices, addresses);
  return devices.map((_, i) => ({ addresses: addresses[i], irq: irqs[i] }));
}
