// Where devices stand and how they are wired, by a board's map: what is pinned, then usual places, then free space.

import type { Address, Placeable, Placement } from "../../core/plugin.ts";
import { hex } from "./hex.ts";

/** Addresses in use, with their owner's name. */
export interface Range {
  readonly name: string;
  readonly at: Address;
  readonly size: number;
}

/** What a board has to say about places and interrupt numbers. */
export interface BoardMap {
  /** What stands there already. */
  readonly taken: readonly Range[];
  /** The usual places of a device's first registers, of `size` bytes, best first. */
  usualPlaces(device: Placeable, size: number): readonly Address[];
  /** Where everything else goes. */
  readonly free: { readonly at: Address; readonly end: Address };
  /** The largest interrupt number. */
  readonly lastIrq: number;
  /** The usual interrupt number of a device whose first registers are at `at`. */
  usualIrq(device: Placeable, at: Address | undefined): number | undefined;
  /** The interrupt numbers of everything else. */
  readonly freeIrqs: readonly number[];
  /** An address as messages show it. */
  show(at: Address): string;
}

/** Free places are multiples of their size, and of this. */
const STEP = 0x1_0000;
/** What a number holds exactly ends here; RISC-V's physical addresses have 56 bits. */
const ADDRESS_LIMIT = 2 ** 53;

/** The first range that overlaps the given one. */
function overlapping(taken: readonly Range[], at: Address, size: number): Range | undefined {
  return taken.find((range) => at < range.at + range.size && range.at < at + size);
}

/** A device's pinned range. */
function pinnedRange({ name, at, regions: [region] }: Placeable, taken: readonly Range[], { show }: BoardMap): Range[] {
  if (at === undefined) return [];
  if (!region) throw new RangeError(`Cannot place ${name} at ${show(at)}: it has no registers`);
  const { size } = region;
  if (!Number.isSafeInteger(at) || at < 0 || at % 4 || at + size > ADDRESS_LIMIT) {
    throw new RangeError(`Cannot place ${name} at ${show(at)}: wanted an address that is a multiple of 4`);
  }
  const other = overlapping(taken, at, size);
  if (other) {
    throw new RangeError(
      `Cannot place ${name} at ${show(at)}: ${other.name} is at ${show(other.at)}, ${hex(other.size)} bytes long`,
    );
  }
  return [{ name, at, size }];
}

function freePlace(size: number, taken: readonly Range[], { free }: BoardMap): Address | undefined {
  const step = Math.max(STEP, 2 ** Math.ceil(Math.log2(size)));
  const next = (at: Address): Address => Math.ceil(at / step) * step;
  for (let at = next(free.at); at + size <= free.end;) {
    const other = overlapping(taken, at, size);
    if (!other) return at;
    at = next(other.at + other.size);
  }
}

/** The addresses of all devices' regions. */
function placeRegions(devices: readonly Placeable[], map: BoardMap): Address[][] {
  const taken = [...map.taken];
  for (const device of devices) taken.push(...pinnedRange(device, taken, map));
  return devices.map((device) =>
    device.regions.map(({ size }, i) => {
      if (i === 0 && device.at !== undefined) return device.at;
      const usual = i === 0 ? map.usualPlaces(device, size).find((at) => !overlapping(taken, at, size)) : undefined;
      const at = usual ?? freePlace(size, taken, map);
      if (at === undefined) {
        throw new RangeError(`Cannot place ${device.name}: no room for its ${hex(size)} bytes of registers`);
      }
      taken.push({ name: device.name, at, size });
      return at;
    })
  );
}

/** The interrupt numbers of all devices; pinned ones may be the same for several. */
function numberInterrupts(
  devices: readonly Placeable[],
  addresses: readonly Address[][],
  { lastIrq, usualIrq, freeIrqs }: BoardMap,
): (number | undefined)[] {
  for (const { name, irqNumber } of devices) {
    if (irqNumber === undefined || Number.isInteger(irqNumber) && irqNumber >= 1 && irqNumber <= lastIrq) continue;
    throw new RangeError(`Cannot wire ${name}.irq: wanted a whole number from 1 to ${lastIrq}, got ${irqNumber}`);
  }
  const taken = new Set(devices.map(({ irqNumber }) => irqNumber));
  return devices.map((device, i) => {
    if (device.irqNumber !== undefined || !device.irq) return device.irqNumber;
    const usual = usualIrq(device, addresses[i][0]);
    const irq = [...usual === undefined ? [] : [usual], ...freeIrqs].find((irq) => !taken.has(irq));
    if (irq === undefined) throw new RangeError(`Cannot wire ${device.name}: no interrupt is left; pin one with irq`);
    taken.add(irq);
    return irq;
  });
}

/**
 * Places devices: pinned ones where they are pinned, the known ones at their usual places, all others, in order, in the
 * free space.
 *
 * @throws {RangeError} for a place or an interrupt number that can not be had.
 */
export function placeByMap(devices: readonly Placeable[], map: BoardMap): Placement[] {
  const addresses = placeRegions(devices, map);
  const irqs = numberInterrupts(devices, addresses, map);
  return devices.map((_, i) => ({ addresses: addresses[i], irq: irqs[i] }));
}
