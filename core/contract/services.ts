// What core lends to a device: memory, interrupts, time, the inbox, power.

import type { Address, Bytes, Nanos, Plain, Width } from "./values.ts";

/**
 * A window of device registers. It never learns its base address.
 * Values are unsigned and no wider than the access; core masks what is written and what is returned.
 */
export interface Region {
  /** Unique within the device, e.g. `"regs"`. */
  readonly name: string;
  /** Bytes, a multiple of 4. */
  readonly size: number;
  /** The access widths that the registers take. One of another width, or not aligned to its width, is a bus fault. */
  readonly widths: readonly Width[];
  /** Reads the register at `offset` (aligned to `width`). May have side effects. */
  read(offset: number, width: Width): number;
  /** Writes the register at `offset` (aligned to `width`). */
  write(offset: number, value: number, width: Width): void;
}

/** One interrupt line of a device, level-triggered. Lines that share an input are OR-ed. */
export interface IrqLine {
  /** Asserts or releases the line; setting the level it has is free. */
  set(level: boolean): void;
}

/** Guest memory lent to a device. */
export interface Borrowed {
  /** The bytes themselves (or, under the instruction clock, a private copy of them). Not to be kept after `done`. */
  readonly bytes: Bytes;
  /**
   * Gives the bytes back. `written` (default: the whole length for `"write"`, else 0) is how many bytes, from the
   * first on, the device changed: they become dirty and code compiled from them is dropped. Call it exactly once.
   */
  done(written?: number): void;
}

/** Bounds-checked access to guest RAM. An access outside of RAM throws a {@linkcode DmaFault}. */
export interface Dma {
  /** Reads a little-endian unsigned number. */
  load(at: Address, width: Width): number;
  /** Writes a little-endian number. */
  store(at: Address, value: number, width: Width): void;
  /** Reads 8 little-endian bytes; a value of 2^53 or more loses low bits, and is outside of every RAM. */
  load64(at: Address): number;
  /** Lends `length` bytes of RAM at `at`. Until `done`, pause and snapshot wait for it. */
  borrow(at: Address, length: number, access: "read" | "write"): Borrowed;
  /** Copies RAM into `into`. */
  read(at: Address, into: Bytes): void;
  /** Copies `from` into RAM. */
  write(at: Address, from: Bytes): void;
}

/** A guest-given address or length that does not lie in RAM: the device answers it as its specification says. */
export class DmaFault extends Error {
  /** Tells it from other errors. */
  override readonly name = "DmaFault";
  /** Made by core, for the range that was asked for. */
  constructor(readonly at: Address, readonly length: number) {
    super(`guest-physical 0x${at.toString(16)}+${length} is not RAM`);
  }
}

/** A named alarm. Core saves its deadline with the device's state. */
export interface Alarm {
  /** Fires once `now >= deadline`; replaces an earlier deadline. A deadline in the past fires at the next turn. */
  at(deadline: Nanos): void;
  /** Forgets the deadline. */
  cancel(): void;
}

/** Virtual time: it stands still while the machine is paused. */
export interface Clock {
  /** Nanoseconds since the machine was built, not counting pauses. */
  readonly now: Nanos;
  /** Creates an alarm; `name` is unique within the device. Call it from `create`, once a name. */
  alarm(name: string, fire: () => void): Alarm;
}

/**
 * How host results reach a device: as events between quanta, never from a promise.
 * `token` is the device's own name for the request, kept in its state while the request is in flight.
 */
export interface InboxPort {
  /** Host-timed input (console bytes, network frames): delivered, stamped, when `outcome` settles. */
  post(event: string, token: number, outcome: Plain | Promise<Plain>): void;
  /**
   * The completion of a request. With the host's clock a settled `outcome` is delivered before this call returns;
   * under the instruction clock it is delivered a fixed virtual latency later, and the machine waits for it then.
   * A rejected promise is delivered as `"error"`.
   */
  complete(event: string, token: number, outcome: Plain | Promise<Plain>): void;
}

/** Interrupt inputs of the CPUs, for interrupt controllers and timers. `line` is the architecture's number. */
export interface CpuPort {
  /** How many CPUs (harts) the machine has. */
  readonly count: number;
  /** Raises or lowers an interrupt line of a CPU. */
  set(cpu: number, line: number, level: boolean): void;
}

/** Ends the machine's run: `"off"` (with an exit code, default 0), `"reset"`. Takes effect after the current quantum. */
export type Power = (what: "off" | "reset", code?: number) => void;

/** Services every device may ask for, by the name it lists in `needs`. */
export interface CoreServices {
  /** The device's interrupt line. */
  irq: IrqLine;
  /** Guest memory. */
  dma: Dma;
  /** Virtual time and alarms. */
  clock: Clock;
  /** The way of host results to the device. */
  inbox: InboxPort;
  /** Interrupt inputs of the CPUs. */
  cpus: CpuPort;
  /** Power off, reset. */
  power: Power;
  /** The host's wall-clock time, microseconds since 1970 UTC (seeded under the instruction clock). */
  wallTime: () => number;
}
