// Exact IEEE 754 binary32 and binary64 arithmetic on bit patterns: RISC-V unprivileged ISA, chapters "F" and "D".

/** Rounding modes, by their encoding in frm and in an instruction's rm field. */
export const RM = { RNE: 0, RTZ: 1, RDN: 2, RUP: 3, RMM: 4 } as const;

/** Exception flags, by their bit in fflags. */
export const FLAG = { NX: 1, UF: 2, OF: 4, DZ: 8, NV: 16 } as const;

type FormatName = "s" | "d";
type Arithmetic = "add" | "sub" | "mul" | "div" | "sqrt" | "fma" | "min" | "max" | "eq" | "lt" | "le" | "class";
type IntegerName = "w" | "wu" | "l" | "lu";

/**
 * A floating-point operation, named as its instruction without `f` or `fcvt.`: `add.s`, `w.d` (double to 32-bit
 * integer), `d.s` (single to double). `fma` is a × b + c; the four fused instructions follow by changing signs.
 */
export type FpOp =
  | `${Arithmetic}.${FormatName}`
  | `${IntegerName}.${FormatName}`
  | `${FormatName}.${IntegerName}`
  | "s.d"
  | "d.s";

/** A result's bit pattern, as an unsigned 64-bit integer, and the exception flags it raised. */
export interface Result {
  readonly value: bigint;
  readonly flags: number;
}

/**
 * Computes `op` on bit patterns under the rounding mode `rm` (0 to 4).
 *
 * Operands count modulo their width, so that signed and unsigned 64-bit integers serve alike. A binary32 result is
 * zero-extended (boxing is the caller's); an integer result is sign-extended from its width.
 */
export function compute(op: FpOp, rm: number, a: bigint, b: bigint, c: bigint): Result {
  return OPERATIONS[op](rm, a, b, c);
}

interface Format {
  readonly width: number;
  /** Bits of a significand, the hidden one included. */
  readonly precision: number;
  /** The power of two that the last bit of a subnormal weighs. */
  readonly minExponent: number;
  readonly signBit: bigint;
  readonly hiddenBit: bigint;
  readonly infinity: bigint;
  readonly canonicalNaN: bigint;
}

function format(exponentBits: number, fractionBits: number): Format {
  const hiddenBit = 1n << BigInt(fractionBits);
  const infinity = ((1n << BigInt(exponentBits)) - 1n) * hiddenBit;
  return {
    width: 1 + exponentBits + fractionBits,
    precision: fractionBits + 1,
    minExponent: 2 - 2 ** (exponentBits - 1) - fractionBits,
    signBit: hiddenBit << BigInt(exponentBits),
    hiddenBit,
    infinity,
    canonicalNaN: infinity | (hiddenBit >> 1n),
  };
}

const SINGLE = format(8, 23);
const DOUBLE = format(11, 52);

/** A number as ±significand × 2^exponent; of an infinity or a NaN the significand means nothing but "not zero". */
interface Unpacked {
  readonly negative: boolean;
  readonly significand: bigint;
  readonly exponent: number;
  readonly infinite: boolean;
  readonly nan: boolean;
  readonly signaling: boolean;
}

function unpack(f: Format, pattern: bigint): Unpacked {
  const bits = BigInt.asUintN(f.width, pattern);
  const magnitude = bits & (f.signBit - 1n);
  const fraction = magnitude & (f.hiddenBit - 1n);
  const subnormal = magnitude < f.hiddenBit;
  const nan = magnitude > f.infinity;
  return {
    negative: bits !== magnitude,
    significand: subnormal ? fraction : fraction | f.hiddenBit,
    exponent: f.minExponent + (subnormal ? 0 : Number(magnitude >> BigInt(f.precision - 1)) - 1),
    infinite: magnitude === f.infinity,
    nan,
    signaling: nan && (magnitude & (f.hiddenBit >> 1n)) === 0n,
  };
}

function bitLength(n: bigint): number {
  let length = 0;
  for (; n > 0xffff_ffffn; n >>= 32n) length += 32;
  return length + 32 - Math.clz32(Number(n));
}

