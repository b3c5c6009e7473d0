// One WebAssembly function under construction: values are expressions, statements emit code (core specification 3.0, section 5.4).

import { ByteBuffer } from "./bytes.ts";
import {
  BINARY,
  COMPARE,
  type F32,
  type F64,
  type I32,
  type I64,
  LOAD,
  type Local,
  STORE,
  TYPE,
  UNARY,
  type V128,
  type Value,
  type ValueType,
} from "./types.ts";

/** A function's signature. */
export interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** A function that can be called: its index in the module, and its signature. */
export interface Callee extends Signature {
  readonly index: number;
}

/** A signature that the module knows by index, for indirect calls. */
export interface SignatureIndex extends Signature {
  readonly index: number;
}

/** A place to branch to: the nesting depth at which it was opened. */
export type Label = number;

// How an expression is emitted; any other number is the opcode of a plain instruction.
const FORM = { const: -1, local: -2, load: -3, select: -4, hint: -5 } as const;

/** A branch that mostly goes one way: the offset of its instruction in the function's body, and whether it is taken. */
export interface BranchHint {
  readonly offset: number;
  readonly likely: boolean;
}

type TypeOf = { i32: I32; i64: I64; f32: F32; f64: F64; v128: V128 };
type Unary = {
  readonly [R in keyof typeof UNARY]: {
    readonly [K in keyof typeof UNARY[R]]: (a: Value) => TypeOf[R];
  };
};
type Binary = {
  readonly [T in keyof typeof BINARY]: {
    readonly [K in keyof typeof BINARY[T]]: (a: TypeOf[T], b: TypeOf[T]) => TypeOf[T];
  };
};
type Compare = {
  readonly [T in keyof typeof COMPARE]: {
    readonly [K in keyof typeof COMPARE[T]]: (a: TypeOf[T], b: TypeOf[T]) => I32;
  };
};
/** The operations on values by type, e.g. `f.i64.add(a, b)`, `f.i32.wrap(x)`. */
type Operations<T extends keyof TypeOf> =
  & (T extends keyof Unary ? Unary[T] : unknown)
  & (T extends keyof Binary ? Binary[T] : unknown)
  & (T extends keyof Compare ? Compare[T] : unknown);

/**
 * Builds one function. A value is pure and is emitted where a statement uses it: to use one twice, or past a
 * statement that changes what it reads, `keep` it.
 */
export class FunctionBuilder {
  readonly i32: Operations<"i32">;
  readonly i64: Operations<"i64">;
  readonly f32: Operations<"f32">;
  readonly f64: Operations<"f64">;
  readonly v128: Operations<"v128">;

  readonly #code = new ByteBuffer();
  readonly #locals: ValueType[];
  readonly #hints: BranchHint[] = [];
  readonly #free: Local[][] = [];
  #scratch: Local[] = [];
  /** The last local.set: where it starts and ends in the code, and its local. */
  #setAt = 0;
  #setEnd = -1;
  #setLocal = -1;
  #depth = 0;

  // The expressions: parallel arrays, so that building one allocates nothing.
  #count = 0;
  #form = new Int32Array(256);
  #type = new Uint8Array(256);
  #a = new Int32Array(256);
  #b = new Int32Array(256);
  #c = new Int32Array(256);

  constructor(readonly signature: Signature) {
    this.#locals = [...signature.params];
    const on = <T extends keyof TypeOf>(type: T) => new OPERATIONS[type](this) as unknown as Operations<T>;
    this.i32 = on("i32");
    this.i64 = on("i64");
    this.f32 = on("f32");
    this.f64 = on("f64");
    this.v128 = on("v128");
  }

  // ------------------------------------------------------------ values

  /** A 32-bit constant. */
  const32(value: number): I32 {
    return this.#node(FORM.const, TYPE.i32, value | 0) as I32;
  }

  /** A 64-bit constant. */
  const64(value: bigint | number): I64 {
    if (typeof value === "number" && (value | 0) === value) {
      return this.#node(FORM.const, TYPE.i64, value, value >> 31) as I64;
    }
    const wide = BigInt.asUintN(64, BigInt(value));
    return this.#node(FORM.const, TYPE.i64, Number(wide & 0xffffffffn) | 0, Number(wide >> 32n) | 0) as I64;
  }

