// The F extension: single precision (unprivileged specification 20240411, chapter 21).

import { floatRows, SINGLE } from "./float.ts";
import type { Row } from "./row.ts";

export const F: readonly Row[] = [
  {
    name: "flw",
    bits: "imm[11:0] rs1 010 fd 0000111",
    float: true,
    run: (o) => o.setFd(o.box(o.load(4, false, o.add(o.rs1, o.imm)))),
  },
  {
    name: "fsw",
    bits: "imm[11:5] fs2 rs1 010 imm[4:0] 0100111",
    float: true,
    run: (o) => o.store(4, o.add(o.rs1, o.imm), o.fs2),
  },
  ...floatRows(SINGLE),
  // Moves take the bits as they are, boxed or not.
  { name: "fmv.x.w", bits: "1110000 00000 fs1 000 rd 1010011", float: true, run: (o) => o.setRd(o.sext32(o.fs1)) },
  { name: "fmv.w.x", bits: "1111000 00000 rs1 000 fd 1010011", float: true, run: (o) => o.setFd(o.box(o.rs1)) },
];
