// RV64I, Zifencei and Zihintpause: the base instructions (unprivileged specification 20240411, chapters 2, 4, 5 and 6).

import type { Row } from "./row.ts";

export const I: readonly Row[] = [
  { name: "lui", bits: "imm[31:12] rd 0110111", run: (o) => o.setRd(o.imm) },
  { name: "auipc", bits: "imm[31:12] rd 0010111", run: (o) => o.setRd(o.add(o.pc, o.imm)) },
  {
    name: "jal",
    bits: "imm[20|10:1|11|19:12] rd 1101111",
    run: (o) => {
      o.setRd(o.next);
      o.branch();
    },
  },
  {
    name: "jalr",
    bits: "imm[11:0] rs1 000 rd 1100111",
    run: (o) => {
      const target = o.let(o.and(o.add(o.rs1, o.imm), o.constant(-2)));
      o.setRd(o.next);
      o.jump(target);
    },
  },

  { name: "beq", bits: "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", run: (o) => o.branch(o.eq(o.rs1, o.rs2)) },
  { name: "bne", bits: "imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011", run: (o) => o.branch(o.ne(o.rs1, o.rs2)) },
  { name: "blt", bits: "imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011", run: (o) => o.branch(o.lt(o.rs1, o.rs2)) },
  { name: "bge", bits: "imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011", run: (o) => o.branch(o.ge(o.rs1, o.rs2)) },
  { name: "bltu", bits: "imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011", run: (o) => o.branch(o.ltu(o.rs1, o.rs2)) },
  { name: "bgeu", bits: "imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011", run: (o) => o.branch(o.geu(o.rs1, o.rs2)) },

  { name: "lb", bits: "imm[11:0] rs1 000 rd 0000011", run: (o) => o.setRd(o.load(1, true, o.add(o.rs1, o.imm))) },
  { name: "lh", bits: "imm[11:0] rs1 001 rd 0000011", run: (o) => o.setRd(o.load(2, true, o.add(o.rs1, o.imm))) },
  { name: "lw", bits: "imm[11:0] rs1 010 rd 0000011", run: (o) => o.setRd(o.load(4, true, o.add(o.rs1, o.imm))) },
  { name: "ld", bits: "imm[11:0] rs1 011 rd 0000011", run: (o) => o.setRd(o.load(8, true, o.add(o.rs1, o.imm))) },
  { name: "lbu", bits: "imm[11:0] rs1 100 rd 0000011", run: (o) => o.setRd(o.load(1, false, o.add(o.rs1, o.imm))) },
  { name: "lhu", bits: "imm[11:0] rs1 101 rd 0000011", run: (o) => o.setRd(o.load(2, false, o.add(o.rs1, o.imm))) },
  { name: "lwu", bits: "imm[11:0] rs1 110 rd 0000011", run: (o) => o.setRd(o.load(4, false, o.add(o.rs1, o.imm))) },
  { name: "sb", bits: "imm[11:5] rs2 rs1 000 imm[4:0] 0100011", run: (o) => o.store(1, o.add(o.rs1, o.imm), o.rs2) },
  { name: "sh", bits: "imm[11:5] rs2 rs1 001 imm[4:0] 0100011", run: (o) => o.store(2, o.add(o.rs1, o.imm), o.rs2) },
  { name: "sw", bits: "imm[11:5] rs2 rs1 010 imm[4:0] 0100011", run: (o) => o.store(4, o.add(o.rs1, o.imm), o.rs2) },
  { name: "sd", bits: "imm[11:5] rs2 rs1 011 imm[4:0] 0100011", run: (o) => o.store(8, o.add(o.rs1, o.imm), o.rs2) },

  { name: "addi", bits: "imm[11:0] rs1 000 rd 0010011", run: (o) => o.setRd(o.add(o.rs1, o.imm)) },
  { name: "slti", bits: "imm[11:0] rs1 010 rd 0010011", run: (o) => o.setRd(o.bool(o.lt(o.rs1, o.imm))) },
  { name: "sltiu", bits: "imm[11:0] rs1 011 rd 0010011", run: (o) => o.setRd(o.bool(o.ltu(o.rs1, o.imm))) },
  { name: "xori", bits: "imm[11:0] rs1 100 rd 0010011", run: (o) => o.setRd(o.xor(o.rs1, o.imm)) },
  { name: "ori", bits: "imm[11:0] rs1 110 rd 0010011", run: (o) => o.setRd(o.or(o.rs1, o.imm)) },
  { name: "andi", bits: "imm[11:0] rs1 111 rd 0010011", run: (o) => o.setRd(o.and(o.rs1, o.imm)) },
  { name: "slli", bits: "000000 uimm[5:0] rs1 001 rd 0010011", run: (o) => o.setRd(o.shl(o.rs1, o.imm)) },
  { name: "srli", bits: "000000 uimm[5:0] rs1 101 rd 0010011", run: (o) => o.setRd(o.shr(o.rs1, o.imm)) },
  { name: "srai", bits: "010000 uimm[5:0] rs1 101 rd 0010011", run: (o) => o.setRd(o.sar(o.rs1, o.imm)) },

  { name: "add", bits: "0000000 rs2 rs1 000 rd 0110011", run: (o) => o.setRd(o.add(o.rs1, o.rs2)) },
  { name: "sub", bits: "0100000 rs2 rs1 000 rd 0110011", run: (o) => o.setRd(o.sub(o.rs1, o.rs2)) },
  { name: "sll", bits: "0000000 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.shl(o.rs1, o.rs2)) },
  { name: "slt", bits: "0000000 rs2 rs1 010 rd 0110011", run: (o) => o.setRd(o.bool(o.lt(o.rs1, o.rs2))) },
  { name: "sltu", bits: "0000000 rs2 rs1 011 rd 0110011", run: (o) => o.setRd(o.bool(o.ltu(o.rs1, o.rs2))) },
  { name: "xor", bits: "0000000 rs2 rs1 100 rd 0110011", run: (o) => o.setRd(o.xor(o.rs1, o.rs2)) },
  { name: "srl", bits: "0000000 rs2 rs1 101 rd 0110011", run: (o) => o.setRd(o.shr(o.rs1, o.rs2)) },
  { name: "sra", bits: "0100000 rs2 rs1 101 rd 0110011", run: (o) => o.setRd(o.sar(o.rs1, o.rs2)) },
  { name: "or", bits: "0000000 rs2 rs1 110 rd 0110011", run: (o) => o.setRd(o.or(o.rs1, o.rs2)) },
  { name: "and", bits: "0000000 rs2 rs1 111 rd 0110011", run: (o) => o.setRd(o.and(o.rs1, o.rs2)) },

  { name: "addiw", bits: "imm[11:0] rs1 000 rd 0011011", run: (o) => o.setRd(o.sext32(o.add(o.rs1, o.imm))) },
  { name: "slliw", bits: "0000000 uimm[4:0] rs1 001 rd 0011011", run: (o) => o.setRd(o.sext32(o.shl(o.rs1, o.imm))) },
  {
    name: "srliw",
    bits: "0000000 uimm[4:0] rs1 101 rd 0011011",
    run: (o) => o.setRd(o.sext32(o.shr(o.zext32(o.rs1), o.imm))),
  },
  {
    name: "sraiw",
    bits: "0100000 uimm[4:0] rs1 101 rd 0011011",
    run: (o) => o.setRd(o.sar(o.sext32(o.rs1), o.imm)),
  },
  { name: "addw", bits: "0000000 rs2 rs1 000 rd 0111011", run: (o) => o.setRd(o.sext32(o.add(o.rs1, o.rs2))) },
  { name: "subw", bits: "0100000 rs2 rs1 000 rd 0111011", run: (o) => o.setRd(o.sext32(o.sub(o.rs1, o.rs2))) },
  {
    name: "sllw",
    bits: "0000000 rs2 rs1 001 rd 0111011",
    run: (o) => o.setRd(o.sext32(o.shl(o.rs1, o.and(o.rs2, o.constant(31))))),
  },
  {
    name: "srlw",
    bits: "0000000 rs2 rs1 101 rd 0111011",
    run: (o) => o.setRd(o.sext32(o.shr(o.zext32(o.rs1), o.and(o.rs2, o.constant(31))))),
  },
  {
    name: "sraw",
    bits: "0100000 rs2 rs1 101 rd 0111011",
    run: (o) => o.setRd(o.sar(o.sext32(o.rs1), o.and(o.rs2, o.constant(31)))),
  },

  // Of the fence's operands only the rare `pause` (pred = W, all else zero) has an encoding of its own.
  { name: "pause", bits: "000000010000 00000 000 00000 0001111", run: (o) => o.system("pause") },
  { name: "fence", bits: "imm[11:0] rs1 000 rd 0001111", run: (o) => o.fence() },
  { name: "fence.i", bits: "imm[11:0] rs1 001 rd 0001111", run: (o) => o.system("fence.i") },
];
