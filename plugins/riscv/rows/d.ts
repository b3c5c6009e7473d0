// The D extension: double precision (unprivileged specification 20240411, chapter 22).

import { DOUBLE, floatRows } from "./float.ts";
import type { Row } from "./row.ts";

export const D: readonly Row[] = [
  {
    name: "fld",
    bits: "imm[11:0] rs1 011 fd 0000111",
    float: true,
    run: (o) => o.setFd(o.load(8, false, o.add(o.rs1, o.imm))),
  },
  {
    name: "fsd",
    bits: "imm[11:5] fs2 rs1 011 imm[4:0] 0100111",
    float: true,
    run: (o) => o.store(8, o.add(o.rs1, o.imm), o.fs2),
  },
  ...floatRows(DOUBLE),
  {
    name: "fcvt.s.d",
    bits: "0100000 00001 fs1 rm fd 1010011",
    float: true,
    run: (o) => o.setFd(o.box(o.fp("s.d", o.fs1))),
  },
  {
    name: "fcvt.d.s",
    bits: "0100001 00000 fs1 rm fd 1010011",
    float: true,
    run: (o) => o.setFd(o.fp("d.s", o.unbox(o.fs1))),
  },
  { name: "fmv.x.d", bits: "1110001 00000 fs1 000 rd 1010011", float: true, run: (o) => o.setRd(o.fs1) },
  { name: "fmv.d.x", bits: "1111001 00000 rs1 000 fd 1010011", float: true, run: (o) => o.setFd(o.rs1) },
];
