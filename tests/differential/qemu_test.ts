// Generated programs, bare metal and user level, on denovisor and on QEMU. DENOVISOR_FUZZ_SEED chooses others, and
// DENOVISOR_DIFFERENTIAL_SECONDS sets how long, default 60.

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { coverage, coverageText, quotingTests, withoutReferee } from "./coverage.ts";
import { EXCEPTIONS, WRONG_INSTRUCTIONS } from "./exceptions.ts";
import { findQemuCpu } from "./qemu_cpu.ts";
import { runSession } from "./session.ts";
import { Trace } from "./trace.ts";

const SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);
const SECONDS = Number(Deno.env.get("DENOVISOR_DIFFERENTIAL_SECONDS") ?? 60);
/** From one seed of a session on as many cases follow, at most. */
const APART = 1_000_000;
/** The rounds that the coverage table tells of. */
const LEAST = 3;
const TABLE = fromFileUrl(new URL("coverage.md", import.meta.url));
/** The table is of this one; another has other extensions. */
const TABLE_QEMU = /^7\.2\./;

const qemu = await findQemuCpu();
if (!qemu) {
  console.log("skipped: qemu-system-riscv64 and qemu-riscv64 are not installed (packages qemu-system-misc, qemu-user)");
}

Deno.test({
  name: "generated programs end on QEMU as they do here: registers, memory and traps",
  ignore: !qemu,
  async fn(t) {
    const { version, cpu, lacks } = qemu!;
    console.log(`QEMU ${version}, -cpu ${cpu}; left to the oracle: ${lacks.join(", ")}`);
    const options = { qemu: qemu!, seed: 1, log: (line: string) => console.log(line), stopAtDifference: true };
    const trace = new Trace();
    const fixed = await runSession({ ...options, seconds: 0, least: LEAST, trace });
    assertEquals(fixed.differences, [], fixed.differences.join("\n"));

    await t.step("every family of cases executes something", () => {
      const executed = new Set(trace.instructions.values().flatMap((families) => [...families]));
      assertEquals(fixed.cases.keys().filter((family) => !executed.has(family)).toArray(), []);
    });

    await t.step("every instruction and every CSR has a referee from outside", async () => {
      const found = coverage(trace, await quotingTests());
      assertEquals(withoutReferee(found), []);
      if (!TABLE_QEMU.test(version)) {
        return console.log(`The coverage table is not compared: it is of QEMU 7.2, this is ${version}`);
      }
      const text = coverageText(found);
      const known = await Deno.readTextFile(TABLE).catch(() => "");
      if (text !== known) {
        await Deno.writeTextFile(TABLE, text);
        throw new Error(`The coverage table has changed: review ${TABLE}, which is new now, and commit it`);
      }
    });

    await t.step("more of them", async () => {
      const rest = await runSession({ ...options, seed: SEED * APART, seconds: SECONDS, least: 1, matrices: false });
      assertEquals(rest.differences, [], rest.differences.join("\n"));
    });
  },
});

Deno.test("each exception for QEMU quotes the specification", () => {
  for (const { name, quote } of EXCEPTIONS) assert(quote.length > 20, name);
  for (const [name, quote] of Object.entries(WRONG_INSTRUCTIONS)) assert(quote.length > 20, name);
});
