// All instructions of the engine, in one table.

import { InstructionTable } from "./encoding.ts";
import { A } from "./rows/a.ts";
import { ZBA, ZBB, ZBC, ZBS, ZICOND } from "./rows/b.ts";
import { C } from "./rows/c.ts";
import { D } from "./rows/d.ts";
import { F } from "./rows/f.ts";
import { I } from "./rows/i.ts";
import { M } from "./rows/m.ts";
import { SYSTEM } from "./rows/system.ts";

/** The instruction table of RV64GC with the extensions of {@linkcode ISA}. */
export const INSTRUCTIONS: InstructionTable = new InstructionTable(
  [...I, ...M, ...A, ...F, ...D, ...ZBA, ...ZBB, ...ZBC, ...ZBS, ...ZICOND, ...SYSTEM],
  C,
);

/** The ISA string, for `misa` readers and device trees. */
export const ISA = "rv64imafdc_zicntr_zicond_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs_sstc_svadu_svinval_svvptc";
