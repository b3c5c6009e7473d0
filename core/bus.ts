// The bus: address windows of device registers, each with the access widths it takes.

import type { Address, EngineBus, Region, Width } from "./plugin.ts";

/** What the bus asks for. */
export interface BusOptions {
  /** Answers an access to nothing: a value, or -1 for a fault. The board's. */
  readonly unassigned: (at: Address, width: Width, write: boolean) => number;
  /** Told when a device throws: a fault of the host's, which the guest must not see. */
  readonly failed: (device: string, access: string, error: unknown) => void;
}

class Window {
  readonly end: Address;
  /** The widths taken, as bits: 1, 2 and 4 stand for themselves. */
  readonly widths: number;

  constructor(readonly base: Address, readonly owner: string, readonly region: Region) {
    this.end = base + region.size;
    this.widths = region.widths.reduce<number>((bits, width) => bits | width, 0);
  }

  get title(): string {
    return `${this.owner}.${this.region.name} at ${hex(this.base)}…${hex(this.end - 1)}`;
  }
}

const MASK = [0, 0xff, 0xffff, 0, 0xffff_ffff];
const hex = (at: number): string => `0x${at.toString(16)}`;

/**
 * Finds the device that an address belongs to. An access of a width that the region does not declare, or that is not
 * aligned to its width, is a fault: the bus neither cuts accesses up nor joins them, since both have side effects
 * that the device did not ask for.
 */
export class Bus implements EngineBus {
  /** Sorted by base, without overlap. */
  #windows: Window[] = [];
  /** Accesses come in runs to one device. */
  #last: Window | undefined;
  readonly #options: BusOptions;

  constructor(options: BusOptions) {
    this.#options = options;
  }

  /**
   * Adds a device's region. Throws a `RangeError` that names both where it overlaps another one, and one for a base
   * or size that registers can not have.
   */
  add(owner: string, region: Region, base: Address): void {
    const window = new Window(base, owner, region);
    if (!Number.isSafeInteger(base) || base < 0 || base % 4 !== 0) {
      throw new RangeError(
        `Cannot place ${owner}.${region.name}: wanted an address that is a multiple of 4, got ${base}`,
      );
    }
    if (!Number.isSafeInteger(region.size) || region.size <= 0 || region.size % 4 !== 0) {
      throw new RangeError(
        `Cannot place ${owner}.${region.name}: wanted a size that is a multiple of 4, got ${region.size}`,
      );
    }
    const clash = this.#windows.find((other) => other.base < window.end && base < other.end);
    if (clash) throw new RangeError(`Cannot place ${window.title}: it overlaps ${clash.title}`);
    this.#windows = [...this.#windows, window].sort((a, b) => a.base - b.base);
  }

  read(at: Address, width: Width): number {
    const window = this.#find(at);
    if (window === undefined) return this.#nothing(at, width, false);
    const offset = at - window.base;
    if ((window.widths & width) === 0 || (offset & (width - 1)) !== 0) return -1;
    try {
      const value = window.region.read(offset, width);
      return width === 4 ? value >>> 0 : value & MASK[width];
    } catch (error) {
      this.#options.failed(window.owner, `reading ${window.region.name}+${hex(offset)}`, error);
      return 0;
    }
  }

  write(at: Address, value: number, width: Width): boolean {
    const window = this.#find(at);
    if (window === undefined) return this.#nothing(at, width, true) >= 0;
    const offset = at - window.base;
    if ((window.widths & width) === 0 || (offset & (width - 1)) !== 0) return false;
    try {
      window.region.write(offset, width === 4 ? value >>> 0 : value & MASK[width], width);
    } catch (error) {
      this.#options.failed(window.owner, `writing ${window.region.name}+${hex(offset)}`, error);
    }
    return true;
  }

  #nothing(at: Address, width: Width, write: boolean): number {
    const value = this.#options.unassigned(at, width, write);
    return value < 0 ? -1 : width === 4 ? value >>> 0 : value & MASK[width];
  }

  #find(at: Address): Window | undefined {
    const last = this.#last;
    if (last !== undefined && at >= last.base && at < last.end) return last;
    let low = 0;
    let high = this.#windows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#windows[middle].end <= at) low = middle + 1;
      else high = middle;
    }
    const window = this.#windows[low];
    return window !== undefined && at >= window.base ? this.#last = window : undefined;
  }
}
