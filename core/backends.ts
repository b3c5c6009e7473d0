// The back ends of a device: opened, put behind their guards, made where the description may leave them out.

import { messageOf, placed } from "./errors.ts";
import type { PlannedDevice } from "./plan.ts";
import type { BackendContext, BackendServiceName, BackendServices, Bytes, StreamBackend } from "./plugin.ts";
import { SeededEntropy, seedOf } from "./random.ts";
import { show } from "./schema.ts";
import { createPipe, guardNet, guardStream } from "./streams.ts";

/** What back ends are opened with. */
export interface BackendOptions {
  readonly deterministic: boolean;
  readonly seed: number;
  /** Entropy where the description names none. */
  readonly entropy: (into: Bytes) => void;
  /** Stops the machine until the promise settles. */
  readonly hold: (until: Promise<void>) => void;
  /** What every back end's context has besides its configuration. */
  readonly context: (device: string) => Omit<BackendContext<unknown>, "config">;
  /** Takes note of what is to be closed at the end, last first. */
  readonly closing: (title: string, close: () => void | Promise<void>) => void;
}

/** The opened back ends of one device. */
export interface OpenBackends {
  readonly services: Readonly<Record<string, unknown>>;
  /** The device forgot its calls. */
  readonly abandon: () => void;
  /** The host's end of a stream without a back end. */
  readonly pipe?: StreamBackend;
  /** Prints on the device's stream. */
  readonly print?: (bytes: Bytes) => void;
  readonly seeded?: SeededEntropy;
}

/** Opens the back ends of a device, and makes those that the description may leave out. */
export async function openBackends(
  planned: PlannedDevice,
  services: readonly string[],
  options: BackendOptions,
): Promise<OpenBackends> {
  const open: Record<string, unknown> = {};
  const abandons: (() => void)[] = [];
  let pipe: OpenBackends["pipe"];
  let print: OpenBackends["print"];
  let seeded: OpenBackends["seeded"];

  const openStream = async (): Promise<void> => {
    let backend = await openBackend(planned, "stream", options);
    if (!backend) {
      const ends = createPipe();
      options.closing(`${planned.name}'s stream`, () => ends.host.close?.());
      backend = ends.device;
      pipe = ends.host;
    }
    const guarded = guardStream(backend, { hold: options.hold, holdWrites: options.deterministic });
    open.stream = guarded.service;
    print = guarded.print;
    abandons.push(guarded.abandon);
  };
  const openNet = async (): Promise<void> => {
    const log = options.context(planned.name).log;
    const guarded = guardNet((await openBackend(planned, "net", options))!, (error) => {
      log?.(`cannot send a packet: ${messageOf(error)}`);
    });
    open.net = guarded.service;
    abandons.push(guarded.abandon);
  };
  const openEntropy = async (): Promise<void> => {
    if (options.deterministic) seeded = new SeededEntropy(seedOf(options.seed, planned.name));
    open.entropy = seeded ?? await openBackend(planned, "entropy", options) ?? { fill: options.entropy };
  };

  for (const service of services) {
    if (service === "stream") await openStream();
    else if (service === "net") await openNet();
    else if (service === "entropy") await openEntropy();
    else open[service] = await openBackend(planned, service as BackendServiceName, options);
  }
  return { services: open, abandon: () => abandons.forEach((abandon) => abandon()), pipe, print, seeded };
}

async function openBackend<S extends BackendServiceName>(
  { name, backends }: PlannedDevice,
  service: S,
  { context, closing }: BackendOptions,
): Promise<BackendServices[S] | undefined> {
  const planned = backends[service];
  if (!planned) return undefined;
  const { definition, config } = planned;
  const place = `Cannot open ${name}.backends.${service}: ${definition.name}`;
  let backend;
  try {
    backend = await definition.open({ ...context(name), config }) as BackendServices[S];
  } catch (error) {
    throw placed(error, `${place}.open`);
  }
  if (typeof backend !== "object" || backend === null) throw new TypeError(`${place} gave ${show(backend)}`);
  closing(`${name}'s ${service} back end`, () => backend.close?.());
  return backend;
}
