// Where devices stand: the memory map and interrupt numbers of QEMU's "virt" machine, and free space beside them.

import type { Address, Placeable, Placement } from "../../core/plugin.ts";
import { hex } from "../boards/hex.ts";
import { placeByMap } from "../boards/placement.ts";

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

/** The largest interrupt number of the board's PLIC. */
export const LAST_IRQ = 127;
/** Everything else: addresses up to RAM, interrupt numbers behind those of the virtio devices. */
const FREE = { at: 0x2000_0000, end: RAM_BASE } as const;
const FREE_IRQS: readonly number[] = Array.from({ length: 64 }, (_, i) => 64 + i);

function slotsOf(plugin: string): readonly Slot[] {
  const slot = SLOTS.get(plugin);
  return plugin.startsWith("virtio_") ? VIRTIO_SLOTS : slot ? [slot] : [];
}

/** Places devices; an interrupt number belongs to its place, whoever stands there. */
export function placeDevices(devices: readonly Placeable[], ramSize: number): Placement[] {
  const slots = [...SLOTS.values(), ...VIRTIO_SLOTS];
  return placeByMap(devices, {
    taken: [{ name: "RAM", at: RAM_BASE, size: ramSize }],
    usualPlaces: ({ plugin }, size) => slotsOf(plugin).filter((slot) => size <= slot.size).map(({ at }) => at),
    free: FREE,
    lastIrq: LAST_IRQ,
    usualIrq: (_, place) => slots.find(({ at }) => at === place)?.irq,
    freeIrqs: FREE_IRQS,
    show: hex,
  });
}
