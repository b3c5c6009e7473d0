// What is to be fuzzed: a device plugin by its specifier, with back ends for services that the fuzzer has none for.

import { createHypervisor, type PluginUse } from "../../mod.ts";
import type { Subject } from "./bench.ts";

/** Services that core or the fuzzer provides. */
const SERVED = [
  ...["irq", "dma", "clock", "inbox", "cpus", "power", "wallTime"],
  ...["stream", "block", "net", "entropy"],
];

/** Loads a device plugin. Throws one sentence for what can not be fuzzed. */
export async function loadSubject(
  { use, config }: PluginUse,
  { base, backends = {} }: { base?: string; backends?: Readonly<Record<string, PluginUse>> } = {},
): Promise<Subject> {
  const hypervisor = createHypervisor();
  const definition = await hypervisor.registry.find("device", use, { path: "the device", base });
  const missing = definition.needs.find((need: string) => !SERVED.includes(need) && !Object.hasOwn(backends, need));
  if (missing) {
    throw new TypeError(
      `Cannot fuzz ${use}: it needs ${missing}, for which the fuzzer has no back end; give --backend ${missing}=SPECIFIER`,
    );
  }
  return { definition, config, backends, base, hypervisor };
}
