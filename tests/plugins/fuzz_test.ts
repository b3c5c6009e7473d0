// Every built-in back end before requests of every kind: the cases of `denovisor fuzz`, by seed; and no plugin is left out.
// DENOVISOR_FUZZ_SEED and DENOVISOR_FUZZ_CASES choose others, and more.

import { assertEquals, assertMatch } from "@std/assert";
import { fuzz } from "../../cli/fuzz/fuzz.ts";
import { loadSubject } from "../../cli/fuzz/subject.ts";
import { BUILT_IN_PLUGINS, type Plain, type PluginDefinition } from "../../mod.ts";
import { denovisor } from "../support/denovisor.ts";

const SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);
const CASES = Number(Deno.env.get("DENOVISOR_FUZZ_CASES") ?? 4);

const plugins = await Promise.all(
  Object.entries(BUILT_IN_PLUGINS).map(async ([use, load]) =>
    [use, (await load()).default as PluginDefinition] as const
  ),
);
const ofKind = (kind: PluginDefinition["kind"]) => plugins.filter(([, it]) => it.kind === kind).map(([use]) => use);

/** What back ends must be told; `folder` is theirs. */
const configs = (folder: string): Record<string, Record<string, Plain>[]> => ({
  file_disk: [{ path: `${folder}/disk` }, { path: `${folder}/disk`, readOnly: true }],
  file_stream: [{ path: `${folder}/stream` }],
  hub_net: [{ hub: "lan" }, { hub: "lan", offloads: false }],
  memory_disk: [{ size: 512 }, { size: 4 << 20 }, { size: 65536, readOnly: true }],
  random_entropy: [{}, { seed: 7 }],
});

for (const use of ofKind("backend").filter((use) => use !== "stdio_console")) {
  Deno.test(`${use} withstands requests of every kind, called directly and by devices`, async (t) => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeFile(`${folder}/disk`, new Uint8Array(3 << 20));
      for (const config of configs(folder)[use] ?? [{}]) {
        await t.step(JSON.stringify(config).replace(folder, ""), async () => {
          const { cases, failure } = await fuzz(await loadSubject({ use, config }), { seed: SEED, cases: CASES });
          const again = failure &&
            `denovisor fuzz '${use},…' --seed ${failure.seed} --cases 1 --steps ${failure.steps}`;
          assertEquals(failure?.sentence, undefined, `${again}\n${failure?.trace.slice(-30).join("\n")}`);
          assertEquals(cases, CASES);
        });
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("stdio_console withstands requests of every kind, called directly and by devices", async () => {
  const args = ["fuzz", "stdio_console", "--seed", `${SEED}`, "--cases", `${CASES}`];
  const { code, out, err } = await denovisor(args, { input: "typed\n".repeat(10_000) });
  assertEquals(code, 0, out.slice(-2000) + err);
  assertMatch(out, /stdio_console: \d+ cases of 120 steps from seed \d+ on, all well/);
});

Deno.test("every built-in plugin is fuzzed, or is what runs the guests", () => {
  const fuzzed = [...ofKind("device"), ...ofKind("backend")];
  assertEquals(plugins.map(([use]) => use).filter((use) => !fuzzed.includes(use)), [
    "kvm",
    "pc_micro",
    "riscv",
    "riscv_virt",
  ]);
});
