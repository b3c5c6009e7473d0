// The pure part of the vocabulary as WebAssembly expressions, for whatever generates code from the rows.

import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, TYPE } from "./wasm/types.ts";

/** Names of the functions for what WebAssembly has no instruction for: (a: i64, b: i64) → i64. */
export const INTEGER_HELPERS = ["mulhu", "div", "divu", "rem", "remu", "clmul", "clmulh"] as const;
export type IntegerHelpers = Readonly<Record<typeof INTEGER_HELPERS[number], Callee>>;

/** Adds the helpers to a module. */
export function addIntegerHelpers(module: ModuleBuilder): IntegerHelpers {
  const helper = (build: (f: FunctionBuilder, a: () => I64, b: () => I64) => I64): Callee => {
    const { callee, body } = module.function([TYPE.i64, TYPE.i64], [TYPE.i64]);
    const param = (index: number) => () => body.get(body.param<typeof TYPE.i64>(index));
    body.return(build(body, param(0), param(1)));
    body.unreachable();
    return callee;
  };
  const division = (signed: boolean, remainder: boolean): Callee =>
    helper((f, a, b) => {
      // By zero: the quotient is all ones, the remainder the dividend. By -1: no overflow.
      f.if(f.i64.eq(b(), f.const64(0)), () => f.return(remainder ? a() : f.const64(-1)));
      if (signed) {
        f.if(
          f.i64.eq(b(), f.const64(-1)),
          () => f.return(remainder ? f.const64(0) : f.i64.sub(f.const64(0), a())),
        );
      }
      if (remainder) return signed ? f.i64.remS(a(), b()) : f.i64.remU(a(), b());
      return signed ? f.i64.divS(a(), b()) : f.i64.divU(a(), b());
    });
  const carryLess = (high: boolean): Callee =>
    helper((f, a, b) => {
      const sum = f.local(TYPE.i64);
      const bit = f.local(TYPE.i64);
      f.set(bit, f.const64(high ? 1 : 0));
      const loop = f.openLoop();
      const term = f.i64.and(
        high ? f.i64.shrU(a(), f.i64.sub(f.const64(64), f.get(bit))) : f.i64.shl(a(), f.get(bit)),
        f.i64.sub(f.const64(0), f.i64.and(f.i64.shrU(b(), f.get(bit)), f.const64(1))),
      );
      f.set(sum, f.i64.xor(f.get(sum), term));
      f.set(bit, f.i64.add(f.get(bit), f.const64(1)));
      f.brIf(f.i64.ltU(f.get(bit), f.const64(64)), loop);
      f.close();
      return f.get(sum);
    });
  return {
    mulhu: helper((f, a, b) => {
      const low = (v: I64) => f.i64.and(v, f.const64(0xffffffff));
      const high = (v: I64) => f.i64.shrU(v, f.const64(32));
      const ll = f.keep(f.i64.mul(low(a()), low(b())));
      const hl = f.keep(f.i64.add(f.i64.mul(high(a()), low(b())), high(ll)));
      const lh = f.keep(f.i64.add(f.i64.mul(low(a()), high(b())), low(hl)));
      return f.i64.add(f.i64.add(f.i64.mul(high(a()), high(b())), high(hl)), high(lh));
    }),
    div: division(true, false),
    divu: division(false, false),
    rem: division(true, true),
    remu: division(false, true),
    clmul: carryLess(false),
    clmulh: carryLess(true),
  };
}

/** Values of the vocabulary as expressions of a function under construction. */
export class WasmValues {
  constructor(readonly f: FunctionBuilder, readonly helpers: IntegerHelpers) {}

  constant(value: bigint | number): I64 {
    return this.f.const64(value);
  }
  let(value: I64): I64 {
    return this.f.keep(value);
  }

