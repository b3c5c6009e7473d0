// Where things stand on the PC board: RAM from 0, registers below 4 GiB, I/O ports, interrupt numbers.

import type { Address, Placeable, Placement } from "../../core/plugin.ts";
import { hex } from "../boards/hex.ts";
import { placeByMap, type Range } from "../boards/placement.ts";

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
const VIRTIO_STEP = 0x1000;
const VIRTIO: readonly Address[] = Array.from({ length: 32 }, (_, i) => RAM_LIMIT + i * VIRTIO_STEP);
/** Everything else: addresses, and interrupts that no device of a PC has by custom. */
const FREE = { at: 0xd100_0000, end: IO_APIC } as const;
const FREE_IRQS: readonly number[] = [5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];
const APICS: readonly Range[] = [
  { name: "the I/O APIC", at: IO_APIC, size: 0x1000 },
  { name: "the local APIC", at: LOCAL_APIC, size: 0x10_0000 },
];

function usualPlaces({ plugin }: Placeable, size: number): readonly Address[] {
  const slot = SLOTS.get(plugin);
  if (slot) return [slot.at];
  return plugin.startsWith("virtio_") && size <= VIRTIO_STEP ? VIRTIO : [];
}

/** Places devices; an interrupt number belongs to the device. */
export function placeDevices(devices: readonly Placeable[]): Placement[] {
  return placeByMap(devices, {
    taken: APICS,
    usualPlaces,
    free: FREE,
    lastIrq: INPUTS - 1,
    usualIrq: ({ plugin }) => SLOTS.get(plugin)?.irq,
    freeIrqs: FREE_IRQS,
    show: (at) => at >= PORTS ? `port ${hex(at - PORTS)}` : hex(at),
  });
}