/** ±n × 2^-shift, rounded to an integer; the magnitude of the result. */
function roundedShift(rm: number, negative: boolean, n: bigint, shift: number): bigint {
  if (shift <= 0) return n << BigInt(-shift);
  const down = n >> BigInt(shift);
  const rest = n - (down << BigInt(shift));
  if (rest === 0n) return down;
  const half = 1n << BigInt(shift - 1);
  const away = rm === RM.RNE
    ? rest > half || (rest === half && (down & 1n) === 1n)
    : rm === RM.RMM
    ? rest >= half
    : rm === (negative ? RM.RDN : RM.RUP);
  return away ? down + 1n : down;
}

/** ±n × 2^exponent, rounded to the format. */
function round(f: Format, rm: number, negative: boolean, n: bigint, exponent: number): Result {
  if (n === 0n) return zero(f, negative);
  const unbounded = exponent + bitLength(n) - f.precision; // the weight of the last bit, were exponents unbounded
  const last = Math.max(unbounded, f.minExponent);
  const significand = roundedShift(rm, negative, n, last - exponent);
  // The hidden bit, and a carry out of rounding, step the exponent field: no case for either.
  const magnitude = (BigInt(last - f.minExponent) << BigInt(f.precision - 1)) + significand;
  if (magnitude >= f.infinity) return overflow(f, rm, negative);
  const inexact = last > exponent && significand << BigInt(last - exponent) !== n;
  const value = signed(f, negative, magnitude);
  if (!inexact) return { value, flags: 0 };
  // Tininess is judged after rounding as if exponents were unbounded: only the binade below the least can escape it.
  const tiny = unbounded < f.minExponent &&
    (unbounded < f.minExponent - 1 || roundedShift(rm, negative, n, unbounded - exponent) < 2n * f.hiddenBit);
  return { value, flags: tiny ? FLAG.NX | FLAG.UF : FLAG.NX };
}

function overflow(f: Format, rm: number, negative: boolean): Result {
  const outwards = rm === RM.RNE || rm === RM.RMM || rm === (negative ? RM.RDN : RM.RUP);
  return { value: signed(f, negative, outwards ? f.infinity : f.infinity - 1n), flags: FLAG.OF | FLAG.NX };
}

function signed(f: Format, negative: boolean, magnitude: bigint): bigint {
  return negative ? f.signBit | magnitude : magnitude;
}

function zero(f: Format, negative: boolean): Result {
  return { value: signed(f, negative, 0n), flags: 0 };
}

function infinity(f: Format, negative: boolean, flags = 0): Result {
  return { value: signed(f, negative, f.infinity), flags };
}

function invalid(f: Format): Result {
  return { value: f.canonicalNaN, flags: FLAG.NV };
}

/** What an operation gives when an operand is a NaN. */
function propagated(f: Format, ...operands: Unpacked[]): Result {
  return { value: f.canonicalNaN, flags: operands.some((x) => x.signaling) ? FLAG.NV : 0 };
}

function sum(f: Format, rm: number, x: Unpacked, y: Unpacked): Result {
  if (x.nan || y.nan) return propagated(f, x, y);
  if (x.infinite && y.infinite && x.negative !== y.negative) return invalid(f);
  if (x.infinite || y.infinite) return infinity(f, x.infinite ? x.negative : y.negative);
  const exponent = Math.min(x.exponent, y.exponent);
  const total = aligned(x, exponent) + aligned(y, exponent);
  // An exact zero is +0, but -0 when rounding down, unless both terms agree on the sign.
  if (total === 0n) return zero(f, x.negative === y.negative ? x.negative : rm === RM.RDN);
  return round(f, rm, total < 0n, total < 0n ? -total : total, exponent);
}

function aligned(x: Unpacked, exponent: number): bigint {
  const magnitude = x.significand << BigInt(x.exponent - exponent);
  return x.negative ? -magnitude : magnitude;
}

function negated(x: Unpacked): Unpacked {
  return { ...x, negative: !x.negative };
}

/** The exact product, or undefined for infinity × 0. Neither factor is a NaN. */
function exactProduct(x: Unpacked, y: Unpacked): Unpacked | undefined {
  const infinite = x.infinite || y.infinite;
  if (infinite && (x.significand === 0n || y.significand === 0n)) return undefined;
  return {
    negative: x.negative !== y.negative,
    significand: x.significand * y.significand,
    exponent: x.exponent + y.exponent,
    infinite,
    nan: false,
    signaling: false,
  };
}

function product(f: Format, rm: number, x: Unpacked, y: Unpacked): Result {
  if (x.nan || y.nan) return propagated(f, x, y);
  const exact = exactProduct(x, y);
  if (exact === undefined) return invalid(f);
  if (exact.infinite) return infinity(f, exact.negative);
  return round(f, rm, exact.negative, exact.significand, exact.exponent);
}

