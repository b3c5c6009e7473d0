// System instructions: CSR accesses, calls, returns, waits and fences (privileged specification 20240411, chapter 3.3; Zicsr).

import { ACCESS, CAUSE, MODE, STATUS } from "./cause.ts";
import { CSRS, SSTATUS, UXL } from "./csrs.ts";
import type { RiscvHart } from "./hart.ts";
import { STATUS as GO } from "./interpreter.ts";
import { SINK, SLOT } from "./layout.ts";
import type { SystemCall } from "./vocabulary.ts";

/** All CSRs by number. */
const BY_NUMBER = CSRS.reduce<(typeof CSRS[number] | undefined)[]>((table, csr) => {
  table[csr.number] = csr;
  return table;
}, Array(0x1000).fill(undefined));

/** CSRs whose pending bits are devices' too: a read-modify-write must not make a device's level stick. */
const PENDING = [0x144, 0x344];

/** The instructions that may set or clear single bits of sstatus. */
const SSTATUS_NUMBER = 0x100;
const UXL_HIGH = Number(UXL >> 32n);
const SECTIONS: Partial<Record<SystemCall, { sets: boolean; immediate: boolean }>> = {
  csrrs: { sets: true, immediate: false },
  csrrc: { sets: false, immediate: false },
  csrrsi: { sets: true, immediate: true },
  csrrci: { sets: false, immediate: true },
};

/**
 * Carries out a system instruction: `low` and `high` are its predecoded entry. Leaves pc where the hart goes on.
 * Returns what generated code shall do.
 */
export function executeSystem(h: RiscvHart, call: SystemCall, low: number, high: number, length: number): number {
  const bracket = SECTIONS[call];
  if (bracket && (high & 0xfff) === SSTATUS_NUMBER && enableInterrupts(h, bracket, low, length)) return goOn(h);
  const next = h.pc + BigInt(length);
  switch (call) {
    case "csrrw":
    case "csrrwi":
      if (!accessCsr(h, "write", call === "csrrwi", low, high & 0xfff)) return illegal(h);
      break;
    case "csrrs":
    case "csrrsi":
      if (!accessCsr(h, "set", call === "csrrsi", low, high & 0xfff)) return illegal(h);
      break;
    case "csrrc":
    case "csrrci":
      if (!accessCsr(h, "clear", call === "csrrci", low, high & 0xfff)) return illegal(h);
      break;
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
      if (h.mode === MODE.U || h.mode === MODE.S && h.state.status & STATUS.TSR) return illegal(h);
      h.returnFromS();
      return goOn(h);
    case "wfi":
      if (h.mode === MODE.U || h.mode === MODE.S && h.state.status & STATUS.TW) return illegal(h);
      h.pc = next;
      if (h.pending & h.state.mie) return goOn(h);
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
  if (h.pending & h.state.mie) h.takeInterrupt();
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
 * Sets or clears SIE alone, as kernels do around each critical section: without a BigInt. False where there is more to
 * it.
 */
function enableInterrupts(
  { memory: { i32 }, base, mode, state }: RiscvHart,
  { sets, immediate }: { sets: boolean; immediate: boolean },
  low: number,
  length: number,
): boolean {
  const register = (number: number): number => (base + SLOT.x >> 2) + number * 2;
  const source = low >>> 23;
  const operand = immediate ? source : i32[register(source)];
  const pc = base + SLOT.pc >> 2;
  if (operand & ~STATUS.SIE || mode === MODE.U || i32[pc] >= -4 && i32[pc] < 0) return false;
  const fs = i32[base + SLOT.fs >> 2];
  const rd = register(low >>> 13 & 63);
  i32[rd] = (state.status | fs << 13) & SSTATUS;
  i32[rd + 1] = UXL_HIGH | (fs === 3 ? 1 << 31 : 0);
  state.status = sets ? state.status | operand : state.status & ~operand;
  i32[pc] += length;
  return true;
}

/** Reads and writes a CSR; false where that is illegal. */
function accessCsr(
  h: RiscvHart,
  how: "write" | "set" | "clear",
  immediate: boolean,
  low: number,
  number: number,
): boolean {
  const csr = BY_NUMBER[number];
  const source = low >>> 23; // register number, or the 5-bit immediate
  const writes = how === "write" || source !== 0;
  if (!csr || (number >> 8 & 3) > h.mode || writes && number >> 10 === 3) return false;
  if (csr.accessible && !csr.accessible(h)) return false;
  const operand = immediate ? BigInt(source) : BigInt.asUintN(64, h.x(source));
  const rd = low >>> 13 & 63;
  const old = rd !== SINK || how !== "write" ? BigInt.asUintN(64, csr.read(h)) : 0n;
  if (writes) {
    const before = PENDING.includes(number) ? BigInt(h.state.soft) : old;
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
