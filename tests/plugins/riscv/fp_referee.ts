// QEMU's user-mode emulator as referee of floating point: one small C program with every instruction, asked in bulk.

import { parseBits } from "../../../plugins/riscv/encoding.ts";
import type { Row } from "../../../plugins/riscv/rows/row.ts";

const COMPILER = "riscv64-linux-gnu-gcc";
const EMULATOR = "qemu-riscv64";

/** A question to the referee: an instruction with its source registers, rounding mode in frm, fflags clear. */
export interface Question {
  readonly row: Row;
  readonly rm: number;
  readonly operands: readonly [bigint, bigint, bigint];
}

/** The destination register, and fflags. */
export interface Answer {
  readonly value: bigint;
  readonly flags: number;
}

/** What is missing for the referee, or undefined. */
export function missingReferee(): string | undefined {
  return [COMPILER, EMULATOR].find((tool) => {
    try {
      return !new Deno.Command(tool, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
    } catch {
      return true;
    }
  });
}

/** The emulator's answers, in order. */
export async function askReferee(rows: readonly Row[], questions: readonly Question[]): Promise<Answer[]> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/referee.c`, program(rows));
    await command(COMPILER, ["-O1", "-static", "-o", `${folder}/referee`, `${folder}/referee.c`]);
    const words = questions.flatMap(({ row, rm, operands }) => [BigInt(rows.indexOf(row)), BigInt(rm), ...operands]);
    await Deno.writeFile(`${folder}/questions`, new Uint8Array(new BigUint64Array(words).buffer));
    await command(EMULATOR, [`${folder}/referee`, `${folder}/questions`, `${folder}/answers`]);
    const answers = new BigUint64Array((await Deno.readFile(`${folder}/answers`)).buffer);
    return questions.map((_, i) => ({ value: answers[2 * i], flags: Number(answers[2 * i + 1]) }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function command(name: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args, stdout: "null", stderr: "piped" }).output();
  if (!success) throw new Error(`${name}: ${new TextDecoder().decode(stderr)}`);
}

function program(rows: readonly Row[]): string {
  const cases = rows.map((row, number) => `case ${number}: RUN("${assembly(row)}"); break;`);
  return `#include <stdint.h>
#include <stdio.h>
#define RUN(text) asm volatile( \\
  "fsrm %[rm]\\n fsflags zero\\n fmv.d.x ft0, %[a]\\n fmv.d.x ft1, %[b]\\n fmv.d.x ft2, %[c]\\n" text "\\n frflags %[flags]" \\
  : [value] "=&r"(answer[0]), [flags] "=&r"(answer[1]) \\
  : [rm] "r"(q[1]), [a] "r"(q[2]), [b] "r"(q[3]), [c] "r"(q[4]) : "ft0", "ft1", "ft2", "ft3")
int main(int argc, char **argv) {
  FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
  uint64_t q[5], answer[2];
  while (fread(q, sizeof q, 1, in)) {
    switch (q[0]) { ${cases.join("\n")} }
    fwrite(answer, sizeof answer, 1, out);
  }
  return fclose(out);
}
`;
}

function assembly({ name, bits }: Row): string {
  const { fields } = parseBits(bits);
  const toInteger = fields.has("rd");
  const sources = fields.has("rs1")
    ? ["%[a]"]
    : ["fs1", "fs2", "fs3"].flatMap((field, i) => fields.has(field as "fs1") ? [`ft${i}`] : []);
  const read = toInteger ? "" : "\\n fmv.x.d %[value], ft3";
  return `${name} ${[toInteger ? "%[value]" : "ft3", ...sources].join(", ")}${read}`;
}
