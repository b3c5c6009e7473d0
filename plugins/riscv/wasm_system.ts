// System instructions in generated code: the quick ways of what kernels do most (privileged specification 20240411, chapters 3.3 and 10.1).

import { CAUSE, MODE, STATUS } from "./cause.ts";
import { SSTATUS, SSTATUS_NUMBER, STORED_SLOT, UXL } from "./csrs.ts";
import { FETCH_TLB, SLOT, TLB } from "./layout.ts";
import { contextKey } from "./mmu.ts";
import type { SystemCall } from "./vocabulary.ts";
import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, type Local, TYPE } from "./wasm/types.ts";
import { hartBlock, tableEntry } from "./wasm_hart.ts";
import { superpageBit } from "./wasm_mmu.ts";

/**
 * Functions that carry out a system instruction, or give 0 with nothing done where there is more to it: then system.ts
 * has to. What makes an interrupt due is always left to it, and so is whatever MPRV and MXR change.
 */
export interface SystemFunctions {
  /** (hart, number, {@linkcode CSR_HOW}, operand) → {@linkcode CSR_DONE}; the old value goes to `result`. */
  readonly accessCsr: Callee;
  /** ECALL from U-mode to S-mode: (hart, its pc) → done; the hart's pc is where it goes on. */
  readonly enterSupervisor: Callee;
  /** SRET from S-mode: (hart) → done; alike. */
  readonly leaveSupervisor: Callee;
  /** SFENCE.VMA of a page: (hart, address) → done. */
  readonly fencePage: Callee;
}

/** What a CSR instruction does with its operand. */
export const CSR_HOW = { write: 0, set: 1, clear: 2, read: 3 } as const;

/** What an access to a CSR did, as bits. */
export const CSR_DONE = {
  done: 1,
  /** Data accesses may see other pages now. */
  pages: 2,
  /** The floating-point unit is off now. */
  floatOff: 4,
} as const;

/** Bits of sstatus that a write changes; FS stands elsewhere. */
const SSTATUS_WRITTEN = SSTATUS & ~STATUS.FS;
const FS_SHIFT = 13;

/** sscratch, sepc, scause, stval and their like of M-mode: this part of their numbers, and where they begin. */
const TRAP_CSR = { mask: 0xdfc, number: 0x140, machine: 0x200 } as const;

/** How a CSR instruction of that name, with that source register or immediate, accesses it. */
export function csrHow(call: SystemCall, source: number): number {
  if (call.startsWith("csrrw")) return CSR_HOW.write;
  if (source === 0) return CSR_HOW.read;
  return call.startsWith("csrrs") ? CSR_HOW.set : CSR_HOW.clear;
}

/** Whether there is a quick way to access a CSR. */
export function isQuickCsr(number: number): boolean {
  return number === SSTATUS_NUMBER || (number & TRAP_CSR.mask) === TRAP_CSR.number;
}

/** Adds the functions; `only` is for {@linkcode hartBlock}. */
export function addSystem(module: ModuleBuilder, only: number | undefined): SystemFunctions {
  return {
    accessCsr: addAccessCsr(module, only),
    enterSupervisor: addEnterSupervisor(module, only),
    leaveSupervisor: addLeaveSupervisor(module, only),
    fencePage: addFencePage(module, only),
  };
}

/** The pieces that the functions are made of. */
class SystemFunction {
  readonly hart: I32;

  constructor(readonly f: FunctionBuilder, only: number | undefined) {
    this.hart = hartBlock(f, 0, only);
  }

  slot(offset: number): I32 {
    return this.f.load32(this.hart, offset);
  }
  store(offset: number, value: I32): void {
    this.f.store("i32", this.hart, value, offset);
  }
  bits(value: I32, mask: number): I32 {
    return this.f.i32.and(value, this.f.const32(mask));
  }
  /** Leaves the instruction to the host. */
  giveUpIf(condition: I32): void {
    this.f.if(this.f.unlikely(condition), () => this.f.return(this.f.const32(0)));
  }
  /** Whether an interrupt may become due. */
  get pending(): I32 {
    const { f } = this;
    return f.i32.and(f.i32.or(this.slot(SLOT.lines), this.slot(SLOT.soft)), this.slot(SLOT.mie));
  }
  /** The number of a context without MXR; 0 if it has none yet. */
  context(mode: typeof MODE.S | typeof MODE.U, bySum = false): I32 {
    return this.slot(SLOT.contexts + 4 * contextKey(mode, false, bySum));
  }

