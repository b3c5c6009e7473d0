// The pure part of the vocabulary over BigInt, each operation as its definition reads (unprivileged specification 20240411).

const WORD = 1n << 64n;

const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value);
const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
const sextFrom = (width: number, value: bigint): bigint => unsigned(BigInt.asIntN(width, value));

/** Quotients round towards zero, as BigInt's do; one by zero is all ones. */
const quotient = (a: bigint, b: bigint): bigint => b === 0n ? WORD - 1n : unsigned(a / b);
/** The remainder has the dividend's sign; one by zero is the dividend. */
const remainder = (a: bigint, b: bigint): bigint => unsigned(b === 0n ? a : a % b);

function carryLessProduct(a: bigint, b: bigint): bigint {
  let product = 0n;
  for (let i = 0n; i < 64n; i++) if (b >> i & 1n) product ^= a << i;
  return product;
}

/** The bits of a doubleword, the lowest first. */
const bitsOf = (value: bigint): string[] => [...value.toString(2).padStart(64, "0")].reverse();

function zeroesBefore(bits: string[]): bigint {
  const one = bits.indexOf("1");
  return BigInt(one < 0 ? 64 : one);
}

const BOX = 0xffff_ffff_0000_0000n;
const SINGLE_NAN = 0x7fc0_0000n;

/** Values of the vocabulary: integers from 0 to 2^64 - 1. */
export class BigIntValues {
  constant = (value: bigint | number): bigint => unsigned(BigInt(value));
  let = (value: bigint): bigint => value;

  add = (a: bigint, b: bigint): bigint => unsigned(a + b);
  sub = (a: bigint, b: bigint): bigint => unsigned(a - b);
  mul = (a: bigint, b: bigint): bigint => unsigned(a * b);
  mulh = (a: bigint, b: bigint): bigint => unsigned(signed(a) * signed(b) >> 64n);
  mulhu = (a: bigint, b: bigint): bigint => unsigned(a * b >> 64n);
  mulhsu = (a: bigint, b: bigint): bigint => unsigned(signed(a) * b >> 64n);
  div = (a: bigint, b: bigint): bigint => quotient(signed(a), signed(b));
  divu = (a: bigint, b: bigint): bigint => quotient(a, b);
  rem = (a: bigint, b: bigint): bigint => remainder(signed(a), signed(b));
  remu = (a: bigint, b: bigint): bigint => remainder(a, b);
  and = (a: bigint, b: bigint): bigint => a & b;
  or = (a: bigint, b: bigint): bigint => a | b;
  xor = (a: bigint, b: bigint): bigint => a ^ b;
  not = (a: bigint): bigint => unsigned(~a);
  shl = (a: bigint, b: bigint): bigint => unsigned(a << b % 64n);
  shr = (a: bigint, b: bigint): bigint => a >> b % 64n;
  sar = (a: bigint, b: bigint): bigint => unsigned(signed(a) >> b % 64n);
  rotl = (a: bigint, b: bigint): bigint => unsigned(a << b % 64n | a >> 64n - b % 64n);
  rotr = (a: bigint, b: bigint): bigint => unsigned(a >> b % 64n | a << 64n - b % 64n);
  clz = (a: bigint): bigint => zeroesBefore(bitsOf(a).reverse());
  ctz = (a: bigint): bigint => zeroesBefore(bitsOf(a));
  popcnt = (a: bigint): bigint => BigInt(bitsOf(a).filter((bit) => bit === "1").length);
  sext8 = (a: bigint): bigint => sextFrom(8, a);
  sext16 = (a: bigint): bigint => sextFrom(16, a);
  sext32 = (a: bigint): bigint => sextFrom(32, a);
  zext32 = (a: bigint): bigint => BigInt.asUintN(32, a);
  clmul = (a: bigint, b: bigint): bigint => unsigned(carryLessProduct(a, b));
  clmulh = (a: bigint, b: bigint): bigint => carryLessProduct(a, b) >> 64n;

  eq = (a: bigint, b: bigint): boolean => a === b;
  ne = (a: bigint, b: bigint): boolean => a !== b;
  lt = (a: bigint, b: bigint): boolean => signed(a) < signed(b);
  ltu = (a: bigint, b: bigint): boolean => a < b;
  ge = (a: bigint, b: bigint): boolean => signed(a) >= signed(b);
  geu = (a: bigint, b: bigint): boolean => a >= b;
  bool = (c: boolean): bigint => c ? 1n : 0n;
  select = (c: boolean, a: bigint, b: bigint): bigint => c ? a : b;

  /** NaN boxing (unprivileged specification, section 22.2). */
  unbox = (value: bigint): bigint => (value & BOX) === BOX ? value - BOX : SINGLE_NAN;
  box = (value: bigint): bigint => value | BOX;
}
