// What a module of tests says in assembly, and of which CSRs it looks at the value: the cases that quote the specification.

import { assemble } from "../../plugins/riscv/assembler.ts";
import { CSR_NUMBERS } from "../../plugins/riscv/assembly/syntax.ts";
import type { Decoded } from "../../plugins/riscv/encoding.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { CSR_NAMES } from "../support/riscv_disassembler.ts";

/** Names of a module's tests. */
export interface Named {
  /** Instructions that stand in its assembly. */
  readonly instructions: ReadonlySet<string>;
  /** CSRs whose value is looked at. */
  readonly values: ReadonlySet<string>;
  /** CSRs that stand in its assembly: they are accessed. */
  readonly accesses: ReadonlySet<string>;
}

/** Comments, which are skipped, and literals. */
const TOKEN = /\/\/.*|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;
/** Calls that give a CSR's value. */
const VALUE = /(?:\.get|\bwritten|\breads)\(\s*["`]([^"`]+)["`]/g;
const DIRECTIVE = /(?:^|[;:\n])\s*\./;
const NUMBERS = Array.from({ length: 32 }, (_, i) => i);

/** What a module's text names. A literal is assembly if the assembler takes all of it. */
export function named(text: string): Named {
  const found = { instructions: new Set<string>(), values: new Set<string>(), accesses: new Set<string>() };
  for (const [, plain, template] of text.matchAll(TOKEN)) {
    for (const source of numbered(plain ?? template ?? "")) {
      for (const { compressed, row, fields } of decoded(source)) {
        found.instructions.add((compressed ?? row).name);
        const csr = row.name.startsWith("csr") && CSR_NAMES.get(fields.csr);
        if (csr && new RegExp(`\\b${csr}\\b`).test(source)) found.accesses.add(csr);
      }
    }
  }
  for (const [, name] of text.replaceAll(/\/\/.*/g, "").matchAll(VALUE)) {
    for (const each of numbered(name)) if (CSR_NUMBERS.has(each)) found.values.add(each);
  }
  return found;
}

/** A literal, with all numbers that may stand in the place of what is put into it. */
function numbered(literal: string): string[] {
  const source = literal.replaceAll("\\n", "\n");
  return source.includes("${") ? NUMBERS.map((n) => source.replaceAll(/\$\{[^}]*\}/g, `${n}`)) : [source];
}

/** The instructions of a text, if it is assembly, and none of it data. */
function* decoded(source: string): Generator<Decoded> {
  if (DIRECTIVE.test(source)) return;
  let code: Uint8Array<ArrayBuffer>;
  try {
    code = assemble(source);
  } catch (error) {
    if (error instanceof SyntaxError) return;
    throw error;
  }
  const view = new DataView(code.buffer);
  for (let at = 0; at < code.length;) {
    const short = (code[at] & 3) !== 3;
    const found = INSTRUCTIONS.decode(short ? view.getUint16(at, true) : view.getUint32(at, true))!;
    yield found;
    at += found.length;
  }
}
