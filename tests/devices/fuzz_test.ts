// Every built-in device before hostile guests and failing hosts: the cases of `denovisor fuzz`, by seed.
// DENOVISOR_FUZZ_SEED and DENOVISOR_FUZZ_CASES choose others, and more.

import { assert, assertEquals } from "@std/assert";
import { fuzz } from "../../cli/fuzz/fuzz.ts";
import { loadSubject } from "../../cli/fuzz/subject.ts";
import { BUILT_IN_PLUGINS, type PluginDefinition } from "../../mod.ts";

const SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);
const CASES = Number(Deno.env.get("DENOVISOR_FUZZ_CASES") ?? 12);

const plugins = await Promise.all(
  Object.entries(BUILT_IN_PLUGINS).map(async ([use, load]) =>
    [use, (await load()).default as PluginDefinition] as const
  ),
);
const devices = [
  ...plugins.filter(([, { kind }]) => kind === "device").map(([use]) => ({ use })),
  { use: "virtio_blk", config: { queues: 3, queueSize: 64 } },
  { use: "virtio_blk", config: { readOnly: true } },
  { use: "virtio_console", config: { columns: 80, rows: 25 } },
  { use: "virtio_net", config: { mtu: 1500 } },
  { use: "serial_16550", config: { regShift: 2 } },
];

for (const { use, config } of devices as { use: string; config?: Record<string, number> }[]) {
  const title = config ? `${use} with ${JSON.stringify(config)}` : use;
  Deno.test(`${title} withstands hostile guests and failing hosts`, async () => {
    const { cases, most, failure } = await fuzz(await loadSubject({ use, config }), { seed: SEED, cases: CASES });
    const again = failure && `denovisor fuzz '${use}' --seed ${failure.seed} --cases 1 --steps ${failure.steps}`;
    assertEquals(failure?.sentence, undefined, `${again}\n${failure?.trace.slice(-30).join("\n")}`);
    assertEquals(cases, CASES);
    // The fuzzer reaches what a driver reaches: rings are walked, the host is called.
    if (use.startsWith("virtio")) assert(most.operations > 100 && most.bytes > 4000, JSON.stringify(most));
  });
}
