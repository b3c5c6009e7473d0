// A machine's description: checked as plain data before anything is loaded.

import { AUTO } from "./engines.ts";
import type { BootDescription, Bytes, DeviceDescription, MachineDescription, Plain, PluginUse } from "./plugin.ts";
import { boolean, byteSize, integer, list, object, oneOf, optional, type Schema, show, string } from "./schema.ts";

/** A description with every default filled in. */
export interface CheckedDescription {
  readonly name: string;
  readonly engine: PluginUse;
  readonly board: PluginUse | undefined;
  /** Bytes. */
  readonly memory: number;
  readonly cpus: number;
  readonly clock: "host" | "instructions";
  readonly seed: number;
  readonly sharedMemory: boolean;
  readonly boot: BootDescription;
  readonly devices: readonly DeviceDescription[];
}

const MIB = 2 ** 20;

const options: Schema<PluginUse["config"]> = {
  wanted: "an object of options",
  parse(value, path) {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, Plain>;
    throw new TypeError(`Cannot configure ${path}: wanted ${this.wanted}, got ${show(value)}`);
  },
};

const pluginUse: Schema<PluginUse> = object({ use: string, config: optional(options) });

const pluginOrName: Schema<PluginUse> = {
  wanted: "a plugin's name, or an object with use, config",
  parse: (value, path) => typeof value === "string" ? { use: value } : pluginUse.parse(value, path),
};

const file: Schema<string | Bytes> = {
  wanted: "a path, a URL or bytes",
  parse(value, path) {
    if (typeof value === "string" || value instanceof Uint8Array) return value;
    throw new TypeError(`Cannot configure ${path}: wanted ${this.wanted}, got ${show(value)}`);
  },
};

const backends: Schema<Record<string, PluginUse>> = {
  wanted: "an object of back ends by service",
  parse(value, path) {
    const given = options.parse(value, path)!;
    return Object.fromEntries(
      Object.entries(given).map(([service, use]) => [service, pluginUse.parse(use, `${path}.${service}`)]),
    );
  },
};

const deviceName: Schema<string> = {
  wanted: "a name of letters, digits, _ and -",
  parse(value, path) {
    if (typeof value === "string" && /^[A-Za-z][\w-]*$/.test(value)) return value;
    throw new TypeError(`Cannot configure ${path}: wanted ${this.wanted}, got ${show(value)}`);
  },
};

const memory: Schema<number> = {
  wanted: "a size from 1M to 3584M",
  parse(value, path) {
    const size = byteSize.parse(value, path);
    if (size >= MIB && size <= 3584 * MIB && size % 4096 === 0) return size;
    throw new RangeError(`Cannot configure ${path}: wanted ${this.wanted}, a multiple of 4K, got ${show(value)}`);
  },
};

const description = object({
  name: optional(string, "machine"),
  engine: optional(pluginOrName, { use: AUTO }),
  board: optional(pluginOrName),
  memory: optional(memory, 256 * MIB),
  cpus: optional(integer({ min: 1, max: 32 }), 1),
  clock: optional(oneOf("host", "instructions"), "host"),
  seed: optional(integer({ max: 0xffff_ffff }), 1),
  sharedMemory: optional(boolean, false),
  boot: optional(
    object({ kernel: optional(file), initrd: optional(file), bios: optional(file), append: optional(string) }),
    {} as never,
  ),
  devices: optional(
    list(object({
      use: string,
      config: optional(options),
      name: optional(deviceName),
      backends: optional(backends),
      at: optional(integer()),
      irq: optional(integer({ min: 1 })),
    })),
    [],
  ),
});

/** Checks a description; throws with the path of the first fault, e.g. `machine.devices[0].use`. */
export function checkDescription(value: MachineDescription): CheckedDescription {
  return description.parse(value, "machine");
}