  add(a: I64, b: I64): I64 {
    return this.f.i64.add(a, b);
  }
  sub(a: I64, b: I64): I64 {
    return this.f.i64.sub(a, b);
  }
  mul(a: I64, b: I64): I64 {
    return this.f.i64.mul(a, b);
  }
  mulhu(a: I64, b: I64): I64 {
    return this.#help("mulhu", a, b);
  }
  mulh(a: I64, b: I64): I64 {
    const { f } = this;
    const [x, y] = [f.keep(a), f.keep(b)];
    return f.i64.sub(f.i64.sub(this.mulhu(x, y), this.#ifNegative(x, y)), this.#ifNegative(y, x));
  }
  mulhsu(a: I64, b: I64): I64 {
    const { f } = this;
    const [x, y] = [f.keep(a), f.keep(b)];
    return f.i64.sub(this.mulhu(x, y), this.#ifNegative(x, y));
  }
  div(a: I64, b: I64): I64 {
    return this.#help("div", a, b);
  }
  divu(a: I64, b: I64): I64 {
    return this.#help("divu", a, b);
  }
  rem(a: I64, b: I64): I64 {
    return this.#help("rem", a, b);
  }
  remu(a: I64, b: I64): I64 {
    return this.#help("remu", a, b);
  }
  and(a: I64, b: I64): I64 {
    return this.f.i64.and(a, b);
  }
  or(a: I64, b: I64): I64 {
    return this.f.i64.or(a, b);
  }
  xor(a: I64, b: I64): I64 {
    return this.f.i64.xor(a, b);
  }
  not(a: I64): I64 {
    return this.f.i64.xor(a, this.f.const64(-1));
  }
  shl(a: I64, b: I64): I64 {
    return this.f.i64.shl(a, b);
  }
  shr(a: I64, b: I64): I64 {
    return this.f.i64.shrU(a, b);
  }
  sar(a: I64, b: I64): I64 {
    return this.f.i64.shrS(a, b);
  }
  rotl(a: I64, b: I64): I64 {
    return this.f.i64.rotl(a, b);
  }
  rotr(a: I64, b: I64): I64 {
    return this.f.i64.rotr(a, b);
  }
  clz(a: I64): I64 {
    return this.f.i64.clz(a);
  }
  ctz(a: I64): I64 {
    return this.f.i64.ctz(a);
  }
  popcnt(a: I64): I64 {
    return this.f.i64.popcnt(a);
  }
  sext8(a: I64): I64 {
    return this.f.i64.extend8(a);
  }
  sext16(a: I64): I64 {
    return this.f.i64.extend16(a);
  }
  sext32(a: I64): I64 {
    return this.f.i64.extend32(a);
  }
  zext32(a: I64): I64 {
    return this.f.i64.and(a, this.f.const64(0xffffffff));
  }
  clmul(a: I64, b: I64): I64 {
    return this.#help("clmul", a, b);
  }
  clmulh(a: I64, b: I64): I64 {
    return this.#help("clmulh", a, b);
  }

  eq(a: I64, b: I64): I32 {
    return this.f.i64.eq(a, b);
  }
  ne(a: I64, b: I64): I32 {
    return this.f.i64.ne(a, b);
  }
  lt(a: I64, b: I64): I32 {
    return this.f.i64.ltS(a, b);
  }
  ltu(a: I64, b: I64): I32 {
    return this.f.i64.ltU(a, b);
  }
  ge(a: I64, b: I64): I32 {
    return this.f.i64.geS(a, b);
  }
  geu(a: I64, b: I64): I32 {
    return this.f.i64.geU(a, b);
  }
  bool(c: I32): I64 {
    return this.f.i64.extendUnsigned(c);
  }
  select(c: I32, a: I64, b: I64): I64 {
    return this.f.select(c, a, b);
  }

  unbox(value: I64): I64 {
    const v = this.f.keep(value);
    const boxed = this.f.i64.geU(v, this.f.const64(-(2n ** 32n)));
    return this.f.select(boxed, this.zext32(v), this.f.const64(0x7fc00000));
  }
  box(value: I64): I64 {
    return this.f.i64.or(value, this.f.const64(-(2n ** 32n)));
  }

  #help(name: keyof IntegerHelpers, a: I64, b: I64): I64 {
    return this.f.call(this.helpers[name], a, b);
  }

  /** `value` if `x` is negative, else 0. */
  #ifNegative(x: I64, value: I64): I64 {
    return this.f.i64.and(this.f.i64.shrS(x, this.f.const64(63)), value);
  }
}
