// Where things stand on the PC board: RAM from 0, registers below 4 GiB, I/O ports, interrupt numbers.

import type { Address, Placeable, Placement } from "../../core/plugin.ts";
import { hex } from "../boards/hex.ts";

/** Where I/O ports begin on the bus: above every physical address of x86-64, which has at most 52 bits. */
export const PORTS: Address = 2 ** 52;
/** RAM reaches at most up to here. */
export const RAM_LIMIT: Address = 0xd000_0000;
/** The chips that the processor's engine brings along (Intel SDM volume 3, chapter 11; 82093AA). */
export const LOCAL_APIC: Address = 0xfee0_0000;
export const IO_APIC: Address = 0xfec0_0000;
/** Inputs of the I/O APIC. */
export const INPUTS = 24;

/** What stands in low memory at start. The first 640 KiB are RAM; the last KiB of it holds the MP table. */
export const LOW = {
  GDT: 0x500,
  PVH_INFO: 0x6000,
  ZERO_PAGE: 0x7000,
  FLAT: 0x7c00,
  STACK: 0x9000,
  PAGE_TABLES: 0x9000, // PML4, PDPT, and four page directories
  SETUP_DATA: 0x1_0000,
  COMMAND_LINE: 0x2_0000,
  COMMAND_LINE_SIZE: 0x1_0000,
  MP_TABLE: 0x9_fc00,
  END: 0xa_0000,
} as const;
/** Where RAM goes on behind the hole for adapters and firmware; and where programs go that have no place of their own. */
export const HIGH: Address = 0x10_0000;

interface Slot {
  readonly at: Address;
  readonly irq?: number;
}

/** The places that guests know by heart, by plugin name. */
const SLOTS: ReadonlyMap<string, Slot> = new Map([
  ["serial_16550", { at: PORTS + 0x3f8, irq: 4 }],
  ["syscon", { at: 0xd020_0000 }],
]);
/** virtio devices stand one behind the other. */
const VIRTIO = { at: RAM_LIMIT, step: 0x1000, count: 32 } as const;
/** Everything else. */
const FREE = { at: 0xd100_0000, step: 0x1_0000, end: IO_APIC } as const;
/** Interrupts that no device of a PC has by custom. */
const FREE_IRQS: readonly number[] = [5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

/** An address as messages show it: a port by its number. */
function place(at: Address): string {
  return at >= PORTS ? `port ${hex(at - PORTS)}` : hex(at);
}

interface Range {
  readonly name: string;
  readonly at: Address;
  readonly size: number;
}

function overlapping(taken: readonly Range[], at: Address, size: number): Range | undefined {
  return taken.find((range) => at < range.at + range.size && range.at < at + size);
}

/** The places where a device's region may go, best first. */
function* candidates({ plugin }: Placeable, region: number, size: number): Generator<Address> {
  const slot = SLOTS.get(plugin);
  if (region === 0 && slot) yield slot.at;
  if (region === 0 && plugin.startsWith("virtio_") && size <= VIRTIO.step) {
    for (let i = 0; i < VIRTIO.count; i++) yield VIRTIO.at + i * VIRTIO.step;
  }
  const step = Math.max(FREE.step, 2 ** Math.ceil(Math.log2(size)));
  for (let at = Math.ceil(FREE.at / step) * step; at + size <= FREE.end; at += step) yield at;
}

function placeRegions(device: Placeable, taken: Range[]): Address[] {
  const { name, at: pinned } = device;
  if (pinned !== undefined && !device.regions.length) {
    throw new RangeError(`Cannot place ${name} at ${place(pinned)}: it has no registers`);
  }
  return device.regions.map(({ size }, i) => {
    let found: Address | undefined;
    if (i === 0 && pinned !== undefined) {
      const other = overlapping(taken, pinned, size);
      if (other) {
        throw new RangeError(`Cannot place ${name} at ${place(pinned)}: ${other.name} is at ${place(other.at)}`);
      }
      found = pinned;
    } else {
      for (const at of candidates(device, i, size)) if (!overlapping(taken, at, size)) found ??= at;
    }
    if (found === undefined) {
      throw new RangeError(`Cannot place ${name}: no room for its ${hex(size)} bytes of registers`);
    }
    taken.push({ name, at: found, size });
    return found;
  });
}

function checkIrq({ name, irqNumber }: Placeable): void {
  if (irqNumber === undefined || Number.isInteger(irqNumber) && irqNumber >= 1 && irqNumber < INPUTS) return;
  throw new RangeError(`Cannot wire ${name}.irq: wanted a whole number from 1 to ${INPUTS - 1}, got ${irqNumber}`);
}

/** Places all devices: pinned ones first, then each at its usual place, or where there is room. */
export function placeDevices(devices: readonly Placeable[]): Placement[] {
  devices.forEach(checkIrq);
  const taken: Range[] = [
    { name: "the I/O APIC", at: IO_APIC, size: 0x1000 },
    { name: "the local APIC", at: LOCAL_APIC, size: 0x10_0000 },
  ];
  const places = new Map<Placeable, Address[]>();
  const pinnedFirst = [...devices].sort((a, b) => Number(b.at !== undefined) - Number(a.at !== undefined));
  for (const device of pinnedFirst) places.set(device, placeRegions(device, taken));

  const irqs = new Set(devices.map(({ irqNumber }) => irqNumber));
  return devices.map((device) => {
    const addresses = places.get(device)!;
    if (!device.irq) return { addresses };
    const usual = SLOTS.get(device.plugin)?.irq;
    const free = [...usual === undefined ? [] : [usual], ...FREE_IRQS].find((irq) => !irqs.has(irq));
    const irq = device.irqNumber ?? free;
    if (irq === undefined) throw new RangeError(`Cannot wire ${device.name}: no interrupt is left; pin one with irq`);
    irqs.add(irq);
    return { addresses, irq };
  });
}
