// System instructions: CSR accesses, calls, returns, waits and fences (privileged specification 20240411, chapter 3.3; Zicsr).

import { ACCESS, CAUSE, MODE, STATUS } from "./cause.ts";
import { COUNTER, CSRS, SSTATUS, SSTATUS_NUMBER, STORED_BY_NUMBER, TIME_NUMBER, UXL } from "./csrs.ts";
import type { RiscvHart } from "./hart.ts";
import { STATUS as GO } from "./slow_path_contract.ts";
import { SINK, SLOT } from "./layout.ts";
import type { SystemCall } from "./vocabulary.ts";

/** All CSRs by number. */
const BY_NUMBER = CSRS.reduce<(typeof CSRS[number] | undefined)[]>((table, csr) => {
  table[csr.number] = csr;
  return table;
}, Array(0x1000).fill(undefined));

/** CSRs whose pending bits are devices' too: a read-modify-write must not make a device's level stick. */
const PENDING = [0x144, 0x344];

const UXL_HIGH = Number(UXL >> 32n);

/** What a CSR instruction does. */
interface CsrAccess {
  readonly how: "write" | "set" | "clear";
  readonly immediate: boolean;
}
const CSR_ACCESSES: Partial<Record<SystemCall, CsrAccess>> = {
  csrrw: { how: "write", immediate: false },
  csrrs: { how: "set", immediate: false },
  csrrc: { how: "clear", immediate: false },
  csrrwi: { how: "write", immediate: true },
  csrrsi: { how: "set", immediate: true },
  csrrci: { how: "clear", immediate: true },
};

/**
 * Carries out a system instruction: `low` and `high` are its predecoded entry. Leaves pc where the hart goes on.
 * Returns what generated code shall do.
 */
export function executeSystem(h: RiscvHart, call: SystemCall, low: number, high: number, length: number): number {
  const csr = CSR_ACCESSES[call];
  if (csr && accessQuickly(h, csr, low, high & 0xfff)) {
    h.advance(length);
    return goOn(h);
  }
  const next = h.pc + BigInt(length);
  if (csr) {
    if (!accessCsr(h, csr, low, high & 0xfff)) return illegal(h);
    h.pc = next;
    return goOn(h);
  }
  switch (call) {
    case "ecall":
      return environmentCall(h, next);
    case "ebreak":
      h.trap(CAUSE.breakpoint, h.pc);
      return GO.moved;
    case "mret":
      if (h.mode !== MODE.M) return illegal(h);
      h.returnFromM();
      return goOn(h);
    case "sret":
      if (h.mode === MODE.U || h.mode === MODE.S && h.status & STATUS.TSR) return illegal(h);
      h.returnFromS();
      return goOn(h);
    case "wfi":
      if (h.mode === MODE.U || h.mode === MODE.S && h.status & STATUS.TW) return illegal(h);
      h.pc = next;
      if (h.pending & h.mie) return goOn(h);
      h.state.waiting = true;
      return GO.leave;
    case "pause":
      h.pc = next;
      h.yielded = true;
      return GO.leave;
    case "sfence.vma":
      if (h.mode === MODE.U || !h.mayManageMemory) return illegal(h);
      fenceTranslations(h, low >>> 23, low >>> 13 & 63);
      break;
    case "sfence.inval":
      if (h.mode === MODE.U) return illegal(h);
      break;
    case "fence.i": // the code cache follows every store already
      break;
    case "illegal":
      return illegal(h);
  }
  h.pc = next;
  return goOn(h);
}

/** Goes on at pc, or at an interrupt's vector where the instruction made one due. */
function goOn(h: RiscvHart): number {
  if (h.pending & h.mie) h.takeInterrupt();
  return GO.moved;
}

function illegal(h: RiscvHart): number {
  h.trap(CAUSE.illegal, instructionBits(h));
  return GO.moved;
}

