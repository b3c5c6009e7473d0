// WebAssembly value types and the instructions we use (core specification 3.0, sections 5.3 and 5.4).

export const TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
/** A value type's byte in the binary format. */
export type ValueType = typeof TYPE[keyof typeof TYPE];

declare const kind: unique symbol;
/** A value of a function being built: an index into its expressions. */
export type Value<T extends ValueType = ValueType> = number & { readonly [kind]: T };
export type I32 = Value<typeof TYPE.i32>;
export type I64 = Value<typeof TYPE.i64>;
export type F32 = Value<typeof TYPE.f32>;
export type F64 = Value<typeof TYPE.f64>;
export type V128 = Value<typeof TYPE.v128>;

declare const local: unique symbol;
/** A local variable of a function being built. */
export type Local<T extends ValueType = ValueType> = number & { readonly [local]: T };

/** Plain instructions by result type: one operand. Opcodes past 0xff stand for prefix << 8 | opcode. */
export const UNARY = {
  i32: {
    eqz: [TYPE.i32, 0x45],
    eqz64: [TYPE.i64, 0x50],
    clz: [TYPE.i32, 0x67],
    ctz: [TYPE.i32, 0x68],
    popcnt: [TYPE.i32, 0x69],
    wrap: [TYPE.i64, 0xa7],
    reinterpret: [TYPE.f32, 0xbc],
    extend8: [TYPE.i32, 0xc0],
    extend16: [TYPE.i32, 0xc1],
    truncSatF64: [TYPE.f64, 0xfc02],
    truncSatF64Unsigned: [TYPE.f64, 0xfc03],
  },
  i64: {
    clz: [TYPE.i64, 0x79],
    ctz: [TYPE.i64, 0x7a],
    popcnt: [TYPE.i64, 0x7b],
    extendSigned: [TYPE.i32, 0xac],
    extendUnsigned: [TYPE.i32, 0xad],
    reinterpret: [TYPE.f64, 0xbd],
    extend8: [TYPE.i64, 0xc2],
    extend16: [TYPE.i64, 0xc3],
    extend32: [TYPE.i64, 0xc4],
    truncSat: [TYPE.f64, 0xfc06],
    truncSatUnsigned: [TYPE.f64, 0xfc07],
  },
  f32: {
    abs: [TYPE.f32, 0x8b],
    neg: [TYPE.f32, 0x8c],
    sqrt: [TYPE.f32, 0x91],
    convertI32: [TYPE.i32, 0xb2],
    convertI64: [TYPE.i64, 0xb4],
    convertI64Unsigned: [TYPE.i64, 0xb5],
    demote: [TYPE.f64, 0xb6],
    reinterpret: [TYPE.i32, 0xbe],
  },
  f64: {
    abs: [TYPE.f64, 0x99],
    neg: [TYPE.f64, 0x9a],
    ceil: [TYPE.f64, 0x9b],
    floor: [TYPE.f64, 0x9c],
    nearest: [TYPE.f64, 0x9e],
    trunc: [TYPE.f64, 0x9d],
    sqrt: [TYPE.f64, 0x9f],
    convertI32: [TYPE.i32, 0xb7],
    convertI64: [TYPE.i64, 0xb9],
    convertI64Unsigned: [TYPE.i64, 0xba],
    promote: [TYPE.f32, 0xbb],
    reinterpret: [TYPE.i64, 0xbf],
    lane0: [TYPE.v128, 0xfd21],
  },
  v128: { splat: [TYPE.f64, 0xfd14] },
} as const;

/** Plain instructions by operand type: two operands of that type, the result of the same type. */
export const BINARY = {
  i32: {
    add: 0x6a,
    sub: 0x6b,
    mul: 0x6c,
    divS: 0x6d,
    divU: 0x6e,
    remS: 0x6f,
    remU: 0x70,
    and: 0x71,
    or: 0x72,
    xor: 0x73,
    shl: 0x74,
    shrS: 0x75,
    shrU: 0x76,
    rotl: 0x77,
    rotr: 0x78,
  },
  i64: {
    add: 0x7c,
    sub: 0x7d,
    mul: 0x7e,
    divS: 0x7f,
    divU: 0x80,
    remS: 0x81,
    remU: 0x82,
    and: 0x83,
    or: 0x84,
    xor: 0x85,
    shl: 0x86,
    shrS: 0x87,
    shrU: 0x88,
    rotl: 0x89,
    rotr: 0x8a,
  },
  f32: { add: 0x92, sub: 0x93, mul: 0x94, div: 0x95, min: 0x96, max: 0x97, copysign: 0x98 },
  f64: { add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, min: 0xa4, max: 0xa5, copysign: 0xa6 },
} as const;

/** Comparisons by operand type: the result is an i32. */
export const COMPARE = {
  i32: { eq: 0x46, ne: 0x47, ltS: 0x48, ltU: 0x49, gtS: 0x4a, gtU: 0x4b, leS: 0x4c, leU: 0x4d, geS: 0x4e, geU: 0x4f },
  i64: { eq: 0x51, ne: 0x52, ltS: 0x53, ltU: 0x54, gtS: 0x55, gtU: 0x56, leS: 0x57, leU: 0x58, geS: 0x59, geU: 0x5a },
  f32: { eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60 },
  f64: { eq: 0x61, ne: 0x62, lt: 0x63, gt: 0x64, le: 0x65, ge: 0x66 },
} as const;

/** Memory instructions: opcode and the natural alignment's exponent. */
export const LOAD = {
  i32: [0x28, 2],
  i64: [0x29, 3],
  f32: [0x2a, 2],
  f64: [0x2b, 3],
  i32_8u: [0x2d, 0],
  i32_16u: [0x2f, 1],
  i64_8s: [0x30, 0],
  i64_8u: [0x31, 0],
  i64_16s: [0x32, 1],
  i64_16u: [0x33, 1],
  i64_32s: [0x34, 2],
  i64_32u: [0x35, 2],
} as const;
export const STORE = {
  i32: [0x36, 2],
  i64: [0x37, 3],
  f32: [0x38, 2],
  f64: [0x39, 3],
  i32_8: [0x3a, 0],
  i32_16: [0x3b, 1],
  i64_8: [0x3c, 0],
  i64_16: [0x3d, 1],
  i64_32: [0x3e, 2],
} as const;
