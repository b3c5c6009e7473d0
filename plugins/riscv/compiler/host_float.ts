// Floating point by the host's operations, in place: where they are exact and their only flag is set already.

import { SLOT } from "../layout.ts";
import { FLAG, type FpOp } from "../softfloat.ts";
import type { FunctionBuilder } from "../wasm/function.ts";
import { type F64, type I32, type I64, type Local, TYPE, type Value, type ValueType } from "../wasm/types.ts";

/** Exponents from this on are near overflow, or are infinities and NaNs. */
const NEAR_OVERFLOW = 0x7fd;

/** An operation's result as the host computes it, and when it is the guest's, flags included. */
export interface HostResult {
  readonly type: typeof TYPE.i64 | typeof TYPE.f32 | typeof TYPE.f64;
  readonly value: Value;
  /** Given the computed value; absent where it always is. */
  readonly holds?: (result: Value) => I32;
}

/** The rounding mode of an instruction's rm field: to nearest, towards zero, or what frm says. */
const RM = { nearest: 0, towardsZero: 1, dynamic: 7 } as const;

/** What the operations depend on. */
export interface HostFloatOptions {
  /** Whether the host's multiply-add rounds once. */
  readonly fused: boolean;
  /** Whether anything in the region rounds. */
  readonly rounds: boolean;
}

/** Writes the operations of a region. */
export class HostFloat {
  /**
   * What the region knows of the rounding mode and the flags: exponents below it are harmless. It is 0 unless rounding
   * is to nearest and "inexact" is set; cut to 8 bits it serves single precision too.
   */
  readonly #limit: Local<typeof TYPE.i32>;

  constructor(
    readonly f: FunctionBuilder,
    /** The address of the hart's block. */
    readonly hart: () => I32,
    readonly options: HostFloatOptions,
  ) {
    this.#limit = f.local(TYPE.i32);
  }

  /** Looks up the rounding mode and the flags: at the region's start, and behind what may change them. */
  learn(): void {
    if (!this.options.rounds) return;
    const { f } = this;
    const inexact = f.i32.and(f.load32(this.hart(), SLOT.fflags), f.const32(FLAG.NX));
    const nearest = f.i32.eqz(f.load32(this.hart(), SLOT.frm));
    const harmless = f.i32.sub(f.const32(0), f.i32.and(inexact, nearest));
    f.set(this.#limit, f.i32.and(harmless, f.const32(NEAR_OVERFLOW)));
  }

  /** The operation on these bits with that rm field (0 where it has none); `undefined` for what is left to functions. */
  result(op: FpOp, rm: number, a: I64, b: I64, c: I64): HostResult | undefined {
    const { f } = this;
    const [name, format] = op.split(".");
    const single = format === "s";
    const host = single ? f.f32 : f.f64;
    const type = single ? TYPE.f32 : TYPE.f64;
    const [x, y] = [a, b].map((bits) => this.#operand(bits, single)) as [F64, F64];
    const rounds = rm === RM.nearest || rm === RM.dynamic;
    switch (name) {
      case "add":
      case "sub":
        if (!rounds) return undefined;
        // Sums never underflow inexactly.
        return { type, value: host[name](x as never, y as never), holds: (r) => this.#below(r, single, 0) };
      case "mul":
      case "div":
        if (!rounds) return undefined;
        return { type, value: host[name](x as never, y as never), holds: (r) => this.#below(r, single, 2) };
      case "sqrt":
        if (!rounds) return undefined;
        return { type, value: host.sqrt(x as never), holds: (r) => this.#below(r, single, 2) };
      case "fma":
        if (!rounds || single || !this.options.fused) return undefined;
        return { type, value: this.#fma(x, y, this.#operand(c, false) as F64), holds: (r) => this.#below(r, false, 2) };
      case "min":
      case "max":
        return { type, value: host[name](x as never, y as never), holds: (r) => host.eq(r as never, r as never) };
      case "eq":
      case "lt":
      case "le": {
        const ordered = () => f.i32.and(host.eq(x as never, x as never), host.eq(y as never, y as never));
        const value = f.i64.extendUnsigned(host[name](x as never, y as never));
        return { type: TYPE.i64, value, holds: ordered };
      }
      case "d":
        return this.#toDouble(format, rm, a);
      case "s":
        if (format !== "d" || !rounds) return undefined;
        return {
          type: TYPE.f32,
          value: f.f32.demote(this.#operand(a, false) as F64),
          holds: (r) => this.#below(r, true, 2),
        };
      case "w":
      case "l":
        return single ? undefined : this.#toInteger(name, rm, x);
    }
  }

  #toDouble(from: string, rm: number, bits: I64): HostResult | undefined {
    const { f } = this;
    const type = TYPE.f64;
    if (from === "l" && (rm === RM.nearest || rm === RM.dynamic)) {
      return { type, value: f.f64.convertI64(bits), holds: () => f.get(this.#limit) };
    }
    if (rm !== RM.nearest) return undefined; // what is exact is encoded so; another mode may be a reserved one
    if (from === "w") {
      return { type, value: f.f64.convertI32(f.i32.wrap(bits)) };
    }
    if (from !== "s") return undefined;
    const single = this.#operand(bits, true);
    return { type, value: f.f64.promote(single as never), holds: (r) => f.f64.eq(r as F64, r as F64) };
  }

  #toInteger(name: "w" | "l", rm: number, x: F64): HostResult | undefined {
    const { f } = this;
    if (rm !== RM.towardsZero && rm !== RM.nearest && rm !== RM.dynamic) return undefined;
    const rounded = rm === RM.towardsZero ? x : f.f64.nearest(x);
    // Magnitudes up to 2^30 and 2^62: their exponents, where the limit lets them.
    const below = 1023 + (name === "w" ? 30 : 62);
    const exponent = this.#exponent(f.i64.reinterpret(x));
    return {
      type: TYPE.i64,
      value: f.i64.truncSat(rounded),
      holds: () => f.i32.ltU(exponent, f.i32.and(f.get(this.#limit), f.const32(below))),
    };
  }

  /** Whether a result is far from overflow and its exponent field is at least `least`; see {@linkcode learn}. */
  #below(result: Value, single: boolean, least: number): I32 {
    const { f } = this;
    const exponent = single
      ? f.i32.and(f.i32.shrU(f.i32.reinterpret(result as never), f.const32(23)), f.const32(0xff))
      : this.#exponent(f.i64.reinterpret(result as F64));
    const above = least ? f.i32.sub(exponent, f.const32(least)) : exponent;
    return f.i32.ltU(above, single ? f.i32.and(f.get(this.#limit), f.const32(0xff)) : f.get(this.#limit));
  }

  #exponent(bits: I64): I32 {
    const { f } = this;
    return f.i32.and(f.i32.wrap(f.i64.shrU(bits, f.const64(52))), f.const32(0x7ff));
  }

  #fma(a: F64, b: F64, c: F64): F64 {
    const { v128, f64 } = this.f;
    return f64.lane0(this.f.relaxedMadd(v128.splat(a), v128.splat(b), v128.splat(c)));
  }

  #operand(bits: I64, single: boolean): Value<ValueType> {
    const { f } = this;
    return single ? f.f32.reinterpret(f.i32.wrap(bits)) : f.f64.reinterpret(bits);
  }
}
