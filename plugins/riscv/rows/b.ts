// Zba, Zbb, Zbc, Zbs and Zicond: bit manipulation, conditional zeroing (unprivileged specification 20240411, chapters 12 and 28).

import type { Vocabulary } from "../vocabulary.ts";
import type { Row } from "./row.ts";

/** `rs2 + (rs1 << shift)`, the address arithmetic of Zba. */
const shadd = <X, C>(o: Vocabulary<X, C>, a: X, shift: number): X => o.add(o.rs2, o.shl(a, o.constant(shift)));

/** The bit that Zbs names. */
const bit = <X, C>(o: Vocabulary<X, C>, index: X): X => o.shl(o.constant(1), index);

/** All ones in each byte that is not zero. */
function orcb<X, C>(o: Vocabulary<X, C>, value: X): X {
  // Gather each byte's bits into its lowest, then spread that bit over the byte.
  let any = value;
  for (const step of [4, 2, 1]) any = o.let(o.or(any, o.shr(any, o.constant(step))));
  return o.mul(o.and(any, o.constant(0x0101010101010101n)), o.constant(0xff));
}

/** The bytes in reverse order. */
function rev8<X, C>(o: Vocabulary<X, C>, value: X): X {
  const swap = (v: X, step: number, mask: bigint): X => {
    const held = o.let(v);
    return o.or(
      o.shl(o.and(held, o.constant(mask)), o.constant(step)),
      o.and(o.shr(held, o.constant(step)), o.constant(mask)),
    );
  };
  return o.rotl(swap(swap(value, 8, 0x00ff00ff00ff00ffn), 16, 0x0000ffff0000ffffn), o.constant(32));
}

export const ZBA: readonly Row[] = [
  { name: "sh1add", bits: "0010000 rs2 rs1 010 rd 0110011", run: (o) => o.setRd(shadd(o, o.rs1, 1)) },
  { name: "sh2add", bits: "0010000 rs2 rs1 100 rd 0110011", run: (o) => o.setRd(shadd(o, o.rs1, 2)) },
  { name: "sh3add", bits: "0010000 rs2 rs1 110 rd 0110011", run: (o) => o.setRd(shadd(o, o.rs1, 3)) },
  { name: "add.uw", bits: "0000100 rs2 rs1 000 rd 0111011", run: (o) => o.setRd(shadd(o, o.zext32(o.rs1), 0)) },
  { name: "sh1add.uw", bits: "0010000 rs2 rs1 010 rd 0111011", run: (o) => o.setRd(shadd(o, o.zext32(o.rs1), 1)) },
  { name: "sh2add.uw", bits: "0010000 rs2 rs1 100 rd 0111011", run: (o) => o.setRd(shadd(o, o.zext32(o.rs1), 2)) },
  { name: "sh3add.uw", bits: "0010000 rs2 rs1 110 rd 0111011", run: (o) => o.setRd(shadd(o, o.zext32(o.rs1), 3)) },
  {
    name: "slli.uw",
    bits: "000010 uimm[5:0] rs1 001 rd 0011011",
    run: (o) => o.setRd(o.shl(o.zext32(o.rs1), o.imm)),
  },
];