  /** A double constant. */
  constF64(value: number): F64 {
    const bits = new DataView(new ArrayBuffer(8));
    bits.setFloat64(0, value, true);
    return this.#node(FORM.const, TYPE.f64, bits.getInt32(0, true), bits.getInt32(4, true)) as F64;
  }

  /** The value of a local when a statement uses it. */
  get<T extends ValueType>(local: Local<T>): Value<T> {
    return this.#node(FORM.local, this.#locals[local], local) as Value<T>;
  }

  /** A parameter, as a local. */
  param<T extends ValueType = ValueType>(index: number): Local<T> {
    return index as Local<T>;
  }

  /** A load at `address + offset`. It reads memory where it is used: `keep` it if a store may come between. */
  load32(address: I32, offset = 0, how: keyof typeof LOAD = "i32"): I32 {
    return this.#load(TYPE.i32, how, address, offset) as I32;
  }
  load64(address: I32, offset = 0, how: keyof typeof LOAD = "i64"): I64 {
    return this.#load(TYPE.i64, how, address, offset) as I64;
  }

  /** `condition ? a : b`; both are evaluated. */
  select<T extends ValueType>(condition: I32, a: Value<T>, b: Value<T>): Value<T> {
    return this.#node(FORM.select, this.#type[a] as ValueType, a, b, condition) as Value<T>;
  }

  /** A condition for `if` or `brIf` that mostly holds: hosts compile the other way out of line. */
  likely(condition: I32): I32 {
    return this.#node(FORM.hint, TYPE.i32, condition, 1) as I32;
  }
  /** A condition that mostly does not hold. */
  unlikely(condition: I32): I32 {
    return this.#node(FORM.hint, TYPE.i32, condition, 0) as I32;
  }

  /** Fused multiply-add on the first lane, if the host fuses (relaxed SIMD, `f64x2.relaxed_madd`). */
  relaxedMadd(a: V128, b: V128, c: V128): V128 {
    return this.#node(0xfd87 << 8 | 0x02, TYPE.v128, a, b, c) as V128;
  }

  // ------------------------------------------------------------ locals

  /** A new local. */
  local<T extends ValueType>(type: T): Local<T> {
    this.#locals.push(type);
    return this.#locals.length - 1 as Local<T>;
  }

