// The exact arithmetic against two referees: the host's floats, and inequalities between rationals.

import { assertEquals, fail } from "@std/assert";
import { compute, FLAG, type FpOp, RM } from "../../../plugins/riscv/softfloat.ts";
import { Operands } from "./fp_operands.ts";

const CANONICAL = { s: 0x7fc0_0000n, d: 0x7ff8_0000_0000_0000n } as const;
type FormatName = "s" | "d";

const scratch = new DataView(new ArrayBuffer(8));

function toNumber(format: FormatName, pattern: bigint): number {
  scratch.setBigUint64(0, pattern);
  return format === "s" ? scratch.getFloat32(4) : scratch.getFloat64(0);
}

function toPattern(format: FormatName, x: number): bigint {
  if (Number.isNaN(x)) return CANONICAL[format];
  scratch.setBigUint64(0, 0n);
  if (format === "s") scratch.setFloat32(4, x);
  else scratch.setFloat64(0, x);
  return scratch.getBigUint64(0);
}

function inWords(op: FpOp, rm: number, operands: readonly bigint[]): string {
  return `${op} rm=${rm} of ${operands.map((x) => x.toString(16)).join(", ")}`;
}

const HOST: Record<string, (x: number, y: number) => number> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  sqrt: (x) => Math.sqrt(x),
  min: (x, y) => Number.isNaN(x) ? y : Number.isNaN(y) ? x : Math.min(x, y),
  max: (x, y) => Number.isNaN(x) ? y : Number.isNaN(y) ? x : Math.max(x, y),
  eq: (x, y) => Number(x === y),
  lt: (x, y) => Number(x < y),
  le: (x, y) => Number(x <= y),
};

Deno.test("arithmetic to nearest agrees with the host's", () => {
  const operands = new Operands(1);
  for (const format of ["s", "d"] as const) {
    for (const [name, host] of Object.entries(HOST)) {
      const op = `${name}.${format}` as FpOp;
      const isComparison = name === "eq" || name === "lt" || name === "le";
      for (let i = 0; i < 4000; i++) {
        const [a, b, c] = operands.triple(op);
        // Rounding a double's result again to single is exact rounding for these operations: 53 ≥ 2 × 24 + 2.
        const expected = host(toNumber(format, a), toNumber(format, b));
        const value = compute(op, RM.RNE, a, b, c).value;
        assertEquals(value, isComparison ? BigInt(expected) : toPattern(format, expected), inWords(op, RM.RNE, [a, b]));
      }
    }
  }
});

Deno.test("conversions to nearest agree with the host's", () => {
  const operands = new Operands(2);
  for (let i = 0; i < 4000; i++) {
    const d = operands.operand("d"), s = operands.operand("s"), n = operands.operand("l");
    assertEquals(compute("s.d", RM.RNE, d, 0n, 0n).value, toPattern("s", toNumber("d", d)), inWords("s.d", 0, [d]));
    assertEquals(compute("d.s", RM.RNE, s, 0n, 0n).value, toPattern("d", toNumber("s", s)), inWords("d.s", 0, [s]));
    assertEquals(compute("d.lu", RM.RNE, n, 0n, 0n).value, toPattern("d", Number(n)), inWords("d.lu", 0, [n]));
    assertEquals(compute("d.l", RM.RNE, n, 0n, 0n).value, toPattern("d", Number(BigInt.asIntN(64, n))));
    const x = Math.trunc(toNumber("d", d));
    if (Math.abs(x) < 2 ** 62) {
      assertEquals(BigInt.asIntN(64, compute("l.d", RM.RTZ, d, 0n, 0n).value), BigInt(x), inWords("l.d", 1, [d]));
    }
  }
});

/** Powers of two that bound a format: of its least subnormal, its least normal number, and the first beyond it. */
const BOUNDS = {
  s: { precision: 24, subnormal: -149, normal: -126, beyond: 128 },
  d: { precision: 53, subnormal: -1074, normal: -1022, beyond: 1024 },
} as const;

// A real number is held against dyadic rationals counted in units of 2^-UNIT, so fine that half a unit in the last
// place of any result, and a quarter, are integers.
const UNIT = 1080;
const power = (exponent: number): bigint => 1n << BigInt(exponent + UNIT);

function inUnits(format: FormatName, pattern: bigint): bigint {
  let x = toNumber(format, pattern), scale = 0;
  for (; !Number.isInteger(x); x *= 2) scale++;
  return BigInt(x) << BigInt(UNIT - scale);
}

const sign = (n: bigint): number => (n > 0n ? 1 : n < 0n ? -1 : 0);

