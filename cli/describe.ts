// From the options of `run` and `dtb` to the API's machine descriptions.

import type { DeviceDescription, MachineDescription, PluginUse } from "../mod.ts";
import { parseJson } from "./json.ts";
import { numberOf, type Option, type Parsed, UsageError } from "./options.ts";

/** The options that describe one machine. */
export const MACHINE_OPTIONS: readonly Option[] = [
  { name: "kernel", value: "FILE", text: "a Linux Image or bzImage, an ELF or a flat binary" },
  { name: "initrd", value: "FILE", text: "the kernel's first file system" },
  { name: "append", value: "TEXT", text: "the kernel's command line; an image has one of its own" },
  { name: "bios", value: "FILE", text: "riscv64 firmware, entered in M-mode: an ELF, or a flat binary for RAM's base" },
  { name: "image", value: "NAME", text: "kernel and initrd of a pulled image (see denovisor images)" },
  { name: "memory", value: "SIZE", text: "RAM, such as 512M or 1G; default 256M" },
  { name: "cpus", value: "N", text: "CPUs; default 1" },
  { name: "disk", value: "FILE[,ro]", many: true, text: "a raw file as a virtio disk; ro: read-only" },
  { name: "net", value: "none|hub:NAME", many: true, text: "a virtio network card on a hub; default none" },
  { name: "serial", value: "stdio|null|file:PATH", text: "where the serial port leads; default stdio" },
  {
    name: "device",
    value: "SPECIFIER[,JSON]",
    many: true,
    text: "a device plugin by name or import specifier, and its config",
  },
  {
    name: "engine",
    value: "SPECIFIER[,JSON]",
    text: "what runs the guest's code: auto (the default), or one of denovisor engines, and its config",
  },
  { name: "clock", value: "host|instructions", text: "virtual time by the host's clock or by instructions executed" },
];

/** The option that stands in the place of all of those. */
export const CONFIG_OPTION: Option = {
  name: "config",
  value: "FILE.json",
  text: "one machine or a list of machines, described as for the API",
};

/** The files of an image. */
export interface ImageFiles {
  readonly kernel: string;
  readonly initrd: string;
}

/** What {@linkcode describe} reads from outside of the command line. */
export interface Sources {
  readText(path: string): Promise<string>;
  findImage(name: string): Promise<ImageFiles>;
}

/** The machines that a command line describes. Throws a `UsageError` or `JsonError` for what it can not mean. */
export async function describe(parsed: Parsed, sources: Sources): Promise<MachineDescription[]> {
  const config = parsed.one("config");
  if (config === undefined) return [await describeOne(parsed, sources)];
  for (const { name } of MACHINE_OPTIONS) {
    if (parsed.all(name).length) throw new UsageError(`--config describes the whole machine: leave out --${name}`);
  }
  const found = parseJson(await sources.readText(config), config);
  const machines = Array.isArray(found) ? found : [found];
  if (!machines.length) throw new UsageError(`Cannot run ${config}: the list of machines is empty`);
  machines.forEach((machine, i) => {
    if (typeof machine !== "object" || machine === null || Array.isArray(machine)) {
      throw new UsageError(`Cannot run ${config}: machine ${i + 1} is not an object`);
    }
  });
  return machines;
}

async function describeOne(parsed: Parsed, { findImage }: Sources): Promise<MachineDescription> {
  const name = parsed.one("image");
  const image = name === undefined ? undefined : await findImage(name);
  const kernel = parsed.one("kernel") ?? image?.kernel;
  const bios = parsed.one("bios");
  if (kernel === undefined && bios === undefined) {
    throw new UsageError("There is nothing to boot: give --kernel, --bios, --image or --config");
  }
  const engine = parsed.one("engine");
  const cpus = parsed.one("cpus");
  const clock = parsed.one("clock");
  if (clock !== undefined && clock !== "host" && clock !== "instructions") {
    throw new UsageError(`--clock wants host or instructions, got ${JSON.stringify(clock)}`);
  }
  return defined<MachineDescription>({
    engine: engine === undefined ? undefined : plugin("--engine", engine),
    memory: parsed.one("memory") ?? "256M",
    cpus: cpus === undefined ? undefined : numberOf("cpus", cpus, { min: 1, whole: true }),
    clock,
    boot: defined({
      kernel,
      bios,
      initrd: parsed.one("initrd") ?? image?.initrd,
      append: parsed.one("append") ?? (image && IMAGE_COMMAND_LINE),
    }),
    devices: [
      serial(parsed.one("serial") ?? "stdio"),
      ...parsed.all("disk").map(disk),
      ...nets(parsed.all("net")),
      ...(image ? [RNG] : []),
      ...parsed.all("device").map(device),
    ],
  });
}

/** What an image's kernel is told where the person tells it nothing: Debian's tests its ciphers for a third of a boot. */
const IMAGE_COMMAND_LINE = "console=ttyS0 cryptomgr.notests";

/** The same object without the keys that have no value. */
function defined<T extends object>(given: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;
}

/** A distribution's kernel waits for entropy before it lets programs have random numbers. */
const RNG: DeviceDescription = { use: "virtio_rng", backends: { entropy: { use: "random_entropy" } } };

function serial(text: string): DeviceDescription {
  return { use: "serial_16550", backends: { stream: stream(text) } };
}

function stream(text: string): PluginUse {
  if (text === "stdio") return { use: "stdio_console" };
  if (text === "null") return { use: "null_stream" };
  if (text.startsWith("file:") && text.length > 5) return { use: "file_stream", config: { path: text.slice(5) } };
  throw new UsageError(`--serial wants stdio, null or file:PATH, got ${JSON.stringify(text)}`);
}

function disk(text: string): DeviceDescription {
  const readOnly = text.endsWith(",ro");
  const path = readOnly ? text.slice(0, -3) : text;
  return {
    use: "virtio_blk",
    backends: { block: { use: "file_disk", config: readOnly ? { path, readOnly } : { path } } },
  };
}

function nets(texts: readonly string[]): DeviceDescription[] {
  if (texts.includes("none")) {
    if (texts.length > 1) throw new UsageError("--net none does not go together with another --net");
    return [];
  }
  return texts.map((text) => {
    const hub = /^hub:(.+)$/.exec(text)?.[1];
    if (!hub) throw new UsageError(`--net wants none or hub:NAME, got ${JSON.stringify(text)}`);
    return { use: "virtio_net", backends: { net: { use: "hub_net", config: { hub } } } };
  });
}

function device(text: string): DeviceDescription {
  const use = plugin("--device", text);
  return use.use === RNG.use ? { ...use, backends: RNG.backends } : use;
}

/** A specifier may hold commas, so its configuration begins at the first comma before a brace. */
export function plugin(option: string, text: string): PluginUse {
  const cut = text.search(/,\s*\{/);
  if (cut < 0) return { use: text };
  const use = text.slice(0, cut);
  return { use, config: parseJson(text.slice(cut + 1), `${option} ${use}`) as PluginUse["config"] };
}
