// A whole machine as JSON.

import type { Address, Bytes, Plain } from "./values.ts";

/** A plugin by built-in name or import specifier, with its configuration. */
export interface PluginUse {
  /** A built-in name, a name of the caller's `plugins`, or an import specifier. */
  readonly use: string;
  /** What the plugin's `config` checks. */
  readonly config?: { readonly [key: string]: Plain };
}

/** A device of a machine. */
export interface DeviceDescription extends PluginUse {
  /** Unique in the machine; default: the plugin's name and a number. */
  readonly name?: string;
  /** Back ends by the service they provide. A `stream` left out is the machine's own, see `Machine.streams`. */
  readonly backends?: { readonly [service: string]: PluginUse };
  /** Pins the first region's address. */
  readonly at?: Address;
  /** Pins the interrupt number. */
  readonly irq?: number;
}

/**
 * What is loaded at start: a kernel, or firmware, or both. A file is given by its path or URL (against `base`), or as
 * the bytes themselves.
 */
export interface BootDescription {
  /** A Linux Image or bzImage, an ELF file, or a flat binary: what the board takes. */
  readonly kernel?: string | Bytes;
  /** The kernel's first file system. */
  readonly initrd?: string | Bytes;
  /**
   * Firmware of the guest's own, an ELF file or a flat binary, which is entered in the kernel's place and finds the
   * kernel in RAM. The board then serves no firmware calls. `pc_micro` takes none.
   */
  readonly bios?: string | Bytes;
  /** The kernel's command line; default: none. A board may put words of its own around it. */
  readonly append?: string;
}

/** A whole machine, as JSON. */
export interface MachineDescription {
  /** For messages and for devices that have to differ between machines; default `"machine"`. */
  readonly name?: string;
  /** Default `"auto"`: `kvm` where it works and the kernel (or the board) is for it, else `riscv`. */
  readonly engine?: string | PluginUse;
  /** Default: the engine's. */
  readonly board?: string | PluginUse;
  /** Bytes of RAM, or text such as `"512M"`: 1M to 3584M (`pc_micro`: 3328M), a multiple of 4K; default `"256M"`. */
  readonly memory?: number | string;
  /** Harts, from 1 to 32; default 1. */
  readonly cpus?: number;
  /** `"host"` (default) or `"instructions"`: virtual time by instructions executed, the same run to the bit. */
  readonly clock?: "host" | "instructions";
  /** Seeds entropy and wall time under the instruction clock, from 0 to 2^32 - 1; default 1. */
  readonly seed?: number;
  /** RAM as a SharedArrayBuffer; default `false`. */
  readonly sharedMemory?: boolean;
  /** What to load at start. */
  readonly boot?: BootDescription;
  /**
   * Besides the board's own. One that uses the plugin of a device of the board's takes that one's place: a second
   * serial port is the second to be named here.
   */
  readonly devices?: readonly DeviceDescription[];
}