function fused(f: Format, rm: number, x: Unpacked, y: Unpacked, z: Unpacked): Result {
  if (x.nan || y.nan) return propagated(f, x, y, z);
  const exact = exactProduct(x, y);
  // infinity × 0 is invalid even where a quiet NaN is added to it.
  return exact === undefined ? invalid(f) : sum(f, rm, exact, z);
}

function quotient(f: Format, rm: number, x: Unpacked, y: Unpacked): Result {
  if (x.nan || y.nan) return propagated(f, x, y);
  const negative = x.negative !== y.negative;
  const byZero = y.significand === 0n;
  if (x.infinite ? y.infinite : byZero && x.significand === 0n) return invalid(f);
  if (x.infinite) return infinity(f, negative);
  if (byZero) return infinity(f, negative, FLAG.DZ);
  if (y.infinite) return zero(f, negative);
  const extra = 2 * f.precision + 2; // even a subnormal by the widest divisor gives two bits more than the precision
  const dividend = x.significand << BigInt(extra);
  const digits = dividend / y.significand;
  return round(
    f,
    rm,
    negative,
    sticky(digits, digits * y.significand !== dividend),
    x.exponent - y.exponent - extra - 1,
  );
}

function squareRoot(f: Format, rm: number, x: Unpacked): Result {
  if (x.nan) return propagated(f, x);
  if (x.significand === 0n) return zero(f, x.negative);
  if (x.negative) return invalid(f);
  if (x.infinite) return infinity(f, false);
  const wanted = 2 * f.precision + 4 - bitLength(x.significand);
  const extra = wanted + ((x.exponent - wanted) & 1); // the exponent under the root must be even
  const radicand = x.significand << BigInt(extra);
  const root = integerRoot(radicand);
  return round(f, rm, false, sticky(root, root * root !== radicand), (x.exponent - extra) / 2 - 1);
}

/** floor(√n), for n below 2^120. */
function integerRoot(n: bigint): bigint {
  let root = BigInt(Math.floor(Math.sqrt(Number(n))));
  root = (root + n / root) >> 1n; // one step of Newton leaves an error of at most one
  while (root * root > n) root -= 1n;
  while ((root + 1n) * (root + 1n) <= n) root += 1n;
  return root;
}

/** `digits` with one bit appended that says whether anything non-zero follows: enough to round correctly. */
function sticky(digits: bigint, inexact: boolean): bigint {
  return (digits << 1n) | (inexact ? 1n : 0n);
}

/** An integer that orders patterns of numbers (not NaNs) as their values; both zeros are 0. */
function order(f: Format, pattern: bigint): bigint {
  const bits = BigInt.asUintN(f.width, pattern);
  return bits < f.signBit ? bits : f.signBit - bits;
}

/** minimumNumber and maximumNumber of IEEE 754-2019; -0 is below +0. */
function extremum(f: Format, wantsLess: boolean, a: bigint, b: bigint): Result {
  const x = unpack(f, a), y = unpack(f, b);
  const flags = x.signaling || y.signaling ? FLAG.NV : 0;
  if (x.nan && y.nan) return { value: f.canonicalNaN, flags };
  const left = order(f, a), right = order(f, b);
  const value = x.nan ? b : y.nan ? a : left !== right ? (left < right) === wantsLess ? a : b : wantsLess // equal: the same pattern twice, or zeros that differ in the sign alone
    ? a | b
    : a & b;
  return { value: BigInt.asUintN(f.width, value), flags };
}

/** A comparison: 0 or 1, and 0 where an operand is a NaN. `quiet` forgives quiet NaNs. */
function comparison(
  f: Format,
  quiet: boolean,
  holds: (left: bigint, right: bigint) => boolean,
  a: bigint,
  b: bigint,
): Result {
  const x = unpack(f, a), y = unpack(f, b);
  if (x.nan || y.nan) return { value: 0n, flags: !quiet || x.signaling || y.signaling ? FLAG.NV : 0 };
  return { value: holds(order(f, a), order(f, b)) ? 1n : 0n, flags: 0 };
}

function classMask(f: Format, x: Unpacked): Result {
  const outwards = x.infinite ? 3 : x.significand === 0n ? 0 : x.significand < f.hiddenBit ? 1 : 2;
  const bit = x.nan ? (x.signaling ? 8 : 9) : x.negative ? 3 - outwards : 4 + outwards;
  return { value: 1n << BigInt(bit), flags: 0 };
}

