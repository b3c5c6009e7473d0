// The rows of F and D against QEMU: every instruction on registers, every rounding mode, results and flags.

import { assertEquals } from "@std/assert";
import { parseBits } from "../../../plugins/riscv/encoding.ts";
import { D } from "../../../plugins/riscv/rows/d.ts";
import { F } from "../../../plugins/riscv/rows/f.ts";
import type { Row } from "../../../plugins/riscv/rows/row.ts";
import { compute, type FpOp, RM } from "../../../plugins/riscv/softfloat.ts";
import type { Vocabulary } from "../../../plugins/riscv/vocabulary.ts";
import { Operands } from "./fp_operands.ts";
import { type Answer, askReferee, missingReferee, type Question } from "./fp_referee.ts";

const BOX = 0xffff_ffffn << 32n;
const ROWS = [...F, ...D].filter(({ name }) => !/^f[ls][wd]$/.test(name));

/** The words of the vocabulary that these rows use. */
function vocabulary(
  rm: number,
  [a, b, c]: readonly bigint[],
): Partial<Vocabulary<bigint, boolean>> & Answer & { op?: FpOp } {
  return {
    value: 0n,
    flags: 0,
    op: undefined,
    rs1: a,
    fs1: a,
    fs2: b,
    fs3: c,
    constant: BigInt,
    and: (x, y) => x & y,
    or: (x, y) => x | y,
    xor: (x, y) => x ^ y,
    not: (x) => BigInt.asUintN(64, ~x),
    sext32: (x) => BigInt.asUintN(64, BigInt.asIntN(32, x)),
    box: (x) => x | BOX,
    unbox: (x) => x >= BOX ? x - BOX : 0x7fc0_0000n,
    setRd(value) {
      Object.assign(this, { value });
    },
    setFd(value) {
      Object.assign(this, { value });
    },
    fp(op, x, y = 0n, z = 0n) {
      const { value, flags } = compute(op, rm, x, y, z);
      Object.assign(this, { op, flags });
      return value;
    },
  };
}

function run(row: Row, rm: number, operands: readonly bigint[]): Answer & { op?: FpOp } {
  const o = vocabulary(rm, operands);
  row.run(o as Vocabulary<bigint, boolean>);
  return o;
}

/** Register contents that suit a row: singles boxed, but for some. */
function registers(row: Row, from: Operands): [bigint, bigint, bigint] {
  const isSingle = row.name.endsWith(".s") || row.name === "fmv.x.w";
  const op = run(row, RM.RNE, [0n, 0n, 0n]).op ?? (isSingle ? "min.s" : "min.d");
  const operands = from.triple(op);
  if (!op.endsWith(".s")) return operands;
  return operands.map((x) => from.below(8) === 0 ? x | from.bits(32) << 32n : x | BOX) as [bigint, bigint, bigint];
}

const missing = missingReferee();
if (missing !== undefined) console.log(`Floating point is not compared with QEMU: ${missing} is not installed.`);

Deno.test({
  name: "every F and D instruction on registers gives QEMU's result and flags in every rounding mode",
  ignore: missing !== undefined,
  async fn() {
    const operands = new Operands(5);
    const questions: Question[] = ROWS.flatMap((row) => {
      const modes = parseBits(row.bits).fields.has("rm") ? Object.values(RM) : [RM.RNE];
      return modes.flatMap((rm) =>
        Array.from({ length: 300 }, () => ({ row, rm, operands: registers(row, operands) }))
      );
    });
    const answers = await askReferee(ROWS, questions);
    questions.forEach(({ row, rm, operands }, i) => {
      const { value, flags } = run(row, rm, operands);
      const words = operands.map((x) => x.toString(16)).join(", ");
      assertEquals({ value: BigInt.asUintN(64, value), flags }, answers[i], `${row.name} rm=${rm} of ${words}`);
    });
  },
});
