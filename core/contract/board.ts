// What differs between machines: where devices stand, how a kernel starts.

import type { Schema } from "../schema.ts";
import type { BootFile } from "./boot_file.ts";
import type { DeviceDescription } from "./description.ts";
import type { DeviceTreePart, PluginHead } from "./device.ts";
import type { Engine, Firmware, Hart } from "./engine.ts";
import type { Clock, Dma, Power, Region } from "./services.ts";
import type { Address, Bytes, Width } from "./values.ts";

/** A device to be placed on a board. */
export interface Placeable {
  /** The device's name in this machine. */
  readonly name: string;
  /** The plugin's name. */
  readonly plugin: string;
  /** Its register windows. */
  readonly regions: readonly Pick<Region, "name" | "size">[];
  /** Whether it asked for an interrupt line. */
  readonly irq: boolean;
  /** Pinned by the description: the first region's address, the interrupt number. */
  readonly at?: Address;
  /** The interrupt controller's input, pinned by the description. */
  readonly irqNumber?: number;
}

/** Where a device is on its board. */
export interface Placement {
  /** One address per region, in order. */
  readonly addresses: readonly Address[];
  /** The interrupt controller's input. */
  readonly irq?: number;
}

/** A device in its place. */
export interface PlacedDevice extends Omit<Placeable, "irq">, Placement {
  /** What it says of itself in the device tree. */
  readonly tree?: DeviceTreePart;
}

/** What is loaded at start. */
export interface BootFiles {
  /** The kernel: an Image, an ELF or a flat binary. */
  readonly kernel?: BootFile;
  /** The initial RAM disk. */
  readonly initrd?: BootFile;
  /** The guest's own firmware. */
  readonly bios?: BootFile;
  /** The kernel's command line. */
  readonly append?: string;
}

/** All that a board needs to build the device tree and to start the harts. */
export interface BootContext {
  /** The CPUs to start. */
  readonly engine: Engine;
  /** What to load. */
  readonly files: BootFiles;
  /**
   * Has bytes, a file or a part of one ({@linkcode filePart}) in guest RAM before the guest runs; where two overlap,
   * the later one's. Bytes are not to be changed after it. Throws a `RangeError` outside of RAM.
   */
  write(at: Address, content: Bytes | BootFile): void;
  /** 32 random bytes, for a guest that has no source of its own yet; absent under the instruction clock. */
  readonly seed?: Bytes;
  /** All devices, placed. */
  readonly devices: readonly PlacedDevice[];
}

/** What firmware works with. */
export interface FirmwareContext {
  /** The CPUs; they are there as soon as a call comes. */
  readonly harts: () => readonly Hart[];
  /** Virtual time, and alarms. */
  readonly clock: Clock;
  /** Power off, reset. */
  readonly power: Power;
  /** Writes to the machine's first stream. */
  readonly console: (bytes: Bytes) => void;
  /** Guest RAM; it is there as soon as a call comes. */
  readonly memory: Dma;
}

/** A board, made for one machine. */
export interface Board {
  /** RAM's first address. */
  readonly ramBase: Address;
  /** Where on the bus I/O ports begin: port p is the register at `ports + p`. Absent where there are none. */
  readonly ports?: Address;
  /** Ticks a second of the architecture's timer. */
  readonly timebase: number;
  /** Devices every machine of this board has, unless the description names one of the same plugin. */
  readonly defaultDevices: readonly DeviceDescription[];
  /** Places all devices at once; throws a `RangeError` for a pinned place that can not be had. */
  place(devices: readonly Placeable[]): Placement[];
  /** Answers a register access to nothing: a value, or a fault (-1). */
  unassigned(at: Address, width: Width, write: boolean): number;
  /** Served firmware calls; asked for before the engine is opened, which gets it. Absent under `bios`. */
  firmware?(context: FirmwareContext): Firmware;
  /** Loads the boot files and starts the first hart(s). Throws with one clear sentence. */
  boot(context: BootContext): void;
  /** The machine's description for the guest (an FDT blob), as `boot` would place it; empty where guests read none. */
  describe(context: BootContext): Bytes;
}

/** What a board is made for. */
export interface BoardContext<C> {
  /** Its checked configuration. */
  readonly config: C;
  /** How many harts. */
  readonly harts: number;
  /** Bytes of RAM. */
  readonly ramSize: number;
  /** Whether the guest brings its own firmware. */
  readonly bios: boolean;
}

/** A board plugin: what differs between machines of an architecture. */
export interface BoardDefinition<C = unknown> extends PluginHead<"board"> {
  /** The architecture, as engines name it. */
  readonly architecture: string;
  /** Checks its configuration. */
  readonly config: Schema<C>;
  /** Whether a boot file is for machines of this board; for the choice of an engine where the description names none. */
  takes?(file: BootFile): boolean;
  /** Makes the board of one machine. */
  create(context: BoardContext<C>): Board;
}