export const ZBB: readonly Row[] = [
  { name: "andn", bits: "0100000 rs2 rs1 111 rd 0110011", run: (o) => o.setRd(o.and(o.rs1, o.not(o.rs2))) },
  { name: "orn", bits: "0100000 rs2 rs1 110 rd 0110011", run: (o) => o.setRd(o.or(o.rs1, o.not(o.rs2))) },
  { name: "xnor", bits: "0100000 rs2 rs1 100 rd 0110011", run: (o) => o.setRd(o.not(o.xor(o.rs1, o.rs2))) },
  { name: "clz", bits: "011000000000 rs1 001 rd 0010011", run: (o) => o.setRd(o.clz(o.rs1)) },
  { name: "ctz", bits: "011000000001 rs1 001 rd 0010011", run: (o) => o.setRd(o.ctz(o.rs1)) },
  { name: "cpop", bits: "011000000010 rs1 001 rd 0010011", run: (o) => o.setRd(o.popcnt(o.rs1)) },
  {
    name: "clzw",
    bits: "011000000000 rs1 001 rd 0011011",
    run: (o) => o.setRd(o.sub(o.clz(o.zext32(o.rs1)), o.constant(32))),
  },
  {
    name: "ctzw",
    bits: "011000000001 rs1 001 rd 0011011",
    run: (o) => o.setRd(o.ctz(o.or(o.rs1, o.constant(0x100000000n)))),
  },
  { name: "cpopw", bits: "011000000010 rs1 001 rd 0011011", run: (o) => o.setRd(o.popcnt(o.zext32(o.rs1))) },
  { name: "sext.b", bits: "011000000100 rs1 001 rd 0010011", run: (o) => o.setRd(o.sext8(o.rs1)) },
  { name: "sext.h", bits: "011000000101 rs1 001 rd 0010011", run: (o) => o.setRd(o.sext16(o.rs1)) },
  {
    name: "zext.h",
    bits: "0000100 00000 rs1 100 rd 0111011",
    run: (o) => o.setRd(o.and(o.rs1, o.constant(0xffff))),
  },
  {
    name: "max",
    bits: "0000101 rs2 rs1 110 rd 0110011",
    run: (o) => o.setRd(o.select(o.lt(o.rs1, o.rs2), o.rs2, o.rs1)),
  },
  {
    name: "maxu",
    bits: "0000101 rs2 rs1 111 rd 0110011",
    run: (o) => o.setRd(o.select(o.ltu(o.rs1, o.rs2), o.rs2, o.rs1)),
  },
  {
    name: "min",
    bits: "0000101 rs2 rs1 100 rd 0110011",
    run: (o) => o.setRd(o.select(o.lt(o.rs1, o.rs2), o.rs1, o.rs2)),
  },
  {
    name: "minu",
    bits: "0000101 rs2 rs1 101 rd 0110011",
    run: (o) => o.setRd(o.select(o.ltu(o.rs1, o.rs2), o.rs1, o.rs2)),
  },
  { name: "rol", bits: "0110000 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.rotl(o.rs1, o.rs2)) },
  { name: "ror", bits: "0110000 rs2 rs1 101 rd 0110011", run: (o) => o.setRd(o.rotr(o.rs1, o.rs2)) },
  { name: "rori", bits: "011000 uimm[5:0] rs1 101 rd 0010011", run: (o) => o.setRd(o.rotr(o.rs1, o.imm)) },
  { name: "rolw", bits: "0110000 rs2 rs1 001 rd 0111011", run: (o) => o.setRd(rotateWord(o, false, o.rs2)) },
  { name: "rorw", bits: "0110000 rs2 rs1 101 rd 0111011", run: (o) => o.setRd(rotateWord(o, true, o.rs2)) },
  { name: "roriw", bits: "0110000 uimm[4:0] rs1 101 rd 0011011", run: (o) => o.setRd(rotateWord(o, true, o.imm)) },
  { name: "orc.b", bits: "001010000111 rs1 101 rd 0010011", run: (o) => o.setRd(orcb(o, o.rs1)) },
  { name: "rev8", bits: "011010111000 rs1 101 rd 0010011", run: (o) => o.setRd(rev8(o, o.rs1)) },
];

/** A word rotates like a doubleword that holds it twice. */
function rotateWord<X, C>(o: Vocabulary<X, C>, right: boolean, amount: X): X {
  const word = o.let(o.zext32(o.rs1));
  const twice = o.or(word, o.shl(word, o.constant(32)));
  const by = o.and(amount, o.constant(31));
  return o.sext32(right ? o.rotr(twice, by) : o.rotl(twice, by));
}

export const ZBC: readonly Row[] = [
  { name: "clmul", bits: "0000101 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.clmul(o.rs1, o.rs2)) },
  { name: "clmulh", bits: "0000101 rs2 rs1 011 rd 0110011", run: (o) => o.setRd(o.clmulh(o.rs1, o.rs2)) },
  {
    name: "clmulr",
    bits: "0000101 rs2 rs1 010 rd 0110011",
    run: (o) => {
      const high = o.shl(o.clmulh(o.rs1, o.rs2), o.constant(1));
      o.setRd(o.or(high, o.shr(o.clmul(o.rs1, o.rs2), o.constant(63))));
    },
  },
];

const one = <X, C>(o: Vocabulary<X, C>): X => o.constant(1);

export const ZBS: readonly Row[] = [
  { name: "bclr", bits: "0100100 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.and(o.rs1, o.not(bit(o, o.rs2)))) },
  {
    name: "bclri",
    bits: "010010 uimm[5:0] rs1 001 rd 0010011",
    run: (o) => o.setRd(o.and(o.rs1, o.not(bit(o, o.imm)))),
  },
  { name: "bext", bits: "0100100 rs2 rs1 101 rd 0110011", run: (o) => o.setRd(o.and(o.shr(o.rs1, o.rs2), one(o))) },
  {
    name: "bexti",
    bits: "010010 uimm[5:0] rs1 101 rd 0010011",
    run: (o) => o.setRd(o.and(o.shr(o.rs1, o.imm), one(o))),
  },
  { name: "binv", bits: "0110100 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.xor(o.rs1, bit(o, o.rs2))) },
  { name: "binvi", bits: "011010 uimm[5:0] rs1 001 rd 0010011", run: (o) => o.setRd(o.xor(o.rs1, bit(o, o.imm))) },
  { name: "bset", bits: "0010100 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.or(o.rs1, bit(o, o.rs2))) },
  { name: "bseti", bits: "001010 uimm[5:0] rs1 001 rd 0010011", run: (o) => o.setRd(o.or(o.rs1, bit(o, o.imm))) },
];

export const ZICOND: readonly Row[] = [
  {
    name: "czero.eqz",
    bits: "0000111 rs2 rs1 101 rd 0110011",
    run: (o) => o.setRd(o.select(o.eq(o.rs2, o.constant(0)), o.constant(0), o.rs1)),
  },
  {
    name: "czero.nez",
    bits: "0000111 rs2 rs1 111 rd 0110011",
    run: (o) => o.setRd(o.select(o.ne(o.rs2, o.constant(0)), o.constant(0), o.rs1)),
  },
];
