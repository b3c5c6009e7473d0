// The A extension: atomic memory operations (unprivileged specification 20240411, chapter 14).

import type { AmoFunction } from "../vocabulary.ts";
import type { Row } from "./row.ts";

const amo = (name: string, funct5: string, fn: AmoFunction): Row[] => [
  {
    name: `${name}.w`,
    bits: `${funct5} aq rl rs2 rs1 010 rd 0101111`,
    run: (o) => o.setRd(o.amo(fn, 4, o.rs1, o.rs2)),
  },
  {
    name: `${name}.d`,
    bits: `${funct5} aq rl rs2 rs1 011 rd 0101111`,
    run: (o) => o.setRd(o.amo(fn, 8, o.rs1, o.rs2)),
  },
];

export const A: readonly Row[] = [
  { name: "lr.w", bits: "00010 aq rl 00000 rs1 010 rd 0101111", run: (o) => o.setRd(o.loadReserved(4, o.rs1)) },
  { name: "lr.d", bits: "00010 aq rl 00000 rs1 011 rd 0101111", run: (o) => o.setRd(o.loadReserved(8, o.rs1)) },
  {
    name: "sc.w",
    bits: "00011 aq rl rs2 rs1 010 rd 0101111",
    run: (o) => o.setRd(o.storeConditional(4, o.rs1, o.rs2)),
  },
  {
    name: "sc.d",
    bits: "00011 aq rl rs2 rs1 011 rd 0101111",
    run: (o) => o.setRd(o.storeConditional(8, o.rs1, o.rs2)),
  },
  ...amo("amoswap", "00001", "swap"),
  ...amo("amoadd", "00000", "add"),
  ...amo("amoxor", "00100", "xor"),
  ...amo("amoand", "01100", "and"),
  ...amo("amoor", "01000", "or"),
  ...amo("amomin", "10000", "min"),
  ...amo("amomax", "10100", "max"),
  ...amo("amominu", "11000", "minu"),
  ...amo("amomaxu", "11100", "maxu"),
];
