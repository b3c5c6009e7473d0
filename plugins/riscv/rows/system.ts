// Zicsr, the privileged instructions and Svinval (unprivileged chapter 7; privileged specification 20240411, chapters 3.3, 10.2 and 13).

import type { Row } from "./row.ts";

export const SYSTEM: readonly Row[] = [
  { name: "csrrw", bits: "csr rs1 001 rd 1110011", run: (o) => o.system("csrrw") },
  { name: "csrrs", bits: "csr rs1 010 rd 1110011", run: (o) => o.system("csrrs") },
  { name: "csrrc", bits: "csr rs1 011 rd 1110011", run: (o) => o.system("csrrc") },
  { name: "csrrwi", bits: "csr rs1 101 rd 1110011", run: (o) => o.system("csrrwi") },
  { name: "csrrsi", bits: "csr rs1 110 rd 1110011", run: (o) => o.system("csrrsi") },
  { name: "csrrci", bits: "csr rs1 111 rd 1110011", run: (o) => o.system("csrrci") },

  { name: "ecall", bits: "000000000000 00000 000 00000 1110011", run: (o) => o.system("ecall") },
  { name: "ebreak", bits: "000000000001 00000 000 00000 1110011", run: (o) => o.system("ebreak") },
  { name: "sret", bits: "000100000010 00000 000 00000 1110011", run: (o) => o.system("sret") },
  { name: "mret", bits: "001100000010 00000 000 00000 1110011", run: (o) => o.system("mret") },
  { name: "wfi", bits: "000100000101 00000 000 00000 1110011", run: (o) => o.system("wfi") },
  { name: "sfence.vma", bits: "0001001 rs2 rs1 000 00000 1110011", run: (o) => o.system("sfence.vma") },
  { name: "sinval.vma", bits: "0001011 rs2 rs1 000 00000 1110011", run: (o) => o.system("sfence.vma") },
  { name: "sfence.w.inval", bits: "000110000000 00000 000 00000 1110011", run: (o) => o.system("sfence.inval") },
  { name: "sfence.inval.ir", bits: "000110000001 00000 000 00000 1110011", run: (o) => o.system("sfence.inval") },
];
