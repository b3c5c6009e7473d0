// QEMU's user-mode emulator as referee of floating point: one small C program with every instruction, asked in bulk.

import { FP_OPS, type FpOp, type Result } from "../../../plugins/riscv/softfloat.ts";
import { operandsOf, resultOf } from "./fp_operands.ts";

const COMPILER = "riscv64-linux-gnu-gcc";
const EMULATOR = "qemu-riscv64";
const BOX = 0xffff_ffffn << 32n;

/** A question to the referee. */
export interface Question {
  readonly op: FpOp;
  readonly rm: number;
  readonly operands: readonly [bigint, bigint, bigint];
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

/** The emulator's answers, in order. A binary32 result comes without its box; a missing box throws. */
export async function askReferee(questions: readonly Question[]): Promise<Result[]> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/referee.c`, program());
    await command(COMPILER, ["-O1", "-static", "-o", `${folder}/referee`, `${folder}/referee.c`]);
    await Deno.writeFile(`${folder}/questions`, encoded(questions));
    await command(EMULATOR, [`${folder}/referee`, `${folder}/questions`, `${folder}/answers`]);
    const answers = new BigUint64Array((await Deno.readFile(`${folder}/answers`)).buffer);
    return questions.map(({ op }, i) => ({
      value: resultOf(op) === "s" ? unboxed(answers[2 * i]) : answers[2 * i],
      flags: Number(answers[2 * i + 1]),
    }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function unboxed(pattern: bigint): bigint {
  if (pattern >> 32n !== 0xffff_ffffn) throw new Error(`Not boxed: ${pattern.toString(16)}`);
  return pattern & 0xffff_ffffn;
}

function encoded(questions: readonly Question[]): Uint8Array {
  const words = questions.flatMap(({ op, rm, operands }) => {
    const boxed = operandsOf(op).kind === "s" ? operands.map((x) => BOX | x) : operands;
    return [BigInt(FP_OPS.indexOf(op)), BigInt(rm), ...boxed];
  });
  return new Uint8Array(new BigUint64Array(words).buffer);
}

async function command(name: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args, stdout: "null", stderr: "piped" }).output();
  if (!success) throw new Error(`${name}: ${new TextDecoder().decode(stderr)}`);
}

function program(): string {
  const cases = FP_OPS.map((op, number) => `case ${number}: RUN("${assembly(op)}"); break;`);
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

function assembly(op: FpOp): string {
  const { kind, count } = operandsOf(op);
  const [name] = op.split(".");
  const conversion = /^(w|l|s|d)u?$/.test(name);
  const mnemonic = conversion ? `fcvt.${op}` : name === "fma" ? `f${op.replace("fma", "madd")}` : `f${op}`;
  const target = resultOf(op) === "integer" ? "%[value]" : "ft3";
  const sources = kind === "s" || kind === "d" ? ["ft0", "ft1", "ft2"].slice(0, count) : ["%[a]"];
  const read = target === "ft3" ? "\\n fmv.x.d %[value], ft3" : "";
  return `${mnemonic} ${[target, ...sources].join(", ")}${read}`;
}