interface IntegerType {
  readonly width: number;
  readonly min: bigint;
  readonly max: bigint;
}

const INTEGERS: Readonly<Record<IntegerName, IntegerType>> = {
  w: { width: 32, min: -(1n << 31n), max: (1n << 31n) - 1n },
  wu: { width: 32, min: 0n, max: (1n << 32n) - 1n },
  l: { width: 64, min: -(1n << 63n), max: (1n << 63n) - 1n },
  lu: { width: 64, min: 0n, max: (1n << 64n) - 1n },
};

function toInteger(to: IntegerType, rm: number, x: Unpacked): Result {
  const extended = (n: bigint, flags: number): Result => ({
    value: BigInt.asUintN(64, BigInt.asIntN(to.width, n)),
    flags,
  });
  if (x.nan || x.infinite) return extended(x.negative && !x.nan ? to.min : to.max, FLAG.NV);
  const magnitude = roundedShift(rm, x.negative, x.significand, -x.exponent);
  const n = x.negative ? -magnitude : magnitude;
  if (n < to.min) return extended(to.min, FLAG.NV);
  if (n > to.max) return extended(to.max, FLAG.NV);
  const inexact = x.exponent < 0 && magnitude << BigInt(-x.exponent) !== x.significand;
  return extended(n, inexact ? FLAG.NX : 0);
}

function fromInteger(from: IntegerType, f: Format, rm: number, a: bigint): Result {
  const n = from.min < 0n ? BigInt.asIntN(from.width, a) : BigInt.asUintN(from.width, a);
  return round(f, rm, n < 0n, n < 0n ? -n : n, 0);
}

function toFormat(f: Format, rm: number, x: Unpacked): Result {
  if (x.nan) return propagated(f, x);
  if (x.infinite) return infinity(f, x.negative);
  return round(f, rm, x.negative, x.significand, x.exponent);
}

type Operation = (rm: number, a: bigint, b: bigint, c: bigint) => Result;

function operationsOn(name: FormatName, f: Format): [FpOp, Operation][] {
  const of = (pattern: bigint) => unpack(f, pattern);
  return [
    [`add.${name}`, (rm, a, b) => sum(f, rm, of(a), of(b))],
    [`sub.${name}`, (rm, a, b) => sum(f, rm, of(a), negated(of(b)))],
    [`mul.${name}`, (rm, a, b) => product(f, rm, of(a), of(b))],
    [`div.${name}`, (rm, a, b) => quotient(f, rm, of(a), of(b))],
    [`sqrt.${name}`, (rm, a) => squareRoot(f, rm, of(a))],
    [`fma.${name}`, (rm, a, b, c) => fused(f, rm, of(a), of(b), of(c))],
    [`min.${name}`, (_rm, a, b) => extremum(f, true, a, b)],
    [`max.${name}`, (_rm, a, b) => extremum(f, false, a, b)],
    [`eq.${name}`, (_rm, a, b) => comparison(f, true, (left, right) => left === right, a, b)],
    [`lt.${name}`, (_rm, a, b) => comparison(f, false, (left, right) => left < right, a, b)],
    [`le.${name}`, (_rm, a, b) => comparison(f, false, (left, right) => left <= right, a, b)],
    [`class.${name}`, (_rm, a) => classMask(f, of(a))],
    ...(Object.keys(INTEGERS) as IntegerName[]).flatMap((integer): [FpOp, Operation][] => [
      [`${integer}.${name}`, (rm, a) => toInteger(INTEGERS[integer], rm, of(a))],
      [`${name}.${integer}`, (rm, a) => fromInteger(INTEGERS[integer], f, rm, a)],
    ]),
  ];
}

const OPERATIONS = Object.fromEntries(
  [
    ...operationsOn("s", SINGLE),
    ...operationsOn("d", DOUBLE),
    ["s.d", (rm, a) => toFormat(SINGLE, rm, unpack(DOUBLE, a))],
    ["d.s", (rm, a) => toFormat(DOUBLE, rm, unpack(SINGLE, a))],
  ] satisfies [FpOp, Operation][],
) as Readonly<Record<FpOp, Operation>>;

/** Every operation; an operation's place in this list is its number. */
export const FP_OPS: readonly FpOp[] = Object.keys(OPERATIONS) as FpOp[];
