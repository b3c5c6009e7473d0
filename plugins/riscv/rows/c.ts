// The C extension for RV64GC: each compressed instruction and what it stands for (unprivileged specification 20240411, chapter 27).

import type { CompressedRow } from "./row.ts";

const SP = 2;

export const C: readonly CompressedRow[] = [
  // quadrant 0
  {
    name: "c.addi4spn",
    bits: "000 uimm[5:4|9:6|2|3] rd' 00",
    is: "addi",
    with: { rs1: SP },
    unless: (f) => f.imm === 0,
  },
  { name: "c.fld", bits: "001 uimm[5:3] rs1' uimm[7:6] fd' 00", is: "fld" },
  { name: "c.lw", bits: "010 uimm[5:3] rs1' uimm[2|6] rd' 00", is: "lw" },
  { name: "c.ld", bits: "011 uimm[5:3] rs1' uimm[7:6] rd' 00", is: "ld" },
  { name: "c.fsd", bits: "101 uimm[5:3] rs1' uimm[7:6] fs2' 00", is: "fsd" },
  { name: "c.sw", bits: "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", is: "sw" },
  { name: "c.sd", bits: "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", is: "sd" },

  // quadrant 1
  { name: "c.addi", bits: "000 imm[5] rd imm[4:0] 01", is: "addi", with: { rs1: "rd" } },
  { name: "c.addiw", bits: "001 imm[5] rd imm[4:0] 01", is: "addiw", with: { rs1: "rd" }, unless: (f) => f.rd === 0 },
  { name: "c.li", bits: "010 imm[5] rd imm[4:0] 01", is: "addi", with: { rs1: 0 } },
  {
    name: "c.addi16sp",
    bits: "011 imm[9] 00010 imm[4|6|8:7|5] 01",
    is: "addi",
    with: { rd: SP, rs1: SP },
    unless: (f) => f.imm === 0,
  },
  {
    name: "c.lui",
    bits: "011 imm[17] rd imm[16:12] 01",
    is: "lui",
    unless: (f) => f.rd === SP || f.imm === 0,
  },
  { name: "c.srli", bits: "100 uimm[5] 00 rd' uimm[4:0] 01", is: "srli", with: { rs1: "rd" } },
  { name: "c.srai", bits: "100 uimm[5] 01 rd' uimm[4:0] 01", is: "srai", with: { rs1: "rd" } },
  { name: "c.andi", bits: "100 imm[5] 10 rd' imm[4:0] 01", is: "andi", with: { rs1: "rd" } },
  { name: "c.sub", bits: "100 0 11 rd' 00 rs2' 01", is: "sub", with: { rs1: "rd" } },
  { name: "c.xor", bits: "100 0 11 rd' 01 rs2' 01", is: "xor", with: { rs1: "rd" } },
  { name: "c.or", bits: "100 0 11 rd' 10 rs2' 01", is: "or", with: { rs1: "rd" } },
  { name: "c.and", bits: "100 0 11 rd' 11 rs2' 01", is: "and", with: { rs1: "rd" } },
  { name: "c.subw", bits: "100 1 11 rd' 00 rs2' 01", is: "subw", with: { rs1: "rd" } },
  { name: "c.addw", bits: "100 1 11 rd' 01 rs2' 01", is: "addw", with: { rs1: "rd" } },
  { name: "c.j", bits: "101 imm[11|4|9:8|10|6|7|3:1|5] 01", is: "jal", with: { rd: 0 } },
  { name: "c.beqz", bits: "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", is: "beq", with: { rs2: 0 } },
  { name: "c.bnez", bits: "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", is: "bne", with: { rs2: 0 } },

  // quadrant 2
  { name: "c.slli", bits: "000 uimm[5] rd uimm[4:0] 10", is: "slli", with: { rs1: "rd" } },
  { name: "c.fldsp", bits: "001 uimm[5] fd uimm[4:3|8:6] 10", is: "fld", with: { rs1: SP } },
  { name: "c.lwsp", bits: "010 uimm[5] rd uimm[4:2|7:6] 10", is: "lw", with: { rs1: SP }, unless: (f) => f.rd === 0 },
  { name: "c.ldsp", bits: "011 uimm[5] rd uimm[4:3|8:6] 10", is: "ld", with: { rs1: SP }, unless: (f) => f.rd === 0 },
  { name: "c.jr", bits: "100 0 rs1 00000 10", is: "jalr", with: { rd: 0, imm: 0 }, unless: (f) => f.rs1 === 0 },
  { name: "c.mv", bits: "100 0 rd rs2 10", is: "add", with: { rs1: 0 }, unless: (f) => f.rs2 === 0 },
  { name: "c.ebreak", bits: "100 1 00000 00000 10", is: "ebreak" },
  { name: "c.jalr", bits: "100 1 rs1 00000 10", is: "jalr", with: { rd: 1, imm: 0 }, unless: (f) => f.rs1 === 0 },
  { name: "c.add", bits: "100 1 rd rs2 10", is: "add", with: { rs1: "rd" }, unless: (f) => f.rs2 === 0 },
  { name: "c.fsdsp", bits: "101 uimm[5:3|8:6] fs2 10", is: "fsd", with: { rs1: SP } },
  { name: "c.swsp", bits: "110 uimm[5:2|7:6] rs2 10", is: "sw", with: { rs1: SP } },
  { name: "c.sdsp", bits: "111 uimm[5:3|8:6] rs2 10", is: "sd", with: { rs1: SP } },
];
