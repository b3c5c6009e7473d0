// The coverage table's own referees: what counts as tested, and what does not.

import { assertEquals } from "@std/assert";
import { CSR_NUMBERS } from "../../plugins/riscv/assembly/syntax.ts";
import { MODE } from "../../plugins/riscv/cause.ts";
import { CSRS } from "../../plugins/riscv/csrs.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { type Case, instruction } from "./case.ts";
import { named } from "./cases.ts";
import { coverage, withoutReferee } from "./coverage.ts";
import { Trace } from "./trace.ts";

/** Checks what a text names; what is not said is nothing. */
function assertNames(text: string, of: { instructions?: string[]; values?: string[]; accesses?: string[] }): void {
  const { instructions = [], values = [], accesses = [] } = of;
  const expected = { instructions: new Set(instructions), values: new Set(values), accesses: new Set(accesses) };
  assertEquals(named(text), expected, text);
}

Deno.test("English words, comments, variables and data name no instruction and no CSR", () => {
  const texts = [
    'Deno.test("jal, or and fence wait for mret and mcycle", () => {});',
    'Deno.test("wfi waits; sret returns to SPP", () => {});',
    "for (const fence of fences) run(`${fence}`); // wfi, csrr a0, mcycle",
    'const or = encode("jal"); new Guest(".half 0x9002, 0x0001; .word 0x13");',
    'assertEquals(x, y, "mcycle"); registers: { mcycle: 1 }; works("csrr a0, nothing");',
  ];
  for (const text of texts) assertNames(text, {});
});

Deno.test("assembly names its instructions and the CSRs that it accesses; a look at its value names a CSR", () => {
  assertNames('new Guest("loop: j loop; or a0, a1, a2")', { instructions: ["jal", "or"] });
  assertNames("new Guest(`ld a0, ${8 * i}(sp)\n wfi`)", { instructions: ["ld", "wfi"] });
  assertNames('legal("csrw mcycle, a0")', { instructions: ["csrrw"], accesses: ["mcycle"] });
  assertNames("legal(`csrr a0, ${csr}`)", { instructions: ["csrrs"] });
  assertNames('guest.get("mcycle") + reads("time") + written("misa", 1n)', { values: ["mcycle", "time", "misa"] });
  assertNames("reads(`pmpcfg${i}`)", { values: ["pmpcfg0", "pmpcfg2"] });
});

Deno.test("what only words mention, and a CSR that is only judged legal, are without a referee", () => {
  const all = (names: readonly string[], ...without: string[]) =>
    new Map(names.filter((name) => !without.includes(name)).map((name) => [name, new Set(["family"])]));
  const rows = [...INSTRUCTIONS.rows, ...INSTRUCTIONS.compressed].map(({ name }) => name);
  const csrs = CSRS.map(({ name }) => name);
  const trace = {
    instructions: all(rows, "jal", "or", "c.mv"),
    values: all(csrs, "mcycle", "time", "misa"),
    accesses: all(csrs),
  };
  const text = 'Deno.test("jal or mcycle", () => { new Guest("or a0, a0, a1; csrr a0, time"); guest.get("misa"); });';
  assertEquals(withoutReferee(coverage(trace, new Map([["or_test.ts", text]]))), ["jal", "c.mv", "time", "mcycle"]);
});

Deno.test("a case counts for the instructions that retired, and for the CSRs that it read", async () => {
  const csr = (name: string) => CSR_NUMBERS.get(name)!;
  const code = [
    instruction("csrrs", { rd: 0, csr: csr("instret") }),
    instruction("csrrs", { rd: 6, csr: csr("cycle") }),
    instruction("csrrs", { rd: 6, csr: csr("mscratch") }),
    instruction("beq", { imm: 8 }),
    instruction("or", { rd: 6 }),
    instruction("fadd.s", {}), // FS is off
    { bits: 0x8505, length: 2 }, // c.srai
    instruction("ebreak"),
  ] as const;
  const cases = [MODE.U, MODE.S].map((mode): Case => ({
    family: "UsM"[mode],
    seed: 1,
    mode,
    status: 0n,
    csrs: [["mcounteren", 7n], ["scounteren", 7n]],
    code,
  }));
  const trace = new Trace();
  await trace.run(cases);
  const both = new Set(["U", "s"]);
  assertEquals(trace.instructions, new Map(["csrrs", "beq", "c.srai", "ebreak"].map((name) => [name, both])));
  assertEquals(trace.values, new Map([["cycle", both]]));
  assertEquals(trace.accesses, new Map(["instret", "cycle", "mscratch"].map((name) => [name, both])));
});
