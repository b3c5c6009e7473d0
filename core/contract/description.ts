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

/** A whole machine, as JSON. */
export interface MachineDescription {
  /** For messages and for devices that have to differ between machines; default `"machine"`. */
  readonly name?: string;
  /** Default `"auto"`: `kvm` where it works and the kernel (or the board) is for it, else `riscv`. */
  readonly engine?: string | PluginUse;
  /** Default: the engine's. */
  readonly board?: string | PluginUse;
  /** Bytes of RAM, or text such as `"256M"`. */
  readonly memory?: number | string;
  /** Harts; default 1. */
  readonly cpus?: number;
  /** `"host"` (default) or `"instructions"`: virtual time by instructions executed, the same run to the bit. */
  readonly clock?: "host" | "instructions";
  /** Seeds entropy and wall time under the instruction clock; default 1. */
  readonly seed?: number;
  /** RAM as a SharedArrayBuffer. */
  readonly sharedMemory?: boolean;
  /** What to load at start. */
  readonly boot?: {
    /** Paths or URLs (against `base`), or the bytes themselves. */
    readonly kernel?: string | Bytes;
    readonly initrd?: string | Bytes;
    readonly bios?: string | Bytes;
    readonly append?: string;
  };
  /** Besides the board's own. */
  readonly devices?: readonly DeviceDescription[];
}