  /** Goes to S-mode or to U-mode with that status: sets what accesses see then. Gives up if it is not known. */
  enter(mode: typeof MODE.S | typeof MODE.U, status: I32): void {
    const { f } = this;
    const context = f.keep(this.context(mode));
    this.giveUpIf(f.i32.eqz(context));
    if (mode === MODE.S) {
      const sum = f.keep(this.bits(status, STATUS.SUM));
      const bySum = f.keep(this.context(MODE.S, true));
      this.giveUpIf(f.i32.and(f.i32.ne(sum, f.const32(0)), f.i32.eqz(bySum)));
      this.store(SLOT.userContext, f.select(sum, bySum, f.const32(0)));
    } else {
      this.store(SLOT.userContext, f.const32(0));
    }
    this.store(SLOT.dataContext, context);
    this.store(SLOT.fetchContext, context);
    this.store(SLOT.status, status);
    this.store(SLOT.privilege, f.const32(mode));
  }
}

function addAccessCsr(module: ModuleBuilder, only: number | undefined): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i32, TYPE.i32, TYPE.i64], [TYPE.i32]);
  const h = new SystemFunction(f, only);
  const number = f.get(f.param<typeof TYPE.i32>(1));
  const how = f.get(f.param<typeof TYPE.i32>(2));
  const operand = f.get(f.param<typeof TYPE.i64>(3));
  const old = f.local(TYPE.i64);

  h.giveUpIf(f.i32.gtU(h.bits(f.i32.shrU(number, f.const32(8)), 3), h.slot(SLOT.privilege)));
  f.if(f.i32.eq(h.bits(number, TRAP_CSR.mask), f.const32(TRAP_CSR.number)), () => {
    const ofMachine = f.select(
      h.bits(number, TRAP_CSR.machine),
      f.const32(STORED_SLOT.mscratch - STORED_SLOT.sscratch),
      f.const32(0),
    );
    const index = f.i32.shl(h.bits(number, 3), f.const32(3));
    const at = f.keep(f.i32.add(h.hart, f.i32.add(index, ofMachine)));
    f.set(old, f.load64(at, STORED_SLOT.sscratch));
    f.store("i64", h.hart, f.get(old), SLOT.result);
    f.if(f.i32.ne(how, f.const32(CSR_HOW.read)), () => {
      // Of the exception's program counter bit 0 is always zero.
      const mask = f.select(f.i32.eq(h.bits(number, 3), f.const32(1)), f.const64(-2), f.const64(-1));
      f.store("i64", at, f.i64.and(modified(f, f.get(old), how, operand), mask), STORED_SLOT.sscratch);
    });
    f.return(f.const32(CSR_DONE.done));
  });
  h.giveUpIf(f.i32.ne(number, f.const32(SSTATUS_NUMBER)));
  accessSstatus(h, how, operand, old);
  return callee;
}

function accessSstatus(h: SystemFunction, how: I32, operand: I64, old: Local<typeof TYPE.i64>): void {
  const { f } = h;
  const fs = f.keep(h.slot(SLOT.fs));
  const status = f.keep(h.slot(SLOT.status));
  const low = f.i32.or(h.bits(status, SSTATUS_WRITTEN), f.i32.shl(fs, f.const32(FS_SHIFT)));
  const dirty = f.i64.shl(f.i64.extendUnsigned(f.i32.eq(fs, f.const32(3))), f.const64(63));
  f.set(old, f.i64.or(f.i64.or(f.i64.extendUnsigned(low), f.const64(UXL)), dirty));
  f.if(f.i32.eq(how, f.const32(CSR_HOW.read)), () => {
    f.store("i64", h.hart, f.get(old), SLOT.result);
    f.return(f.const32(CSR_DONE.done));
  });
  const written = f.keep(f.i32.wrap(modified(f, f.get(old), how, operand)));
  const after = f.keep(f.i32.or(h.bits(status, ~SSTATUS_WRITTEN), h.bits(written, SSTATUS_WRITTEN)));
  const changed = f.keep(f.i32.xor(status, after));
  h.giveUpIf(f.i32.or(h.bits(f.i32.or(status, changed), STATUS.MPRV | STATUS.MXR), h.pending));
  // In M-mode SUM concerns no access.
  const done = f.local(TYPE.i32);
  f.set(done, f.const32(CSR_DONE.done));
  f.if(h.bits(changed, STATUS.SUM), () => {
    const inS = f.i32.eq(h.slot(SLOT.privilege), f.const32(MODE.S));
    const sum = f.keep(f.i32.and(inS, f.i32.ne(h.bits(after, STATUS.SUM), f.const32(0))));
    const context = f.keep(h.context(MODE.S, true));
    h.giveUpIf(f.i32.and(sum, f.i32.eqz(context)));
    h.store(SLOT.userContext, f.select(sum, context, f.const32(0)));
    f.set(done, f.const32(CSR_DONE.done | CSR_DONE.pages));
  });
  f.store("i64", h.hart, f.get(old), SLOT.result);
  h.store(SLOT.status, after);
  const fsAfter = f.keep(h.bits(f.i32.shrU(written, f.const32(FS_SHIFT)), 3));
  h.store(SLOT.fs, fsAfter);
  const off = f.i32.shl(f.i32.eqz(fsAfter), f.const32(Math.log2(CSR_DONE.floatOff)));
  f.return(f.i32.or(f.get(done), off));
  f.unreachable();
}

