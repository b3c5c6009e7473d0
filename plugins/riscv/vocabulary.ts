// The abstract vocabulary in which an instruction's meaning is written, once for every implementation.

import type { FpOp } from "./softfloat.ts";

/** Bytes of a memory access. */
export type AccessSize = 1 | 2 | 4 | 8;

/** Read-modify-write functions (A extension). */
export type AmoFunction = "swap" | "add" | "xor" | "and" | "or" | "min" | "max" | "minu" | "maxu";

/** Instructions that act on the whole hart; the privileged architecture implements them. */
export type SystemCall =
  | "csrrw"
  | "csrrs"
  | "csrrc"
  | "csrrwi"
  | "csrrsi"
  | "csrrci"
  | "ecall"
  | "ebreak"
  | "mret"
  | "sret"
  | "wfi"
  | "pause"
  | "sfence.vma"
  | "sfence.inval"
  | "fence.i"
  | "illegal";

/**
 * What a row may say. `X` is a 64-bit integer, `C` a condition. Values are pure; statements (`set…`, `load`, `store`,
 * `branch`, …) happen in the order written. An operand that is read after the row changed a register must be held
 * by `let` first, and so must a value that is used twice.
 */
export interface Vocabulary<X, C> {
  // ---- operands
  readonly rs1: X;
  readonly rs2: X;
  /** The immediate, sign-extended. */
  readonly imm: X;
  /** The address of this instruction. */
  readonly pc: X;
  /** The address of the next instruction in memory. */
  readonly next: X;
  constant(value: bigint | number): X;
  let(value: X): X;

  // ---- integers of 64 bits
  add(a: X, b: X): X;
  sub(a: X, b: X): X;
  mul(a: X, b: X): X;
  /** The upper half of the product: signed × signed, unsigned × unsigned, signed × unsigned. */
  mulh(a: X, b: X): X;
  mulhu(a: X, b: X): X;
  mulhsu(a: X, b: X): X;
  /** Division as the M extension defines it, division by zero and overflow included. */
  div(a: X, b: X): X;
  divu(a: X, b: X): X;
  rem(a: X, b: X): X;
  remu(a: X, b: X): X;
  and(a: X, b: X): X;
  or(a: X, b: X): X;
  xor(a: X, b: X): X;
  not(a: X): X;
  /** Shifts and rotations by `b` modulo 64. */
  shl(a: X, b: X): X;
  shr(a: X, b: X): X;
  sar(a: X, b: X): X;
  rotl(a: X, b: X): X;
  rotr(a: X, b: X): X;
  /** Leading and trailing zeroes (64 for zero), and bits set. */
  clz(a: X): X;
  ctz(a: X): X;
  popcnt(a: X): X;
  sext8(a: X): X;
  sext16(a: X): X;
  sext32(a: X): X;
  zext32(a: X): X;
  /** The low, and the high, 64 bits of the carry-less product. */
  clmul(a: X, b: X): X;
  clmulh(a: X, b: X): X;

  // ---- conditions
  eq(a: X, b: X): C;
  ne(a: X, b: X): C;
  lt(a: X, b: X): C;
  ltu(a: X, b: X): C;
  ge(a: X, b: X): C;
  geu(a: X, b: X): C;
  /** 1 or 0. */
  bool(c: C): X;
  select(c: C, a: X, b: X): X;

  // ---- statements
  setRd(value: X): void;
  /** Loads at a virtual address; traps, exactly, where it must. */
  load(size: AccessSize, signed: boolean, address: X): X;
  store(size: AccessSize, address: X, value: X): void;
  /** Goes to pc + imm if the condition holds; without one, always. */
  branch(c?: C): void;
  /** Goes to an address. */
  jump(target: X): void;
  loadReserved(size: 4 | 8, address: X): X;
  /** 0 if the store was done, else 1. */
  storeConditional(size: 4 | 8, address: X, value: X): X;
  /** Applies the function to memory and `operand`; gives what was in memory, sign-extended. */
  amo(fn: AmoFunction, size: 4 | 8, address: X, operand: X): X;
  /** Orders memory; a matter of the host for harts that run in turn. */
  fence(): void;
  system(call: SystemCall): void;

  // ---- floating point; values are bit patterns
  readonly fs1: X;
  readonly fs2: X;
  readonly fs3: X;
  setFd(value: X): void;
  /** The single in a NaN-boxed register: its 32 bits, or the canonical NaN if it is not boxed. */
  unbox(value: X): X;
  box(value: X): X;
  /** Computes with the instruction's rounding mode, and accumulates the flags. */
  fp(op: FpOp, a: X, b?: X, c?: X): X;
}

/** An instruction's meaning. */
export type Meaning = <X, C>(o: Vocabulary<X, C>) => void;
