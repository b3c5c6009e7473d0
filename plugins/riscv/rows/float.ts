// The instructions that F and D have in common (unprivileged specification 20240411, chapters 21 and 22).

import type { Vocabulary } from "../vocabulary.ts";
import type { Row } from "./row.ts";

/** A floating-point format: its letter in names, its fmt field, and its place of the sign. */
interface Format {
  readonly letter: "s" | "d";
  readonly fmt: string;
  readonly sign: bigint;
}

export const SINGLE: Format = { letter: "s", fmt: "00", sign: 1n << 31n };
export const DOUBLE: Format = { letter: "d", fmt: "01", sign: 1n << 63n };

const INTEGERS = { w: "00000", wu: "00001", l: "00010", lu: "00011" } as const;

/** Arithmetic, comparison and conversion to and from integers in one format. */
export function floatRows({ letter, fmt, sign }: Format): Row[] {
  const row = (name: string, bits: string, run: Row["run"]): Row => ({
    name: `${name}.${letter}`,
    bits,
    float: true,
    run,
  });

  // Singles live boxed in 64-bit registers: every operand is unboxed, every result boxed.
  const in1 = <X, C>(o: Vocabulary<X, C>): X => letter === "s" ? o.unbox(o.fs1) : o.fs1;
  const in2 = <X, C>(o: Vocabulary<X, C>): X => letter === "s" ? o.unbox(o.fs2) : o.fs2;
  const in3 = <X, C>(o: Vocabulary<X, C>): X => letter === "s" ? o.unbox(o.fs3) : o.fs3;
  const out = <X, C>(o: Vocabulary<X, C>, value: X): void => o.setFd(letter === "s" ? o.box(value) : value);

  const signOf = <X, C>(o: Vocabulary<X, C>, value: X): X => o.and(value, o.constant(sign));
  /** `value` with the sign of `like`: nothing to do where both are the same. */
  const withSign = <X, C>(o: Vocabulary<X, C>, value: X, like: X): X => o.xor(value, signOf(o, o.xor(value, like)));
  const negated = <X, C>(o: Vocabulary<X, C>, value: X): X => o.xor(value, o.constant(sign));

  const binary = (name: "add" | "sub" | "mul" | "div", funct5: string): Row =>
    row(`f${name}`, `${funct5} ${fmt} fs2 fs1 rm fd 1010011`, (o) => out(o, o.fp(`${name}.${letter}`, in1(o), in2(o))));
  const extremum = (name: "min" | "max", funct3: string): Row =>
    row(
      `f${name}`,
      `00101 ${fmt} fs2 fs1 ${funct3} fd 1010011`,
      (o) => out(o, o.fp(`${name}.${letter}`, in1(o), in2(o))),
    );
  const comparison = (name: "le" | "lt" | "eq", funct3: string): Row =>
    row(
      `f${name}`,
      `10100 ${fmt} fs2 fs1 ${funct3} rd 1010011`,
      (o) => o.setRd(o.fp(`${name}.${letter}`, in1(o), in2(o))),
    );
  const injection = (name: string, funct3: string, run: Row["run"]): Row =>
    row(name, `00100 ${fmt} fs2 fs1 ${funct3} fd 1010011`, run);
  const fused = (name: string, opcode: string, run: Row["run"]): Row =>
    row(name, `fs3 ${fmt} fs2 fs1 rm fd ${opcode}`, run);

  return [
    binary("add", "00000"),
    binary("sub", "00001"),
    binary("mul", "00010"),
    binary("div", "00011"),
    row("fsqrt", `01011 ${fmt} 00000 fs1 rm fd 1010011`, (o) => out(o, o.fp(`sqrt.${letter}`, in1(o)))),

    fused("fmadd", "1000011", (o) => out(o, o.fp(`fma.${letter}`, in1(o), in2(o), in3(o)))),
    fused("fmsub", "1000111", (o) => out(o, o.fp(`fma.${letter}`, in1(o), in2(o), negated(o, in3(o))))),
    fused("fnmsub", "1001011", (o) => out(o, o.fp(`fma.${letter}`, negated(o, in1(o)), in2(o), in3(o)))),
    fused("fnmadd", "1001111", (o) => out(o, o.fp(`fma.${letter}`, negated(o, in1(o)), in2(o), negated(o, in3(o))))),

    injection("fsgnj", "000", (o) => out(o, withSign(o, in1(o), in2(o)))),
    injection("fsgnjn", "001", (o) => out(o, withSign(o, in1(o), o.not(in2(o))))),
    injection("fsgnjx", "010", (o) => out(o, o.xor(in1(o), signOf(o, in2(o))))),

    extremum("min", "000"),
    extremum("max", "001"),
    comparison("le", "000"),
    comparison("lt", "001"),
    comparison("eq", "010"),
    row("fclass", `11100 ${fmt} 00000 fs1 001 rd 1010011`, (o) => o.setRd(o.fp(`class.${letter}`, in1(o)))),

    ...(Object.keys(INTEGERS) as (keyof typeof INTEGERS)[]).flatMap((integer): Row[] => [
      row(
        `fcvt.${integer}`,
        `11000 ${fmt} ${INTEGERS[integer]} fs1 rm rd 1010011`,
        (o) => o.setRd(o.fp(`${integer}.${letter}`, in1(o))),
      ),
      {
        name: `fcvt.${letter}.${integer}`,
        bits: `11010 ${fmt} ${INTEGERS[integer]} rs1 rm fd 1010011`,
        float: true,
        run: (o) => out(o, o.fp(`${letter}.${integer}`, o.rs1)),
      },
    ]),
  ];
}