/** A CSR's new value. */
function modified(f: FunctionBuilder, old: I64, how: I32, operand: I64): I64 {
  const cleared = f.i64.and(old, f.i64.xor(operand, f.const64(-1)));
  const others = f.select(f.i32.eq(how, f.const32(CSR_HOW.set)), f.i64.or(old, operand), cleared);
  return f.select(f.i32.eq(how, f.const32(CSR_HOW.write)), operand, others);
}

function addEnterSupervisor(module: ModuleBuilder, only: number | undefined): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i64], [TYPE.i32]);
  const h = new SystemFunction(f, only);
  h.giveUpIf(f.i32.ne(h.slot(SLOT.privilege), f.const32(MODE.U)));
  h.giveUpIf(f.i32.eqz(h.bits(h.slot(SLOT.medeleg), 1 << CAUSE.callFromU)));
  const status = f.keep(h.slot(SLOT.status));
  h.giveUpIf(f.i32.or(h.bits(status, STATUS.MPRV | STATUS.MXR), h.pending));
  const spie = f.select(h.bits(status, STATUS.SIE), f.const32(STATUS.SPIE), f.const32(0));
  h.enter(MODE.S, f.keep(f.i32.or(h.bits(status, ~(STATUS.SPIE | STATUS.SIE | STATUS.SPP)), spie)));
  f.store("i64", h.hart, f.const64(CAUSE.callFromU), STORED_SLOT.scause);
  f.store("i64", h.hart, f.const64(0), STORED_SLOT.stval);
  f.store("i64", h.hart, f.get(f.param<typeof TYPE.i64>(1)), STORED_SLOT.sepc);
  f.store("i64", h.hart, f.i64.and(f.load64(h.hart, STORED_SLOT.stvec), f.const64(-4)), SLOT.pc);
  const traps = f.f64.add(f.f64.reinterpret(f.load64(h.hart, SLOT.traps)), f.constF64(1));
  f.store("f64", h.hart, traps, SLOT.traps);
  f.return(f.const32(1));
  f.unreachable();
  return callee;
}

function addLeaveSupervisor(module: ModuleBuilder, only: number | undefined): Callee {
  const { callee, body: f } = module.function([TYPE.i32], [TYPE.i32]);
  const h = new SystemFunction(f, only);
  h.giveUpIf(f.i32.ne(h.slot(SLOT.privilege), f.const32(MODE.S)));
  const status = f.keep(h.slot(SLOT.status));
  h.giveUpIf(f.i32.or(h.bits(status, STATUS.TSR | STATUS.MPRV | STATUS.MXR), h.pending));
  const sie = f.select(h.bits(status, STATUS.SPIE), f.const32(STATUS.SIE), f.const32(0));
  const kept = f.i32.or(h.bits(status, ~(STATUS.SIE | STATUS.SPP)), f.const32(STATUS.SPIE));
  const after = f.keep(f.i32.or(kept, sie));
  f.if(h.bits(status, STATUS.SPP), () => h.enter(MODE.S, after), () => h.enter(MODE.U, after));
  f.store("i64", h.hart, f.load64(h.hart, STORED_SLOT.sepc), SLOT.pc);
  f.return(f.const32(1));
  f.unreachable();
  return callee;
}

function addFencePage(module: ModuleBuilder, only: number | undefined): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i64], [TYPE.i32]);
  const h = new SystemFunction(f, only);
  const address = f.get(f.param<typeof TYPE.i64>(1));
  // In U-mode, and with TVM, it is illegal.
  h.giveUpIf(f.i32.ne(h.slot(SLOT.privilege), f.const32(MODE.S)));
  h.giveUpIf(h.bits(h.slot(SLOT.status), STATUS.TVM));
  for (let level = 1; level < 5; level++) {
    const bit = f.keep(superpageBit(f, address, f.const32(level)));
    const word = f.load32(f.i32.add(h.hart, f.i32.shl(f.i32.shrU(bit, f.const32(5)), f.const32(2))), SLOT.superpages);
    h.giveUpIf(h.bits(f.i32.shrU(word, bit), 1)); // modulo 32
  }
  const entry = f.keep(tableEntry(f, h.hart, address, TLB));
  for (const tag of [TLB.read, TLB.write]) f.store("i64", entry, f.const64(-1), SLOT.tlb + tag);
  f.store("i64", h.hart, f.const64(-1), SLOT.stackTag);
  h.store(SLOT.mappings, f.i32.add(h.slot(SLOT.mappings), f.const32(1)));
  f.store("i64", tableEntry(f, h.hart, address, FETCH_TLB), f.const64(-1), SLOT.fetchTlb + FETCH_TLB.tag);
  f.return(f.const32(1));
  f.unreachable();
  return callee;
}
