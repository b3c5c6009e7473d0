// Floating point in generated code: host operations where they give the exact result and flags, else the slow path.

import { SLOT } from "./layout.ts";
import { hartBlock } from "./wasm_hart.ts";
import { compute, FLAG, FP_OPS, type FpOp, RM } from "./softfloat.ts";
import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type F32, type F64, type I32, type I64, TYPE, type Value, type ValueType } from "./wasm/types.ts";

/** The import that {@linkcode addFloatFunctions} calls: (hart, operation, rm, a, b, c) → result. */
export const SLOW_PATH: { readonly params: ValueType[]; readonly results: ValueType[] } = {
  params: [TYPE.i32, TYPE.i32, TYPE.i32, TYPE.i64, TYPE.i64, TYPE.i64],
  results: [TYPE.i64],
};

/** What to import as {@linkcode SLOW_PATH}: exact arithmetic; flags accumulate in the hart's block. */
export function floatSlowPath(
  memory: WebAssembly.Memory,
): (hart: number, op: number, rm: number, a: bigint, b: bigint, c: bigint) => bigint {
  const words = new Int32Array(memory.buffer);
  return (hart, op, rm, a, b, c) => {
    const { value, flags } = compute(FP_OPS[op], rm, a, b, c);
    words[(hart + SLOT.fflags) >> 2] |= flags;
    return value;
  };
}

/**
 * Adds a function (hart: i32, rm: i32, a: i64, b: i64, c: i64) → i64 for every operation to a module.
 *
 * The host rounds to nearest and keeps no flags. So the fast paths hold under that rounding mode, and where neither
 * overflow nor underflow is near: then "inexact" is the only flag there can be, and it follows from the rounding error,
 * which can itself be computed without error. It need not be where the flag is set already.
 *
 * `fused` says whether the host's `f64x2.relaxed_madd` rounds once (see `hostFuses`), `only` is for `hartBlock`.
 */
export function addFloatFunctions(
  module: ModuleBuilder,
  slow: Callee,
  { fused, only }: { readonly fused: boolean; readonly only: number | undefined },
): Record<FpOp, Callee> {
  const callees = {} as Record<FpOp, Callee>;
  for (const op of FP_OPS) {
    const { callee, body } = module.function([TYPE.i32, TYPE.i32, TYPE.i64, TYPE.i64, TYPE.i64], [TYPE.i64]);
    new FloatFunction(body, op, slow, fused, only).emit();
    callees[op] = callee;
  }
  return callees;
}

/** The operations that `f.f32` and `f.f64` share. */
interface FloatOperations {
  add(a: Value, b: Value): Value;
  sub(a: Value, b: Value): Value;
  mul(a: Value, b: Value): Value;
  div(a: Value, b: Value): Value;
  min(a: Value, b: Value): Value;
  max(a: Value, b: Value): Value;
  abs(a: Value): Value;
  neg(a: Value): Value;
  sqrt(a: Value): Value;
  eq(a: Value, b: Value): I32;
  ne(a: Value, b: Value): I32;
  lt(a: Value, b: Value): I32;
  le(a: Value, b: Value): I32;
  gt(a: Value, b: Value): I32;
}

type FormatName = "s" | "d";
type IntegerName = "w" | "wu" | "l" | "lu";

const FORMAT = {
  s: { fractionBits: 23, minNormal: 2 ** -126, max: (2 - 2 ** -23) * 2 ** 127, huge: 2 ** 126 },
  d: { fractionBits: 52, minNormal: 2 ** -1022, max: Number.MAX_VALUE, huge: 2 ** 1022 },
} as const;

// Between these a product of doubles has a rounding error that is a double, and no step of computing it overflows.
const PRODUCT = { above: 2 ** -900, below: 2 ** 1000, factorsBelow: 2 ** 990 } as const;

/** Multiplying by it splits a double's significand in halves (Veltkamp). */
const SPLITTER = 2 ** 27 + 1;

/** Emits one function. */
class FloatFunction {
  readonly #f: FunctionBuilder;
  readonly #op: FpOp;
  readonly #slow: Callee;
  readonly #fused: boolean;
  readonly #hart: I32;
  readonly #rm: I32;
  readonly #operands: readonly I64[];

