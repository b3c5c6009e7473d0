// The coverage table: every instruction and every CSR, what tested it, and which referee judged.

import { CSRS } from "../../plugins/riscv/csrs.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { type Named, named } from "./cases.ts";
import type { Trace } from "./trace.ts";

const CASES = new URL("../plugins/riscv/", import.meta.url);
/** Tests whose cases quote the specification. */
const FILES = ["csr_test.ts", "trap_test.ts", "mmu_test.ts", "pmp_test.ts", "tlb_test.ts", "words_test.ts"];

/** A row of the table. */
interface Covered {
  readonly name: string;
  /** Families of cases in which it was executed, and QEMU judged what came of it. */
  readonly qemu: readonly string[];
  /** Tests in the specification's words that have it in their assembly; of a CSR, that look at its value. */
  readonly cases: readonly string[];
  /** Of a CSR: families and tests that judge no more than whether an access is legal. */
  readonly legality?: readonly string[];
}

/** What tested each instruction and each CSR. */
export interface Coverage {
  readonly instructions: readonly Covered[];
  readonly csrs: readonly Covered[];
}

/** The texts of the tests that quote the specification, by file. */
export async function quotingTests(): Promise<Map<string, string>> {
  return new Map(
    await Promise.all(FILES.map(async (file) => [file, await Deno.readTextFile(new URL(file, CASES))] as const)),
  );
}

/** Puts together what was executed, and compared with QEMU, and what tests name. */
export function coverage(
  trace: Pick<Trace, "instructions" | "values" | "accesses">,
  tests: ReadonlyMap<string, string>,
): Coverage {
  const names = Array.from(tests, ([file, text]) => ({ file, ...named(text) }));
  const cases = (of: keyof Named, name: string) => names.filter((each) => each[of].has(name)).map(({ file }) => file);
  const families = (of: ReadonlyMap<string, ReadonlySet<string>>, key: string) => [...of.get(key) ?? []].sort();
  const rows = [...INSTRUCTIONS.rows, ...INSTRUCTIONS.compressed];
  return {
    instructions: rows.map(({ name }) => ({
      name,
      qemu: families(trace.instructions, name),
      cases: cases("instructions", name),
    })),
    csrs: CSRS.map(({ name }) => {
      const [qemu, ofValue] = [families(trace.values, name), cases("values", name)];
      const all = [...families(trace.accesses, name), ...cases("accesses", name)];
      return { name, qemu, cases: ofValue, legality: all.filter((each) => ![...qemu, ...ofValue].includes(each)) };
    }),
  };
}

/**
 * Rows that nobody judges but the oracle, which shares the hart's own code for them, or the table's. Whether it may be
 * accessed is not all of a CSR.
 */
export function withoutReferee({ instructions, csrs }: Coverage): string[] {
  return [...instructions, ...csrs].filter(({ qemu, cases }) => !qemu.length && !cases.length).map(({ name }) => name);
}

function table(heads: readonly string[], rows: readonly Covered[]): string {
  const cells = rows.map(({ name, ...lists }) => [name, ...Object.values(lists).map((list) => list.join(", "))]);
  const all = [heads, ...cells];
  const widths = heads.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  const [first, ...rest] = all.map(line);
  return [first, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest].join("\n");
}

const [QEMU, WORDS] = ["QEMU, in these families of cases", "cases in the specification's words"];

/** The table as a file. */
export function coverageText({ instructions, csrs }: Coverage): string {
  return `# What tested each instruction and CSR

Made by \`tests/differential/qemu_test.ts\`. A family of cases stands here for what it executed and QEMU judged: an
instruction that retired (or called, by its trap), a CSR whose value came into a register. A file of tests stands here
for the instructions in its assembly, and for CSRs whose values it looks at. Every instruction is besides held to the
oracle, which reads the same table, by \`rows_test.ts\`, \`rows_float_test.ts\` and \`lockstep_test.ts\`; what stands here are
the referees from outside.

## Instructions

${table(["instruction", QEMU, WORDS], instructions)}

## CSRs

What judges only whether a CSR may be accessed stands apart, and is no referee of the CSR.

${table(["CSR", `value: ${QEMU}`, `value: ${WORDS}`, "only whether it may be accessed"], csrs)}
`;
}
