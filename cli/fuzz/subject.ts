// What is to be fuzzed: a device plugin by its specifier, with back ends for services that the fuzzer has none for, or a back end.

import { CORE_SERVICES, createHypervisor, type PluginUse } from "../../mod.ts";
import type { DirectSubject } from "./backend_bench.ts";
import type { DeviceSubject } from "./bench.ts";

/** The devices that use a back end of a service. */
const BEHIND: Readonly<Record<string, readonly string[]>> = {
  block: ["virtio_blk"],
  stream: ["virtio_console", "serial_16550"],
  net: ["virtio_net"],
  entropy: ["virtio_rng"],
};

/** Services that core or the fuzzer provides. */
const SERVED: readonly string[] = [...CORE_SERVICES, ...Object.keys(BEHIND)];

/** A back end under test: called directly, and by devices that use it. */
export interface BackendSubject extends DirectSubject {
  readonly behind: readonly DeviceSubject[];
}
/** What can be fuzzed. */
export type Subject = DeviceSubject | BackendSubject;

interface Loading {
  /** For services that the fuzzer has no back end for, or instead of its own. */
  readonly backends?: Readonly<Record<string, PluginUse>>;
}

/** Loads a plugin, a device or a back end. Throws one sentence for what can not be fuzzed. */
export async function loadSubject(use: PluginUse, loading: Loading = {}): Promise<Subject> {
  const hypervisor = createHypervisor();
  const definition = await hypervisor.find("backend", use.use).catch(() => undefined);
  if (!definition) return await loadDevice(use, loading); // which also says what is wrong
  const { provides } = definition;
  if (!Object.hasOwn(BEHIND, provides)) {
    throw new TypeError(
      `Cannot fuzz ${use.use}: it provides ${provides}; wanted one of ${Object.keys(BEHIND).join(", ")}`,
    );
  }
  const behind = BEHIND[provides].map((device) => loadDevice({ use: device }, { backends: { [provides]: use } }));
  return { definition, config: use.config, behind: await Promise.all(behind) };
}

/** Loads a device plugin. Throws one sentence for what can not be fuzzed. */
export async function loadDevice(
  { use, config }: PluginUse,
  { backends = {} }: Loading = {},
): Promise<DeviceSubject> {
  const hypervisor = createHypervisor();
  const definition = await hypervisor.find("device", use);
  const missing = definition.needs.find((need: string) => !SERVED.includes(need) && !Object.hasOwn(backends, need));
  if (missing) {
    throw new TypeError(
      `Cannot fuzz ${use}: it needs ${missing}, for which the fuzzer has no back end; give --backend ${missing}=SPECIFIER`,
    );
  }
  return { definition, config, backends, hypervisor };
}
