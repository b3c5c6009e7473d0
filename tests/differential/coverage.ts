// The coverage table: every instruction and every CSR, what tested it, and which referee judged.

import { fromFileUrl } from "@std/path";
import { CSRS } from "../../plugins/riscv/csrs.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import type { SessionResult } from "./session.ts";

const CASES = new URL("../plugins/riscv/", import.meta.url);
/** Tests whose cases quote the specification. */
const FILES = ["csr_test.ts", "trap_test.ts", "mmu_test.ts", "pmp_test.ts", "tlb_test.ts", "words_test.ts"];

/** A row of the table. */
interface Covered {
  readonly name: string;
  /** Families of cases that QEMU judged. */
  readonly qemu: readonly string[];
  /** Tests in the specification's words that name it. */
  readonly cases: readonly string[];
}

/** What tested each instruction and each CSR. */
export interface Coverage {
  readonly instructions: readonly Covered[];
  readonly csrs: readonly Covered[];
}

/** Puts together what a session with QEMU tried and what tests name. */
export async function coverage(
  { instructions, csrs }: Pick<SessionResult, "instructions" | "csrs">,
): Promise<Coverage> {
  const sources = await Promise.all(FILES.map(async (file) => {
    const text = await Deno.readTextFile(fromFileUrl(new URL(file, CASES)));
    return { file, words: text.replaceAll(/\/\/.*/g, "") };
  }));
  const casesOf = (pattern: string) =>
    sources.filter(({ words }) => new RegExp(pattern).test(words)).map((s) => s.file);
  // Not as part of a longer name; of numbered CSRs any number will do.
  const whole = (name: string) => `(?<![\\w.])${name.replaceAll(".", "\\.").replace(/\d+$/, "\\d+")}(?![\\w.])`;
  const sorted = (families: ReadonlySet<string> | undefined) => [...families ?? []].sort();
  const rows = [...INSTRUCTIONS.rows, ...INSTRUCTIONS.compressed];
  return {
    instructions: rows.map(({ name }) => ({
      name,
      qemu: sorted(instructions.get(name)),
      cases: casesOf(whole(name)),
    })),
    csrs: CSRS.map(({ name, number }) => ({ name, qemu: sorted(csrs.get(number)), cases: casesOf(whole(name)) })),
  };
}

/** Rows that nobody judges but the oracle, which shares the hart's own code for them, or the table's. */
export function withoutReferee({ instructions, csrs }: Coverage): string[] {
  return [...instructions, ...csrs].filter(({ qemu, cases }) => !qemu.length && !cases.length).map(({ name }) => name);
}

function table(head: string, rows: readonly Covered[]): string {
  const cells = rows.map(({ name, qemu, cases }) => [name, qemu.join(", "), cases.join(", ")]);
  const all = [[head, "QEMU, in these families of cases", "cases in the specification's words"], ...cells];
  const widths = [0, 1, 2].map((i) => Math.max(...all.map((row) => row[i].length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  const [first, ...rest] = all.map(line);
  return [first, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest].join("\n");
}

/** The table as a file. */
export function coverageText({ instructions, csrs }: Coverage): string {
  return `# What tested each instruction and CSR

Made by \`tests/differential/qemu_test.ts\`. Every instruction is besides held to the oracle, which reads the same table,
by \`rows_test.ts\`, \`rows_float_test.ts\` and \`lockstep_test.ts\`; what stands here are the referees from outside.

## Instructions

${table("instruction", instructions)}

## CSRs

${table("CSR", csrs)}
`;
}