  /** A local that `release` gives back for reuse. */
  temporary<T extends ValueType>(type: T): Local<T> {
    const local = (this.#free[type]?.pop() ?? this.local(type)) as Local<T>;
    this.#scratch.push(local);
    return local;
  }

  /** Ends the life of all temporaries, and of all values. */
  release(): void {
    for (const local of this.#scratch) (this.#free[this.#locals[local]] ??= []).push(local);
    this.#scratch = [];
    this.#count = 0;
  }

  /** Computes a value now, and holds it in a temporary. */
  keep<T extends ValueType>(value: Value<T>): Value<T> {
    if (this.#form[value] === FORM.const) return value;
    const local = this.temporary(this.#type[value] as T);
    this.set(local, value);
    return this.get(local);
  }

  // ------------------------------------------------------------ statements

  set<T extends ValueType>(local: Local<T>, value: Value<T>): void {
    this.#emit(value);
    this.#emitSet(local);
  }

  /** Stores at `address + offset`. */
  store(how: keyof typeof STORE, address: I32, value: Value, offset = 0): void {
    if (how === "i64" && this.#form[value] === UNARY.i64.reinterpret[1]) {
      return this.store("f64", address, this.#a[value] as Value, offset);
    }
    this.#emit(address);
    this.#emit(value);
    const [opcode, align] = STORE[how];
    this.#code.byte(opcode);
    this.#code.unsigned(align);
    this.#code.unsigned(offset);
  }

  /** Calls a function with one result, and holds it in a temporary. */
  call<T extends ValueType = ValueType>(callee: Callee, ...args: Value[]): Value<T> {
    this.run(callee, ...args);
    return this.#hold(callee)[0] as Value<T>;
  }

  /** Calls a function, and holds its results in temporaries. */
  callMany(callee: Callee, ...args: Value[]): Value[] {
    this.run(callee, ...args);
    return this.#hold(callee);
  }

  /** Calls a function, and puts its results in locals. */
  callInto(locals: readonly Local[], callee: Callee, ...args: Value[]): void {
    this.run(callee, ...args);
    for (const local of locals.toReversed()) this.#emitSet(local);
  }

  /** Calls a function, leaving its results (none, mostly) on the stack. */
  run(callee: Callee, ...args: Value[]): void {
    for (const arg of args) this.#emit(arg);
    this.#code.byte(0x10);
    this.#code.unsigned(callee.index);
  }

  /** Calls the function at `index` of the module's table, and holds its results in temporaries. */
  callIndirect(type: SignatureIndex, index: I32, ...args: Value[]): Value[] {
    for (const arg of args) this.#emit(arg);
    this.#emit(index);
    this.#code.byte(0x11);
    this.#code.unsigned(type.index);
    this.#code.unsigned(0);
    return this.#hold(type);
  }

  /** Takes a call's results from the stack, the last one first. */
  #hold({ results }: Signature): Value[] {
    const locals = results.map((type) => this.temporary(type));
    for (const local of locals.toReversed()) this.#emitSet(local);
    return locals.map((local) => this.get(local));
  }

  /** Opens a block, to be left forwards by `br`. */
  openBlock(): Label {
    return this.#open(0x02);
  }

  /** Opens a loop, to be entered again by `br`. */
  openLoop(): Label {
    return this.#open(0x03);
  }

  openIf(condition: I32): Label {
    this.#emitCondition(condition);
    return this.#open(0x04);
  }

  else(): void {
    this.#code.byte(0x05);
  }

  /** Ends the innermost block, loop or if. */
  close(): void {
    this.#code.byte(0x0b);
    this.#depth--;
  }

  /** Runs `then` where the condition is not zero, else `otherwise`. */
  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.openIf(condition);
    then();
    if (otherwise) {
      this.else();
      otherwise();
    }
    this.close();
  }

  br(label: Label): void {
    this.#code.byte(0x0c);
    this.#code.unsigned(this.#depth - label);
  }

  brIf(condition: I32, label: Label): void {
    this.#emitCondition(condition);
    this.#code.byte(0x0d);
    this.#code.unsigned(this.#depth - label);
  }

  brTable(index: I32, labels: readonly Label[], otherwise: Label): void {
    this.#emit(index);
    this.#code.byte(0x0e);
    this.#code.unsigned(labels.length);
    for (const label of labels) this.#code.unsigned(this.#depth - label);
    this.#code.unsigned(this.#depth - otherwise);
  }

  return(...values: Value[]): void {
    for (const value of values) this.#emit(value);
    this.#code.byte(0x0f);
  }

  unreachable(): void {
    this.#code.byte(0x00);
  }

  /** Bytes of code so far. */
  get size(): number {
    return this.#code.length;
  }

  /** The hints that were given, for the module's section of branch hints. */
  hints(): BranchHint[] {
    const declarations = this.#declarations().length;
    return this.#hints.map(({ offset, likely }) => ({ offset: offset + declarations, likely }));
  }

  /** Writes the function's entry of the code section. */
  write(into: ByteBuffer): void {
    const head = this.#declarations();
    into.unsigned(head.length + this.#code.length + 1);
    into.append(head.bytes);
    into.append(this.#code.bytes);
    into.byte(0x0b);
  }

  /** The declarations of the locals, in runs of one type. */
  #declarations(): ByteBuffer {
    const head = new ByteBuffer();
    const declared = this.#locals.slice(this.signature.params.length);
    const runs: [number, ValueType][] = [];
    for (const type of declared) {
      if (runs.at(-1)?.[1] === type) runs[runs.length - 1][0]++;
      else runs.push([1, type]);
    }
    head.unsigned(runs.length);
    for (const [count, type] of runs) {
      head.unsigned(count);
      head.byte(type);
    }
    return head;
  }

  /** A plain instruction as a value; the operations by type are made of it. */
  instruction(opcode: number, result: ValueType, a: Value, b: Value | -1 = -1): Value {
    return this.#simpler(opcode, a, b) ?? this.#node(opcode, result, a, b);
  }

  // ------------------------------------------------------------ inside

  /** What needs no instruction, or a simpler one: sums with zero, and bits that only change their type. */
  #simpler(opcode: number, a: Value, b: Value | -1): Value | undefined {
    switch (opcode) {
      case BINARY.i64.add:
        if (this.#isZero(a)) return b as Value;
        return this.#isZero(b) ? a : this.#simplerSum(a, b as Value);
      case BINARY.i64.xor:
        return this.#simplerXor(a, b as Value);
      case BINARY.i64.and:
        if (this.#form[a] !== FORM.const || this.#form[b] !== FORM.const) return undefined;
        return this.#node(FORM.const, TYPE.i64, this.#a[a] & this.#a[b], this.#b[a] & this.#b[b]);
      case UNARY.i64.reinterpret[1]:
        if (this.#form[a] === UNARY.f64.reinterpret[1]) return this.#a[a] as Value;
        return this.#form[a] === FORM.load ? this.#load(TYPE.i64, "i64", this.#a[a] as I32, this.#b[a]) : undefined;
      case UNARY.f64.reinterpret[1]:
        return this.#asDouble(a);
    }
  }

  /** (a + c) + d = a + (c + d) */
  #simplerSum(sum: Value, d: Value): Value | undefined {
    const c = this.#b[sum];
    if (this.#form[d] !== FORM.const || this.#form[sum] !== BINARY.i64.add || this.#form[c] !== FORM.const) return;
    const low = (this.#a[c] >>> 0) + (this.#a[d] >>> 0);
    const high = this.#b[c] + this.#b[d] + Number(low > 0xffffffff) | 0;
    return this.i64.add(this.#a[sum] as I64, this.#node(FORM.const, TYPE.i64, low | 0, high));
  }

  #simplerXor(a: Value, b: Value): Value | undefined {
    if (this.#isZero(b)) return a;
    if (this.#isSame(a, b)) return this.const64(0);
    const form = this.#form[b];
    if (form !== BINARY.i64.xor && form !== BINARY.i64.and || !this.#isSame(a, this.#a[b] as Value)) return undefined;
    const other = this.#b[b] as Value;
    if (form === BINARY.i64.xor) return other; // a ⊕ (a ⊕ c) = c
    if (this.#form[other] !== FORM.const) return undefined;
    // a ⊕ (a ∧ c) = a ∧ ¬c
    return this.i64.and(a as I64, this.#node(FORM.const, TYPE.i64, ~this.#a[other], ~this.#b[other]));
  }

  /** A double of these bits that needs no move between kinds of registers. */
  #asDouble(bits: Value): Value | undefined {
    const [form, a, b] = [this.#form[bits], this.#a[bits] as Value, this.#b[bits] as Value];
    if (form === UNARY.i64.reinterpret[1]) return a;
    if (form === FORM.load && this.#c[bits] === (LOAD.i64[0] << 8 | LOAD.i64[1])) {
      return this.#load(TYPE.f64, "f64", a as I32, this.#b[bits]);
    }
    if (form !== BINARY.i64.xor && form !== BINARY.i64.and) return undefined;
    if (this.#form[a] !== UNARY.i64.reinterpret[1] || this.#form[b] !== FORM.const) return undefined;
    const double = this.#a[a] as F64;
    const [low, high] = [this.#a[b], this.#b[b]];
    if (form === BINARY.i64.xor) return low === 0 && high === 1 << 31 ? this.f64.neg(double) : undefined;
    return low === -1 && high === 0x7fffffff ? this.f64.abs(double) : undefined;
  }

  #isZero(value: number): boolean {
    return this.#form[value] === FORM.const && this.#a[value] === 0 && this.#b[value] === 0;
  }

  /** Whether two values are the same register's, or equal constants. */
  #isSame(a: Value, b: Value): boolean {
    if (a === b) return true;
    const form = this.#form[a];
    if (form !== this.#form[b]) return false;
    if (form === UNARY.i64.reinterpret[1]) return this.#isSame(this.#a[a] as Value, this.#a[b] as Value);
    if (form === FORM.const) return this.#a[a] === this.#a[b] && this.#b[a] === this.#b[b];
    return form === FORM.local && this.#a[a] === this.#a[b];
  }

  #open(opcode: number): Label {
    this.#code.byte(opcode);
    this.#code.byte(0x40);
    return ++this.#depth;
  }

  #load(type: ValueType, how: keyof typeof LOAD, address: I32, offset: number): Value {
    const [opcode, align] = LOAD[how];
    return this.#node(FORM.load, type, address, offset, opcode << 8 | align);
  }

  #node(form: number, type: ValueType, a: number, b = -1, c = -1): never {
    if (this.#count === this.#form.length) this.#grow();
    const index = this.#count++;
    this.#form[index] = form;
    this.#type[index] = type;
    this.#a[index] = a;
    this.#b[index] = b;
    this.#c[index] = c;
    return index as never;
  }

  #grow(): void {
    const twice = (old: Int32Array<ArrayBuffer>) => {
      const grown = new Int32Array(old.length * 2);
      grown.set(old);
      return grown;
    };
    this.#form = twice(this.#form);
    this.#a = twice(this.#a);
    this.#b = twice(this.#b);
    this.#c = twice(this.#c);
    const types = new Uint8Array(this.#type.length * 2);
    types.set(this.#type);
    this.#type = types;
  }

  /** Emits the condition of the branch instruction that follows. */
  #emitCondition(value: number): void {
    if (this.#form[value] !== FORM.hint) return this.#emit(value);
    this.#emit(this.#a[value]);
    this.#hints.push({ offset: this.#code.length, likely: this.#b[value] === 1 });
  }

  #emit(value: number): void {
    const code = this.#code;
    const form = this.#form[value];
    const a = this.#a[value];
    const b = this.#b[value];
    switch (form) {
      case FORM.const:
        return this.#emitConst(this.#type[value], a, b);
      case FORM.hint:
        return this.#emit(a);
      case FORM.local:
        return this.#emitGet(a);
      case FORM.load:
        this.#emit(a);
        code.byte(this.#c[value] >> 8);
        code.unsigned(this.#c[value] & 0xff);
        return code.unsigned(b);
      case FORM.select:
        this.#emit(a);
        this.#emit(b);
        this.#emit(this.#c[value]);
        return code.byte(0x1b);
    }
    this.#emit(a);
    if (b >= 0) this.#emit(b);
    if (this.#c[value] >= 0) this.#emit(this.#c[value]);
    if (form > 0xffff) { // relaxed SIMD: a two-byte LEB opcode
      code.byte(form >> 16);
      code.byte(form >> 8 & 0xff);
      code.byte(form & 0xff);
    } else if (form > 0xff) {
      code.byte(form >> 8);
      code.byte(form & 0xff);
      if (form === UNARY.f64.lane0[1]) code.byte(0);
    } else {
      code.byte(form);
    }
  }

  #emitSet(local: Local): void {
    const code = this.#code;
    this.#setAt = code.length;
    code.byte(0x21);
    code.unsigned(local);
    this.#setEnd = code.length;
    this.#setLocal = local;
  }

  #emitGet(local: number): void {
    const code = this.#code;
    if (local === this.#setLocal && code.length === this.#setEnd) {
      code.patch(this.#setAt, 0x22); // local.tee
      this.#setEnd = -1;
    } else {
      code.byte(0x20);
      code.unsigned(local);
    }
  }

  #emitConst(type: number, low: number, high: number): void {
    const code = this.#code;
    if (type === TYPE.i32) {
      code.byte(0x41);
      code.signed(low);
    } else if (type === TYPE.i64) {
      code.byte(0x42);
      code.signed64(low, high);
    } else {
      code.byte(0x44);
      for (const half of [low, high]) for (let i = 0; i < 32; i += 8) code.byte(half >> i & 0xff);
    }
  }
}

/** The classes of the operations by type: their methods are made once, from the tables of opcodes. */
const OPERATIONS = Object.fromEntries((Object.keys(UNARY) as (keyof TypeOf)[]).map((type) => {
  class OperationsOfType {
    constructor(readonly f: FunctionBuilder) {}
  }
  const methods = OperationsOfType.prototype as unknown as Record<string, unknown>;
  for (const [name, [, opcode]] of Object.entries(UNARY[type])) {
    methods[name] = function (this: OperationsOfType, a: Value) {
      return this.f.instruction(opcode, TYPE[type], a);
    };
  }
  const binary = type === "v128" ? [] : [
    ...Object.entries(BINARY[type]).map((row) => [...row, TYPE[type]] as const),
    ...Object.entries(COMPARE[type]).map((row) => [...row, TYPE.i32] as const),
  ];
  for (const [name, opcode, result] of binary) {
    methods[name] = function (this: OperationsOfType, a: Value, b: Value) {
      return this.f.instruction(opcode, result, a, b);
    };
  }
  return [type, OperationsOfType];
})) as Record<keyof TypeOf, new (f: FunctionBuilder) => unknown>;