/** The sign of (exact result − t units), for finite operands. */
function against(op: FpOp, a: bigint, b: bigint, c: bigint): (t: bigint) => number {
  const one = 1n << BigInt(UNIT);
  switch (op.split(".")[0]) {
    case "add":
      return (t) => sign(a + b - t);
    case "sub":
      return (t) => sign(a - b - t);
    case "mul":
      return (t) => sign(a * b - t * one);
    case "fma":
      return (t) => sign(a * b + (c - t) * one);
    case "div":
      return (t) => sign(a * one - t * b) * sign(b);
    case "sqrt":
      return (t) => t < 0n ? 1 : sign(a * one - t * t);
    default: // a conversion
      return (t) => sign(a - t);
  }
}

/** Which of the flags an exact result raises that is nonzero, and its rounding, by inequalities alone. */
function checkRounding(
  format: FormatName,
  rm: number,
  compare: (t: bigint) => number,
  got: bigint,
  flags: number,
): void {
  const { precision, subnormal, normal, beyond } = BOUNDS[format];
  const negative = compare(0n) < 0;
  const nearest = rm === RM.RNE || rm === RM.RMM;
  const outwards = rm === (negative ? RM.RDN : RM.RUP);
  const exceeds = (t: bigint): number => negative ? -compare(-t) : compare(t); // of magnitudes
  const quantumAtTop = power(beyond - precision);
  const largest = power(beyond) - quantumAtTop;

  const overflows = nearest
    ? exceeds(largest + quantumAtTop / 2n) >= 0
    : outwards
    ? exceeds(largest) > 0
    : exceeds(power(beyond)) >= 0;
  assertEquals((flags & FLAG.OF) !== 0, overflows, "overflow");
  if (overflows) {
    const wanted = nearest || outwards
      ? Infinity
      : toNumber(format, toPattern(format, 2 ** (beyond - 1))) * (2 - 2 ** (1 - precision));
    assertEquals(toNumber(format, got), negative ? -wanted : wanted);
    return assertEquals(flags, FLAG.OF | FLAG.NX);
  }

  const result = inUnits(format, got) * (negative ? -1n : 1n);
  if (result < 0n) fail("wrong sign");
  const inexact = exceeds(result) !== 0;
  const quantum = result < power(normal) ? power(subnormal) : 1n << BigInt(result.toString(2).length - precision);
  // The spacing below a power of two is half of that above it.
  const below = result > power(normal) && (result & (result - 1n)) === 0n ? quantum / 2n : quantum;
  const lower = result - (nearest ? below / 2n : below), upper = result + (nearest ? quantum / 2n : quantum);
  if (inexact && nearest) {
    const even = (result / quantum) % 2n === 0n;
    const low = exceeds(lower), high = exceeds(upper);
    const ties = rm === RM.RMM ? { low: true, high: false } : { low: even, high: even };
    if (low < 0 || (low === 0 && !ties.low) || high > 0 || (high === 0 && !ties.high)) fail("not the nearest");
  } else if (inexact && outwards) {
    if (exceeds(result) > 0 || exceeds(lower) <= 0) fail("not the next one outwards");
  } else if (inexact) {
    if (exceeds(result) < 0 || exceeds(upper) >= 0) fail("not the next one inwards");
  }
  const step = power(normal - precision); // of the binade below the least normal number, were exponents unbounded
  const tiny = nearest
    ? exceeds(power(normal) - step / 2n) < 0
    : outwards
    ? exceeds(power(normal) - step) <= 0
    : exceeds(power(normal)) < 0;
  assertEquals(flags, inexact ? (tiny ? FLAG.NX | FLAG.UF : FLAG.NX) : 0, "flags");
}

Deno.test("every rounding mode gives the right neighbour of the exact result, and exact flags", () => {
  const operands = new Operands(3);
  const exponentMask = { s: 0x7f80_0000n, d: 0x7ff0_0000_0000_0000n };
  const isFinite = (format: FormatName, x: bigint) => (x & exponentMask[format]) !== exponentMask[format];
  for (
    const op of ["add", "sub", "mul", "div", "sqrt", "fma"].flatMap((name) => [`${name}.s`, `${name}.d`]) as FpOp[]
  ) {
    const format = op.slice(-1) as FormatName;
    for (let i = 0; i < 600; i++) {
      const patterns = operands.triple(op);
      if (!patterns.every((x) => isFinite(format, x))) continue;
      const [a, b, c] = patterns.map((x) => inUnits(format, x));
      if ((op.startsWith("div") && b === 0n) || (op.startsWith("sqrt") && a < 0n)) continue;
      const compare = against(op, a, b, c);
      if (compare(0n) === 0) continue;
      for (const rm of Object.values(RM)) {
        const { value, flags } = compute(op, rm, ...patterns);
        try {
          checkRounding(format, rm, compare, value, flags);
        } catch (error) {
          throw new Error(`${inWords(op, rm, patterns)} = ${value.toString(16)}, flags ${flags}`, { cause: error });
        }
      }
    }
  }
});

