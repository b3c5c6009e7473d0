// The plan of a machine: its plugins found and their configurations checked, before a back end or an engine is opened.

import { checkDescription, type CheckedDescription } from "./description.ts";
import { AUTO, chooseEngine, type EngineChoice } from "./engines.ts";
import type {
  BackendDefinition,
  Board,
  CoreServiceName,
  DeviceDefinition,
  DeviceDescription,
  EngineDefinition,
  MachineDescription,
  PluginUse,
} from "./plugin.ts";

/** A back end to open. */
export interface PlannedBackend {
  readonly definition: BackendDefinition;
  readonly config: unknown;
}

/** A device to create. */
export interface PlannedDevice {
  readonly name: string;
  readonly definition: DeviceDefinition;
  readonly config: unknown;
  /** By service: those that the description gives. */
  readonly backends: Readonly<Record<string, PlannedBackend>>;
  readonly at?: number;
  readonly irqNumber?: number;
}

/** All of a machine that can be known before a back end or an engine is opened. */
export interface Plan {
  readonly description: CheckedDescription;
  readonly engine: { readonly definition: EngineDefinition; readonly config: unknown };
  readonly boardName: string;
  readonly board: Board;
  readonly devices: readonly PlannedDevice[];
}

/** Where plugins are looked for. */
export type PlanOptions = EngineChoice;

/** The services of core's own that a device may need; every other one comes from a back end. */
export const CORE_SERVICES: readonly string[] = Object.keys(
  { irq: 1, dma: 1, clock: 1, inbox: 1, cpus: 1, power: 1, wallTime: 1 } satisfies Record<CoreServiceName, 1>,
);

/**
 * Checks a description and loads what it names. Throws one clear sentence for the first fault. Of the host it asks
 * nothing but modules, and where the engine is left open what works here and what the kernel is for.
 */
export async function planMachine(value: MachineDescription, options: PlanOptions): Promise<Plan> {
  const description = checkDescription(value);
  const { registry, plugins, base } = options;
  const place = (path: string) => ({ path, plugins, base });

  const use = description.engine.use === AUTO ? await chooseEngine(description, options) : description.engine;
  const engine = await registry.find("engine", use.use, place("machine.engine"));
  const boardUse = description.board ?? { use: engine.defaultBoard };
  const boardDefinition = await registry.find("board", boardUse.use, place("machine.board"));
  if (!engine.architectures.includes(boardDefinition.architecture)) {
    throw new TypeError(
      `Cannot configure machine.board: ${boardDefinition.name} is for ${boardDefinition.architecture}, ` +
        `the engine ${engine.name} runs ${engine.architectures.join(", ")}`,
    );
  }
  const board = boardDefinition.create({
    config: boardDefinition.config.parse(boardUse.config ?? {}, "board"),
    harts: description.cpus,
    ramSize: description.memory,
    bios: description.boot.bios !== undefined,
  });

  const named = await Promise.all(
    description.devices.map((device, i) => loadDevice(device, `machine.devices[${i}]`, options)),
  );
  const defaults = await Promise.all(
    board.defaultDevices.map((device, i) =>
      loadDevice(device, `${boardDefinition.name}.defaultDevices[${i}]`, options)
    ),
  );
  const replaced = new Set(named.map(({ definition }) => definition.name));
  const loaded = [...defaults.filter(({ definition }) => !replaced.has(definition.name)), ...named];

  return {
    description,
    engine: { definition: engine, config: engine.config.parse(use.config ?? {}, "engine") },
    boardName: boardDefinition.name,
    board,
    devices: nameDevices(loaded, [engine.name, boardDefinition.name]),
  };
}

interface LoadedDevice {
  readonly path: string;
  readonly given: DeviceDescription;
  readonly definition: DeviceDefinition;
  readonly backends: readonly (readonly [service: string, use: PluginUse, definition: BackendDefinition])[];
}

async function loadDevice(given: DeviceDescription, path: string, options: PlanOptions): Promise<LoadedDevice> {
  const { registry, plugins, base } = options;
  const definition = await registry.find("device", given.use, { path: `${path}.use`, plugins, base });
  const services = definition.needs.filter((need) => !CORE_SERVICES.includes(need));
  const backends = await Promise.all(
    Object.entries(given.backends ?? {}).map(async ([service, use]) => {
      const where = `${path}.backends.${service}`;
      if (!services.includes(service as never)) {
        const known = services.length ? services.join(", ") : "no back end";
        throw new TypeError(`Cannot configure ${where}: ${definition.name} takes ${known}`);
      }
      const backend = await registry.find("backend", use.use, { path: where, plugins, base });
      if (backend.provides !== service) {
        throw new TypeError(
          `Cannot configure ${where}: wanted a back end that provides ${service}, ${backend.name} provides ${backend.provides}`,
        );
      }
      return [service, use, backend] as const;
    }),
  );
  for (const service of services) {
    if (service === "stream" || service === "entropy" || given.backends?.[service]) continue;
    throw new TypeError(
      `Cannot configure ${path}.backends.${service}: ${definition.name} needs a back end that provides ${service}, got none`,
    );
  }
  return { path, given, definition, backends };
}

/** Gives every device its name, and checks the configurations under that name. */
function nameDevices(devices: readonly LoadedDevice[], reserved: readonly string[]): PlannedDevice[] {
  const taken = new Set(reserved);
  for (const { given, path } of devices) {
    if (given.name === undefined) continue;
    if (taken.has(given.name)) throw new TypeError(`Cannot configure ${path}.name: "${given.name}" is taken`);
    taken.add(given.name);
  }
  return devices.map(({ given, definition, backends }) => {
    const name = given.name ?? freeName(definition.name, taken);
    taken.add(name);
    return {
      name,
      definition,
      config: definition.config.parse(given.config ?? {}, name),
      backends: Object.fromEntries(backends.map(([service, use, backend]) => [
        service,
        { definition: backend, config: backend.config.parse(use.config ?? {}, `${name}.backends.${service}`) },
      ])),
      at: given.at,
      irqNumber: given.irq,
    };
  });
}

/** `virtio_blk0`, `serial_16550_0`. */
function freeName(plugin: string, taken: ReadonlySet<string>): string {
  const stem = /\d$/.test(plugin) ? `${plugin}_` : plugin;
  for (let number = 0;; number++) if (!taken.has(`${stem}${number}`)) return `${stem}${number}`;
}