/** The instruction at pc, for mtval. */
function instructionBits(h: RiscvHart): bigint {
  const half = (at: bigint): number => {
    const low = Number(BigInt.asIntN(32, at));
    const high = Number(BigInt.asIntN(32, at >> 32n));
    if (h.mmu.translate(low, high, 2, ACCESS.fetch, h.fetchRegime) >= 0) return 0;
    const host = h.memory.host(h.mmu.physical, 2);
    return host < 0 ? 0 : h.memory.view.getUint16(host, true);
  };
  const first = half(h.pc);
  return BigInt((first & 3) === 3 ? (first | half(h.pc + 2n) << 16) >>> 0 : first);
}

/**
 * The accesses that kernels make most, without a BigInt: to CSRs that are plain storage, to the SIE bit of sstatus
 * alone, around each critical section, and reads of the time. False where there is more to it; then nothing is done.
 */
function accessQuickly(h: RiscvHart, { how, immediate }: CsrAccess, low: number, number: number): boolean {
  const { memory: { i32 }, base, mode } = h;
  const x = base + SLOT.x >> 2;
  const source = low >>> 23;
  const from = immediate ? source : i32[x + source * 2];
  const rd = x + (low >>> 13 & 63) * 2;
  if (number === SSTATUS_NUMBER) {
    if (how === "write" || from & ~STATUS.SIE || mode === MODE.U) return false;
    const fs = i32[base + SLOT.fs >> 2];
    i32[rd] = (h.status | fs << 13) & SSTATUS;
    i32[rd + 1] = UXL_HIGH | (fs === 3 ? 1 << 31 : 0);
    h.status = how === "set" ? h.status | from : h.status & ~from;
    return true;
  }
  if (number === TIME_NUMBER) {
    if (how === "write" || source || !h.mayCount(COUNTER.time)) return false;
    const ticks = h.context.ticks();
    i32[rd] = ticks % 2 ** 32;
    i32[rd + 1] = ticks / 2 ** 32;
    return true;
  }
  const stored = STORED_BY_NUMBER[number];
  if (!stored || (number >> 8 & 3) > mode) return false;
  const at = base + stored.slot >> 2;
  const [oldLow, oldHigh] = [i32[at], i32[at + 1]];
  if (how === "write" || source) {
    const fromHigh = immediate ? 0 : i32[x + source * 2 + 1];
    i32[at] = modified(oldLow, how, from) & stored.mask;
    i32[at + 1] = modified(oldHigh, how, fromHigh);
  }
  i32[rd] = oldLow;
  i32[rd + 1] = oldHigh;
  return true;
}

function modified(old: number, how: CsrAccess["how"], by: number): number {
  return how === "write" ? by : how === "set" ? old | by : old & ~by;
}

/** Reads and writes a CSR; false where that is illegal. */
function accessCsr(h: RiscvHart, { how, immediate }: CsrAccess, low: number, number: number): boolean {
  const csr = BY_NUMBER[number];
  const source = low >>> 23; // register number, or the 5-bit immediate
  const writes = how === "write" || source !== 0;
  if (!csr || (number >> 8 & 3) > h.mode || writes && number >> 10 === 3) return false;
  if (csr.accessible && !csr.accessible(h)) return false;
  const operand = immediate ? BigInt(source) : BigInt.asUintN(64, h.x(source));
  const rd = low >>> 13 & 63;
  const old = rd !== SINK || how !== "write" ? BigInt.asUintN(64, csr.read(h)) : 0n;
  if (writes) {
    const before = PENDING.includes(number) ? BigInt(h.soft) : old;
    csr.write?.(h, how === "set" ? before | operand : how === "clear" ? before & ~operand : operand);
  }
  h.setX(rd, old);
  return true;
}

function environmentCall(h: RiscvHart, next: bigint): number {
  const { firmware } = h.context;
  if (h.mode !== MODE.S || !firmware || h.state.ownFirmware) {
    h.trap(CAUSE.callFromU + h.mode, 0n);
    return GO.moved;
  }
  h.pc = next;
  firmware(h.index);
  return h.state.stopped ? GO.leave : goOn(h);
}

/** SFENCE.VMA with register numbers rs1 and rs2. */
function fenceTranslations(h: RiscvHart, address: number, asid: number): void {
  if (address) h.mmu.flushPage(h.x(address));
  else h.mmu.flushSpaces(asid ? Number(h.x(asid) & 0xffffn) : undefined);
  h.contextChanged();
}