  constructor(f: FunctionBuilder, op: FpOp, slow: Callee, fused: boolean, only: number | undefined) {
    this.#f = f;
    this.#op = op;
    this.#slow = slow;
    this.#fused = fused;
    this.#hart = hartBlock(f, 0, only);
    this.#rm = f.get(f.param<typeof TYPE.i32>(1));
    this.#operands = [2, 3, 4].map((index) => f.get(f.param<typeof TYPE.i64>(index)));
  }

  emit(): void {
    this.#fastPaths();
    this.#returnSlow();
  }

  #fastPaths(): void {
    const [name, format] = this.#op.split(".");
    switch (name) {
      case "add":
      case "sub":
        return this.#sum(name, format as FormatName);
      case "mul":
      case "div":
      case "sqrt":
        return this.#product(name, format as FormatName);
      case "fma":
        return format === "s" ? this.#fusedSingle() : this.#fusedDouble();
      case "min":
      case "max":
        return this.#extremum(name, format as FormatName);
      case "eq":
      case "lt":
      case "le":
        return this.#comparison(name, format as FormatName);
      case "class":
        return this.#classMask(format as FormatName);
      case "s":
      case "d":
        if (format === "s") return this.#promotion();
        if (format === "d") return this.#demotion();
        return this.#fromInteger(name, format as IntegerName);
      default:
        return this.#toInteger(name as IntegerName, format as FormatName);
    }
  }

  // ---- operations

  #sum(name: "add" | "sub", format: FormatName): void {
    const f = this.#f;
    const host = this.#host(format);
    const [a, b] = this.#floats(format);
    f.openIf(f.i32.eqz(this.#rm));
    const sum = f.keep(host[name](a, b));
    // Sums never underflow inexactly. Far from overflow, so do the steps that find the error.
    f.if(host.lt(host.abs(sum), this.#constant(format, FORMAT[format].huge)), () => {
      this.#unlessInexact(() => {
        const error = this.#sumError(format, a, name === "sub" ? host.neg(b) : b, sum);
        this.#accumulate(host.ne(error, this.#constant(format, 0)));
      });
      this.#return(format, sum);
    });
    f.close();
  }

  /** Each of the three results is exact if one product is: a × b = r; r × b = a for r = a / b; r × r = a for r = √a. */
  #product(name: "mul" | "div" | "sqrt", format: FormatName): void {
    const f = this.#f;
    const host = this.#host(format);
    const [a, b] = this.#floats(format);
    const zero = this.#constant(format, 0);
    f.openIf(f.i32.eqz(this.#rm));
    const r = f.keep(name === "sqrt" ? host.sqrt(a) : host[name](a, b));
    const [x, y, expected] = name === "mul" ? [a, b, r] : name === "div" ? [r, b, a] : [r, r, a];
    f.if(this.#isNormal(format, r), () => {
      this.#unlessInexact(() => this.#accumulate(this.#productDiffers(format, x, y, expected)));
      this.#return(format, r);
    });
    const exactZero = name === "mul" ? f.i32.or(host.eq(a, zero), host.eq(b, zero)) : host.eq(a, zero);
    f.if(f.i32.and(host.eq(r, zero), exactZero), () => this.#return(format, r));
    f.close();
  }

  /** A product of singles is exact in double. Its sum with the addend, rounded to odd, rounds once more without harm. */
  #fusedSingle(): void {
    const f = this.#f;
    const [a, b, c] = this.#floats("s").map((x) => f.keep(f.f64.promote(x)));
    f.openIf(f.i32.eqz(this.#rm));
    const product = f.keep(f.f64.mul(a, b));
    const sum = f.keep(f.f64.add(product, c));
    const odd = f.keep(this.#toOdd(sum, this.#sumError("d", product, c, sum) as F64));
    const r = f.keep(f.f32.demote(odd));
    f.if(f.i32.or(this.#isNormal("s", r), f.f64.eq(odd, f.constF64(0))), () => {
      this.#accumulate(f.f64.ne(f.f64.promote(r), odd));
      this.#return("s", r);
    });
    f.close();
  }

  /** Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008; or the host's where it has one. */
  #fusedDouble(): void {
    const f = this.#f;
    const d = f.f64;
    const zero = f.constF64(0);
    const [a, b, c] = this.#floats("d") as F64[];
    f.openIf(f.i32.eqz(this.#rm));
    if (this.#fused) {
      f.if(this.#isInexact(), () => {
        const r = f.keep(this.#hostFma(a, b, c));
        f.if(this.#isNormal("d", r), () => this.#return("d", r));
      });
    }
    const product = f.keep(d.mul(a, b));
    f.if(f.i32.and(this.#productErrorIsExact(a, b, product), d.lt(d.abs(c), f.constF64(PRODUCT.below))), () => {
      const low = this.#productError(a, b, product);
      const t = f.keep(d.add(c, low)), tError = this.#sumError("d", c, low, t) as F64;
      const u = f.keep(d.add(product, t)), uError = this.#sumError("d", product, t, u) as F64;
      const v = f.keep(d.add(tError, uError)), vError = this.#sumError("d", tError, uError, v) as F64;
      const odd = f.keep(this.#toOdd(v, vError));
      const r = f.keep(d.add(u, odd));
      this.#accumulate(f.i32.or(d.ne(vError, zero), d.ne(this.#sumError("d", u, odd, r) as F64, zero)));
      this.#return("d", r);
    });
    const isZero = f.i32.and(d.eq(product, zero), f.i32.or(d.eq(a, zero), d.eq(b, zero)));
    f.if(f.i32.and(isZero, d.lt(d.abs(c), f.constF64(Infinity))), () => this.#return("d", d.add(product, c)));
    f.close();
  }

  #extremum(name: "min" | "max", format: FormatName): void {
    const [a, b] = this.#floats(format);
    const host = this.#host(format);
    const r = this.#f.keep(host[name](a, b));
    this.#f.if(host.eq(r, r), () => this.#return(format, r));
  }

  #comparison(name: "eq" | "lt" | "le", format: FormatName): void {
    const f = this.#f;
    const [a, b] = this.#floats(format);
    const host = this.#host(format);
    f.if(f.i32.and(host.eq(a, a), host.eq(b, b)), () => f.return(f.i64.extendUnsigned(host[name](a, b))));
  }

  #classMask(format: FormatName): void {
    const f = this.#f;
    const hidden = 1n << BigInt(FORMAT[format].fractionBits);
    const sign = format === "s" ? 1n << 31n : 1n << 63n;
    const infinity = sign - hidden;
    const bits = this.#operands[0];
    const magnitude = f.keep(f.i64.and(bits, f.const64(sign - 1n)));
    const atLeast = (bound: bigint) => f.i64.geU(magnitude, f.const64(bound));
    const outwards = f.keep(f.i32.add(atLeast(1n), f.i32.add(atLeast(hidden), atLeast(infinity))));
    const positive = f.i64.eq(f.i64.and(bits, f.const64(sign)), f.const64(0));
    const number = f.select(positive, f.i32.add(f.const32(4), outwards), f.i32.sub(f.const32(3), outwards));
    const nan = f.i32.add(f.const32(8), atLeast(infinity + hidden / 2n));
    const bit = f.select(atLeast(infinity + 1n), nan, number);
    f.return(f.i64.shl(f.const64(1), f.i64.extendUnsigned(bit)));
  }

  #promotion(): void {
    const [a] = this.#floats("s") as F32[];
    this.#f.if(this.#f.f32.eq(a, a), () => this.#return("d", this.#f.f64.promote(a)));
  }

  #demotion(): void {
    const f = this.#f;
    const [a] = this.#floats("d") as F64[];
    f.openIf(f.i32.eqz(this.#rm));
    const r = f.keep(f.f32.demote(a));
    f.if(f.i32.or(this.#isNormal("s", r), f.f64.eq(a, f.constF64(0))), () => {
      this.#accumulate(f.f64.ne(f.f64.promote(r), a));
      this.#return("s", r);
    });
    f.close();
  }

  #toInteger(name: IntegerName, format: FormatName): void {
    const f = this.#f;
    const d = f.f64;
    const [operand] = this.#floats(format);
    const a = format === "d" ? operand as F64 : f.keep(f.f64.promote(operand));
    const integral = f.local(TYPE.f64);
    const rounded = f.get(integral);
    f.set(integral, d.trunc(a));
    const rounding = (rm: number, value: F64) => f.if(f.i32.eq(this.#rm, f.const32(rm)), () => f.set(integral, value));
    f.openIf(f.i32.ne(this.#rm, f.const32(RM.RTZ))); // a cast in most languages: done already
    rounding(RM.RNE, d.nearest(a));
    rounding(RM.RDN, d.floor(a));
    rounding(RM.RUP, d.ceil(a));
    const half = d.ge(d.abs(d.sub(a, rounded)), f.constF64(0.5));
    rounding(RM.RMM, d.add(rounded, d.copysign(f.select(half, f.constF64(1), f.constF64(0)), a)));
    f.close();

    const unsigned = name.endsWith("u");
    const width = name.startsWith("w") ? 32 : 64;
    const least = f.constF64(unsigned ? 0 : -(2 ** (width - 1)));
    const beyond = f.constF64(2 ** (unsigned ? width : width - 1));
    f.if(f.i32.and(d.ge(rounded, least), d.lt(rounded, beyond)), () => {
      this.#accumulate(f.f64.ne(rounded, a));
      const n = name === "lu" ? f.i64.truncSatUnsigned(rounded) : f.i64.truncSat(rounded);
      f.return(width === 32 ? f.i64.extend32(n) : n);
    });
  }

  #fromInteger(format: FormatName, name: IntegerName): void {
    const f = this.#f;
    const [operand] = this.#operands;
    const n = name === "w"
      ? f.keep(f.i64.extend32(operand))
      : name === "wu"
      ? f.keep(f.i64.and(operand, f.const64(0xffff_ffffn)))
      : operand;
    const host = format === "s" ? f.f32 : f.f64;
    const r = f.keep<ValueType>(name === "lu" ? host.convertI64Unsigned(n) : host.convertI64(n));
    if (format === "d" && name.startsWith("w")) return this.#return(format, r);
    const wide = format === "s" ? f.keep(f.f64.promote(r)) : r as F64;
    const back = name === "lu" ? f.i64.truncSatUnsigned(wide) : f.i64.truncSat(wide);
    // The greatest integer rounds up to a number that converts back to it: by saturation, so inexactly.
    const saturates = f.f64.eq(wide, f.constF64(name === "lu" ? 2 ** 64 : 2 ** 63));
    const inexact = f.keep(f.i32.or(f.i64.ne(back, n), saturates));
    f.if(f.i32.or(f.i32.eqz(this.#rm), f.i32.eqz(inexact)), () => {
      this.#accumulate(inexact);
      this.#return(format, r);
    });
  }

  // ---- rounding errors

  /** What rounding took from a + b, exactly (Knuth, "The Art of Computer Programming", section 4.2.2). */
  #sumError(format: FormatName, a: Value, b: Value, sum: Value): Value {
    const host = this.#host(format);
    const bPart = this.#f.keep(host.sub(sum, a));
    return this.#f.keep(host.add(host.sub(a, host.sub(sum, bPart)), host.sub(b, bPart)));
  }

  /** What rounding took from a × b, exactly if {@linkcode #productErrorIsExact} (Dekker, 1971). */
  #productError(a: F64, b: F64, product: F64): F64 {
    const f = this.#f;
    const d = f.f64;
    if (this.#fused) return f.keep(this.#hostFma(a, b, d.neg(product)));
    const split = (x: F64): [F64, F64] => {
      const scaled = f.keep(d.mul(x, f.constF64(SPLITTER)));
      const high = f.keep(d.sub(scaled, d.sub(scaled, x)));
      return [high, f.keep(d.sub(x, high))];
    };
    const [aHigh, aLow] = split(a), [bHigh, bLow] = split(b);
    const middle = d.add(d.add(d.sub(d.mul(aHigh, bHigh), product), d.mul(aHigh, bLow)), d.mul(aLow, bHigh));
    return f.keep(d.add(middle, d.mul(aLow, bLow)));
  }

  #productErrorIsExact(a: F64, b: F64, product: F64): I32 {
    const f = this.#f;
    const below = (x: F64, bound: number) => f.f64.lt(f.f64.abs(x), f.constF64(bound));
    return [
      f.f64.gt(f.f64.abs(product), f.constF64(PRODUCT.above)),
      below(product, PRODUCT.below),
      below(a, PRODUCT.factorsBelow),
      below(b, PRODUCT.factorsBelow),
    ].reduce((all, one) => f.i32.and(all, one));
  }

  /** Whether x × y is not exactly `expected`; goes to the slow path where that is hard to say. */
  #productDiffers(format: FormatName, x: Value, y: Value, expected: Value): I32 {
    const f = this.#f;
    if (format === "s") return f.f64.ne(f.f64.mul(f.f64.promote(x), f.f64.promote(y)), f.f64.promote(expected));
    const [a, b] = [x as F64, y as F64];
    const product = f.keep(f.f64.mul(a, b));
    f.if(f.i32.eqz(this.#productErrorIsExact(a, b, product)), () => this.#returnSlow());
    const error = this.#productError(a, b, product);
    return f.i32.or(f.f64.ne(product, expected as F64), f.f64.ne(error, f.constF64(0)));
  }

  /** Rounding to odd: of the two neighbours of an inexact sum, the one whose last bit is 1. */
  #toOdd(sum: F64, error: F64): F64 {
    const f = this.#f;
    const bits = f.keep(f.i64.reinterpret(sum));
    const outwards = f.i64.geS(f.i64.xor(bits, f.i64.reinterpret(error)), f.const64(0));
    const neighbour = f.i64.add(bits, f.select(outwards, f.const64(1), f.const64(-1)));
    const isEven = f.i32.eqz64(f.i64.and(bits, f.const64(1)));
    const moves = f.i32.and(f.f64.ne(error, f.constF64(0)), isEven);
    return f.f64.reinterpret(f.select(moves, neighbour, bits));
  }

  #hostFma(a: F64, b: F64, c: F64): F64 {
    const { v128, f64 } = this.#f;
    return f64.lane0(this.#f.relaxedMadd(v128.splat(a), v128.splat(b), v128.splat(c)));
  }

  // ---- flags, operands and results

  #isInexact(): I32 {
    return this.#f.i32.and(this.#f.load32(this.#hart, SLOT.fflags), this.#f.const32(FLAG.NX));
  }

  /** Runs `then` where the inexact flag is not set yet. */
  #unlessInexact(then: () => void): void {
    this.#f.if(this.#f.i32.eqz(this.#isInexact()), then);
  }

  /** Sets the inexact flag (which is bit 0) if `inexact` is 1. */
  #accumulate(inexact: I32): void {
    const f = this.#f;
    f.store("i32", this.#hart, f.i32.or(f.load32(this.#hart, SLOT.fflags), inexact), SLOT.fflags);
  }

  /** Finite, and greater than the least normal number: that one may have been rounded up from below. */
  #isNormal(format: FormatName, x: Value): I32 {
    const host = this.#host(format);
    const magnitude = this.#f.keep(host.abs(x));
    const { minNormal, max } = FORMAT[format];
    return this.#f.i32.and(
      host.gt(magnitude, this.#constant(format, minNormal)),
      host.le(magnitude, this.#constant(format, max)),
    );
  }

  #host(format: FormatName): FloatOperations {
    return format === "s" ? this.#f.f32 : this.#f.f64;
  }

  #floats(format: FormatName): Value[] {
    const f = this.#f;
    return this.#operands.map((bits) =>
      f.keep<ValueType>(format === "s" ? f.f32.reinterpret(f.i32.wrap(bits)) : f.f64.reinterpret(bits))
    );
  }

  #constant(format: FormatName, value: number): Value {
    return format === "s" ? this.#f.f32.demote(this.#f.constF64(value)) : this.#f.constF64(value);
  }

  #return(format: FormatName, value: Value): void {
    const f = this.#f;
    f.return(format === "s" ? f.i64.extendUnsigned(f.i32.reinterpret(value)) : f.i64.reinterpret(value));
  }

  #returnSlow(): void {
    const f = this.#f;
    const op = f.const32(FP_OPS.indexOf(this.#op));
    f.return(f.call(this.#slow, this.#hart, op, this.#rm, ...this.#operands));
  }
}
