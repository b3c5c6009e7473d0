// The M extension: multiplication and division (unprivileged specification 20240411, chapter 13).

import type { Row } from "./row.ts";

export const M: readonly Row[] = [
  { name: "mul", bits: "0000001 rs2 rs1 000 rd 0110011", run: (o) => o.setRd(o.mul(o.rs1, o.rs2)) },
  { name: "mulh", bits: "0000001 rs2 rs1 001 rd 0110011", run: (o) => o.setRd(o.mulh(o.rs1, o.rs2)) },
  { name: "mulhsu", bits: "0000001 rs2 rs1 010 rd 0110011", run: (o) => o.setRd(o.mulhsu(o.rs1, o.rs2)) },
  { name: "mulhu", bits: "0000001 rs2 rs1 011 rd 0110011", run: (o) => o.setRd(o.mulhu(o.rs1, o.rs2)) },
  { name: "div", bits: "0000001 rs2 rs1 100 rd 0110011", run: (o) => o.setRd(o.div(o.rs1, o.rs2)) },
  { name: "divu", bits: "0000001 rs2 rs1 101 rd 0110011", run: (o) => o.setRd(o.divu(o.rs1, o.rs2)) },
  { name: "rem", bits: "0000001 rs2 rs1 110 rd 0110011", run: (o) => o.setRd(o.rem(o.rs1, o.rs2)) },
  { name: "remu", bits: "0000001 rs2 rs1 111 rd 0110011", run: (o) => o.setRd(o.remu(o.rs1, o.rs2)) },
  { name: "mulw", bits: "0000001 rs2 rs1 000 rd 0111011", run: (o) => o.setRd(o.sext32(o.mul(o.rs1, o.rs2))) },
  {
    name: "divw",
    bits: "0000001 rs2 rs1 100 rd 0111011",
    run: (o) => o.setRd(o.sext32(o.div(o.sext32(o.rs1), o.sext32(o.rs2)))),
  },
  {
    name: "divuw",
    bits: "0000001 rs2 rs1 101 rd 0111011",
    run: (o) => o.setRd(o.sext32(o.divu(o.zext32(o.rs1), o.zext32(o.rs2)))),
  },
  {
    name: "remw",
    bits: "0000001 rs2 rs1 110 rd 0111011",
    run: (o) => o.setRd(o.sext32(o.rem(o.sext32(o.rs1), o.sext32(o.rs2)))),
  },
  {
    name: "remuw",
    bits: "0000001 rs2 rs1 111 rd 0111011",
    run: (o) => o.setRd(o.sext32(o.remu(o.zext32(o.rs1), o.zext32(o.rs2)))),
  },
];