Deno.test("narrowing gives the right neighbour of the exact value, and exact flags", () => {
  const operands = new Operands(4);
  for (let i = 0; i < 3000; i++) {
    const pattern = operands.operand("d");
    const x = toNumber("d", pattern);
    if (!Number.isFinite(x) || x === 0) continue;
    const compare = against("s.d", inUnits("d", pattern), 0n, 0n);
    for (const rm of Object.values(RM)) {
      const { value, flags } = compute("s.d", rm, pattern, 0n, 0n);
      checkRounding("s", rm, compare, value, flags);
    }
  }
});

Deno.test("special operands give what the specification's tables say", () => {
  const d = (x: number): bigint => toPattern("d", x);
  const quiet = CANONICAL.d | 5n, signaling = 0x7ff0_0000_0000_0001n, negativeNaN = 0xfff8_0000_0000_0000n;
  const cases: [FpOp, number, bigint[], bigint, number][] = [
    ["add.d", RM.RNE, [d(1), d(-1)], d(0), 0],
    ["add.d", RM.RDN, [d(1), d(-1)], d(-0), 0],
    ["add.d", RM.RDN, [d(0), d(0)], d(0), 0],
    ["sub.d", RM.RNE, [d(Infinity), d(Infinity)], CANONICAL.d, FLAG.NV],
    ["mul.d", RM.RNE, [d(Infinity), d(-0)], CANONICAL.d, FLAG.NV],
    ["fma.d", RM.RNE, [d(Infinity), d(0), quiet], CANONICAL.d, FLAG.NV],
    ["fma.d", RM.RNE, [d(Infinity), d(1), d(-Infinity)], CANONICAL.d, FLAG.NV],
    ["add.d", RM.RNE, [negativeNaN, d(1)], CANONICAL.d, 0],
    ["add.d", RM.RNE, [signaling, d(1)], CANONICAL.d, FLAG.NV],
    ["div.d", RM.RNE, [d(-1), d(0)], d(-Infinity), FLAG.DZ],
    ["div.d", RM.RNE, [d(0), d(0)], CANONICAL.d, FLAG.NV],
    ["sqrt.d", RM.RNE, [d(-0)], d(-0), 0],
    ["sqrt.d", RM.RNE, [d(-1)], CANONICAL.d, FLAG.NV],
    ["min.d", RM.RNE, [d(0), d(-0)], d(-0), 0],
    ["max.d", RM.RNE, [d(-0), d(0)], d(0), 0],
    ["min.d", RM.RNE, [signaling, d(3)], d(3), FLAG.NV],
    ["max.d", RM.RNE, [quiet, negativeNaN], CANONICAL.d, 0],
    ["eq.d", RM.RNE, [quiet, d(1)], 0n, 0],
    ["eq.d", RM.RNE, [signaling, d(1)], 0n, FLAG.NV],
    ["le.d", RM.RNE, [quiet, d(1)], 0n, FLAG.NV],
    ["w.d", RM.RTZ, [quiet], 0x7fff_ffffn, FLAG.NV],
    ["wu.d", RM.RTZ, [quiet], 0xffff_ffff_ffff_ffffn, FLAG.NV],
    ["wu.d", RM.RTZ, [d(-0.9)], 0n, FLAG.NX],
    ["wu.d", RM.RDN, [d(-0.9)], 0n, FLAG.NV],
    ["wu.d", RM.RTZ, [d(2 ** 31)], 0xffff_ffff_8000_0000n, 0],
    ["lu.d", RM.RNE, [d(-Infinity)], 0n, FLAG.NV],
    ["l.d", RM.RMM, [d(2.5)], 3n, FLAG.NX],
    ["w.d", RM.RNE, [d(2.5)], 2n, FLAG.NX],
    ["s.d", RM.RNE, [quiet], CANONICAL.s, 0],
    ["d.s", RM.RNE, [0xff80_0001n], CANONICAL.d, FLAG.NV],
    ["s.w", RM.RNE, [0xffff_ffffn], toPattern("s", -1), 0],
    ["d.wu", RM.RNE, [-1n], d(2 ** 32 - 1), 0],
  ];
  for (const [op, rm, [a, b = 0n, c = 0n], value, flags] of cases) {
    assertEquals(compute(op, rm, a, b, c), { value, flags }, inWords(op, rm, [a, b, c]));
  }
  const classes = [-Infinity, -1, -5e-324, -0, 0, 5e-324, 1, Infinity].map(d).concat(signaling, quiet);
  classes.forEach((x, bit) => assertEquals(compute("class.d", RM.RNE, x, 0n, 0n).value, 1n << BigInt(bit)));
});
