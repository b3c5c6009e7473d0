// One hart's privileged state: registers, traps, interrupts, counters (privileged specification 20240411, chapters 3 and 10).

import type { Alarm, Hart, HartEntry, Plain } from "../../core/plugin.ts";
import { CAUSE, INTERRUPT, MODE, type Mode, STATUS } from "./cause.ts";
import { type Csr, CSRS, ENVCFG, S_INTERRUPTS, STORED_SLOT, type StoredCsr } from "./csrs.ts";
import { hartBase, SINK, SLOT } from "./layout.ts";
import type { EngineMemory } from "./memory.ts";
import { Mmu, type PageWatch, type Regime } from "./mmu.ts";
import { Pmp } from "./pmp.ts";
import { registerSlot } from "./registers.ts";

const BY_NAME = new Map(CSRS.map((csr) => [csr.name, csr]));
/** The CSRs of a trap into each mode. */
const S_TRAP = { cause: "scause", epc: "sepc", tval: "stval", tvec: "stvec" } as const;
const M_TRAP = { cause: "mcause", epc: "mepc", tval: "mtval", tvec: "mtvec" } as const;

/** What a hart asks of the engine around it. */
export interface HartContext {
  /** Ticks of the timer now. */
  ticks(): number;
  /** Arms the alarm of `stimecmp` for a number of ticks, or disarms it. */
  readonly alarm: Alarm;
  deadline(ticks: bigint): number | undefined;
  /** The most levels of page tables that satp takes. */
  readonly pageTableLevels: number;
  /** Serves an environment call from S-mode; absent if the guest has firmware of its own. */
  firmware?(hart: number): void;
}

/** CSRs and the like that generated code does not see: plain, saved and loaded as it is. */
const powerOn = () => ({
  mcounteren: 0,
  scounteren: 0,
  menvcfg: 0n,
  senvcfg: 0n,
  stimecmp: (1n << 64n) - 1n,
  cycleOffset: 0n,
  instretOffset: 0n,
  /** Steps made: instructions and traps. */
  steps: 0,
  stopped: true,
  /** In WFI. */
  waiting: false,
  /** Entered in M-mode: it is its own firmware. */
  ownFirmware: false,
});

interface Saved {
  block: Uint8Array;
  state: ReturnType<typeof powerOn>;
  /** Offset in RAM of the reserved memory, and 1; 0 for none. */
  reservation: number;
  satp: bigint;
  pmpcfg: Uint8Array;
  pmpaddr: bigint[];
}

/** A hart. Its registers stand in its block of linear memory, where generated code uses them. */
export class RiscvHart implements Hart {
  readonly base: number;
  readonly pmp: Pmp = new Pmp();
  readonly mmu: Mmu;
  state: ReturnType<typeof powerOn> = powerOn();
  /** It asked for its turn to end (`pause`). */
  yielded = false;
  readonly #dataRegime: Regime = { mode: MODE.M, sum: false, mxr: false };
  readonly #fetchRegime: Regime = { mode: MODE.M, sum: false, mxr: false };

  // Steps of the present run: what it began with, and what `interrupt` set aside.
  #start = 0;
  #aside = 0;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;
  readonly #f64: Float64Array;

  constructor(
    readonly index: number,
    readonly memory: EngineMemory,
    readonly context: HartContext,
    watch: PageWatch,
  ) {
    this.base = hartBase(index);
    this.#i32 = memory.i32;
    this.#i64 = memory.i64;
    this.#f64 = memory.f64;
    this.mmu = new Mmu(memory, this.base, this.pmp, watch, context.pageTableLevels);
    this.reset();
  }

  /** Power-on state, stopped. */
  reset(): void {
    this.#i64.fill(0n, this.base >> 3, this.base + SLOT.tlb >> 3);
    this.state = powerOn();
    this.pmp.reset();
    this.mmu.satp = 0n;
    this.mode = MODE.M;
    this.context.alarm.cancel();
    this.writeEnvironment(0n);
    this.mmu.flushAll();
    this.contextChanged();
  }

  // ------------------------------------------------------------ a run

  /** Lends the hart `steps`. */
  begin(steps: number): void {
    this.#start = steps;
    this.#aside = 0;
    this.#budget = steps;
  }

  /** Ends a run; gives the steps made. */
  end(): number {
    const made = this.#made;
    this.state.steps += made;
    this.#start = this.#aside = this.#budget = 0;
    return made;
  }

  /** Makes generated code come back after the present instruction. */
  interrupt(): void {
    this.#aside += this.#budget;
    this.#budget = 0;
  }

  /** Goes on after {@linkcode interrupt}; false if the steps are used up. */
  proceed(): boolean {
    this.#budget += this.#aside;
    this.#aside = 0;
    return this.#budget > 0;
  }

  /** A step that generated code did not count. */
  countStep(): void {
    if (this.#budget) this.#budget--;
    else this.#aside--;
  }

  /** Steps made by compiled code, and how often it was entered, since power-on or `load`. */
  get compiled(): { steps: number; runs: number } {
    const [steps, runs] = [SLOT.compiledSteps, SLOT.compiledRuns].map((slot) => this.#i64[this.base + slot >> 3]);
    return { steps: Number(steps), runs: Number(runs) };
  }

  get outOfSteps(): boolean {
    return this.#budget === 0;
  }

  /** Steps made since power-on. */
  get steps(): number {
    return this.state.steps + this.#made;
  }

  get #made(): number {
    return this.#start - this.#budget - this.#aside;
  }

  get #budget(): number {
    return this.#i32[this.base + SLOT.budget >> 2];
  }
  set #budget(steps: number) {
    this.#i32[this.base + SLOT.budget >> 2] = steps;
  }

  // ------------------------------------------------------------ registers

  get #reservation(): number {
    return this.#i32[this.base + SLOT.reservation >> 2] >>> 0;
  }

  get mode(): Mode {
    return this.#i32[this.base + SLOT.privilege >> 2] as Mode;
  }
  set mode(mode: Mode) {
    this.#i32[this.base + SLOT.privilege >> 2] = mode;
  }

  /** mstatus, but for FS. */
  get status(): number {
    return this.#i32[this.base + SLOT.status >> 2];
  }
  set status(value: number) {
    this.#i32[this.base + SLOT.status >> 2] = value;
  }
  /** Interrupt inputs that devices hold up. */
  get lines(): number {
    return this.#i32[this.base + SLOT.lines >> 2];
  }
  set lines(value: number) {
    this.#i32[this.base + SLOT.lines >> 2] = value;
  }
  /** Bits of mip that software set. */
  get soft(): number {
    return this.#i32[this.base + SLOT.soft >> 2];
  }
  set soft(value: number) {
    this.#i32[this.base + SLOT.soft >> 2] = value;
  }
  get mie(): number {
    return this.#i32[this.base + SLOT.mie >> 2];
  }
  set mie(value: number) {
    this.#i32[this.base + SLOT.mie >> 2] = value;
  }
  get medeleg(): number {
    return this.#i32[this.base + SLOT.medeleg >> 2];
  }
  set medeleg(value: number) {
    this.#i32[this.base + SLOT.medeleg >> 2] = value;
  }
  get mideleg(): number {
    return this.#i32[this.base + SLOT.mideleg >> 2];
  }
  set mideleg(value: number) {
    this.#i32[this.base + SLOT.mideleg >> 2] = value;
  }
  /** Steps that were traps. */
  get traps(): number {
    return this.#f64[this.base + SLOT.traps >> 3];
  }
  set traps(value: number) {
    this.#f64[this.base + SLOT.traps >> 3] = value;
  }

  get pc(): bigint {
    return this.#i64[this.base + SLOT.pc >> 3];
  }
  set pc(value: bigint) {
    this.#i64[this.base + SLOT.pc >> 3] = value;
  }

  /** Moves pc on, without a BigInt. */
  advance(bytes: number): void {
    this.#setAddress(SLOT.pc, this.#i32[this.base + SLOT.pc >> 2], this.#i32[(this.base + SLOT.pc >> 2) + 1], bytes);
  }

  /** Stores the address `high:low + bytes` in a slot. */
  #setAddress(slot: number, low: number, high: number, bytes: number): void {
    const at = this.base + slot >> 2;
    const sum = (low >>> 0) + bytes;
    this.#i32[at] = sum;
    this.#i32[at + 1] = sum > 0xffff_ffff ? high + 1 : high;
  }

  #copy(from: number, to: number): void {
    const [at, into] = [this.base + from >> 2, this.base + to >> 2];
    this.#i32[into] = this.#i32[at];
    this.#i32[into + 1] = this.#i32[at + 1];
  }

  /** An integer register; number 32 is `x0` as a destination. */
  x(number: number): bigint {
    return this.#i64[(this.base + SLOT.x >> 3) + number];
  }
  setX(number: number, value: bigint): void {
    this.#i64[(this.base + SLOT.x >> 3) + (number || SINK)] = value;
  }

  stored(name: StoredCsr): bigint {
    return this.#i64[this.base + STORED_SLOT[name] >> 3];
  }
  store(name: StoredCsr, value: bigint): void {
    this.#i64[this.base + STORED_SLOT[name] >> 3] = value;
  }

  get(register: string): bigint {
    const slot = registerSlot(register);
    if (slot !== undefined) return BigInt.asUintN(64, this.#i64[this.base + slot >> 3]);
    return BigInt.asUintN(64, csrByName(register).read(this));
  }

  set(register: string, value: bigint): void {
    const slot = registerSlot(register);
    if (slot === SLOT.x) return; // x0
    if (slot !== undefined) this.#i64[this.base + slot >> 3] = value;
    else csrByName(register).write?.(this, BigInt.asUintN(64, value));
    if (slot === undefined) this.interrupt();
  }

  /** Everything but the caches, and nothing that hangs on them or on where things stand in memory. */
  save(): Plain {
    const { base, memory, pmp, mmu } = this;
    const block = memory.u8.slice(base, base + SLOT.tlb);
    block.fill(0, SLOT.x + 8 * SINK, SLOT.f);
    block.fill(0, SLOT.result, SLOT.fflags);
    block.fill(0, SLOT.reservation, SLOT.privilege);
    block.fill(0, SLOT.userContext);
    return {
      block,
      state: { ...this.state },
      reservation: this.#reservation && this.#reservation - memory.ramOffset + 1,
      satp: mmu.satp,
      pmpcfg: pmp.cfg.slice(),
      pmpaddr: [...pmp.address],
    };
  }

  load(saved: Plain): void {
    const { block, state, reservation, satp, pmpcfg, pmpaddr } = saved as unknown as Saved;
    this.memory.u8.set(block, this.base);
    this.#i32[this.base + SLOT.reservation >> 2] = reservation && reservation + this.memory.ramOffset - 1;
    this.state = { ...state };
    this.mmu.satp = satp;
    this.pmp.cfg.set(pmpcfg);
    this.pmp.address.set(pmpaddr);
    this.protectionChanged();
    this.writeEnvironment(this.state.menvcfg);
  }

  // ------------------------------------------------------------ start and stop

  start(entry: HartEntry): void {
    if (!this.state.stopped) throw new Error(`Cannot start hart ${this.index}: it runs already`);
    const mode = MODE[entry.mode as keyof typeof MODE];
    if (mode === undefined) {
      throw new RangeError(`Cannot start hart ${this.index}: wanted mode M, S or U, got "${entry.mode}"`);
    }
    this.state.stopped = this.state.waiting = false;
    this.state.ownFirmware = mode === MODE.M;
    this.status = 0;
    this.mmu.satp = 0n;
    this.mode = mode;
    if (mode !== MODE.M) this.#asFirmwareLeavesIt();
    this.pc = entry.pc;
    for (const [name, value] of Object.entries(entry.registers ?? {})) this.set(name, value);
    this.contextChanged();
  }

  stop(): void {
    this.state.stopped = true;
    this.interrupt();
  }

  get stopped(): boolean {
    return this.state.stopped;
  }

  /** What machine-mode firmware sets up before it enters the supervisor. */
  #asFirmwareLeavesIt(): void {
    const { state } = this;
    this.medeleg = 0xb3ff & ~(1 << CAUSE.callFromS);
    this.mideleg = S_INTERRUPTS;
    state.mcounteren = state.scounteren = 7;
    this.writeEnvironment(ENVCFG.ADUE | ENVCFG.STCE);
    this.#i32[this.base + SLOT.fs >> 2] = 1;
    this.pmp.writeCfg(0, 0x1f);
    this.pmp.writeAddress(0, -1n);
    this.protectionChanged();
  }

  // ------------------------------------------------------------ status and address spaces

  readStatus(mask: number, high: bigint): bigint {
    const fs = this.#i32[this.base + SLOT.fs >> 2];
    const low = (this.status | fs << 13) & mask;
    return BigInt(low >>> 0) | high | (fs === 3 ? 1n << 63n : 0n);
  }

  writeStatus(value: number, mask: number): void {
    const writable = STATUS.SIE | STATUS.MIE | STATUS.SPIE | STATUS.MPIE | STATUS.SPP | STATUS.MPRV | STATUS.SUM |
      STATUS.MXR | STATUS.TVM | STATUS.TW | STATUS.TSR | ((value & STATUS.MPP) === 2 << 11 ? 0 : STATUS.MPP);
    this.status = this.status & ~(writable & mask) | value & writable & mask;
    this.#i32[this.base + SLOT.fs >> 2] = (value & STATUS.FS) >> 13;
    this.contextChanged();
  }

  writeSatp(value: bigint): void {
    this.mmu.satp = value;
    this.contextChanged();
  }

  writeEnvironment(value: bigint): void {
    this.state.menvcfg = value;
    this.mmu.updatesAccessed = (value & ENVCFG.ADUE) !== 0n;
    // With Sstc the comparison alone is STIP.
    if (value & ENVCFG.STCE) this.soft &= ~(1 << INTERRUPT.sti);
    this.setTimeCompare(this.state.stimecmp);
  }

  protectionChanged(): void {
    this.pmp.update();
    this.#i32[this.base + SLOT.open >> 2] = Number(this.pmp.open);
    this.flushTranslations();
  }

  flushTranslations(): void {
    this.mmu.flushAll();
    this.contextChanged();
    this.interrupt();
  }

  /** What loads and stores are made under. */
  get dataRegime(): Regime {
    const { status } = this;
    const regime = this.#dataRegime;
    regime.mode = status & STATUS.MPRV ? (status & STATUS.MPP) >> 11 as Mode : this.mode;
    regime.sum = (status & STATUS.SUM) !== 0;
    regime.mxr = (status & STATUS.MXR) !== 0;
    return regime;
  }

  /** What instructions are fetched under. */
  get fetchRegime(): Regime {
    this.#fetchRegime.mode = this.mode;
    return this.#fetchRegime;
  }

  /** Privilege, status or satp changed: what accesses see. */
  contextChanged(): void {
    const { dataRegime, fetchRegime, mmu } = this;
    mmu.provideContexts(3);
    const bySum = dataRegime.sum && dataRegime.mode === MODE.S;
    this.#i32[this.base + SLOT.fetchContext >> 2] = mmu.context(fetchRegime);
    this.#i32[this.base + SLOT.dataContext >> 2] = mmu.context(dataRegime);
    this.#i32[this.base + SLOT.userContext >> 2] = bySum ? mmu.context(dataRegime, true) : 0;
  }

  // ------------------------------------------------------------ floating point, counters

  get floatOn(): boolean {
    return this.#i32[this.base + SLOT.fs >> 2] !== 0;
  }
  get fcsr(): number {
    return this.#i32[this.base + SLOT.frm >> 2] << 5 | this.#i32[this.base + SLOT.fflags >> 2];
  }
  set fcsr(value: number) {
    this.#i32[this.base + SLOT.frm >> 2] = value >> 5;
    this.#i32[this.base + SLOT.fflags >> 2] = value & 31;
    this.#i32[this.base + SLOT.fs >> 2] = 3;
  }

  /** Counters as an instruction sees them: without itself. What it writes, the next one reads. */
  get cycle(): bigint {
    return BigInt(this.steps - this.#present) + this.state.cycleOffset;
  }
  set cycle(value: bigint) {
    this.state.cycleOffset = value - BigInt(this.steps);
  }
  get instret(): bigint {
    return BigInt(this.steps - this.#present - this.traps) + this.state.instretOffset;
  }
  set instret(value: bigint) {
    this.state.instretOffset = value - BigInt(this.steps - this.traps);
  }
  /** 1 while an instruction is being executed: it is counted from its beginning. */
  get #present(): number {
    return this.#start ? 1 : 0;
  }
  get time(): bigint {
    return BigInt(this.context.ticks());
  }

  /** Whether counter `which` may be read in the present mode. */
  mayCount(which: number): boolean {
    const { mcounteren, scounteren } = this.state;
    if (this.mode === MODE.M) return true;
    return (mcounteren >> which & (this.mode === MODE.U ? scounteren >> which : 1) & 1) !== 0;
  }

  get mayCompareTime(): boolean {
    return this.mode === MODE.M || (this.state.menvcfg & ENVCFG.STCE) !== 0n && (this.state.mcounteren & 2) !== 0;
  }

  get mayManageMemory(): boolean {
    return this.mode === MODE.M || !(this.status & STATUS.TVM);
  }

  /** Sstc: the timer interrupt is pending from `ticks` on. */
  setTimeCompare(ticks: bigint): void {
    const { state, context } = this;
    state.stimecmp = ticks;
    context.alarm.cancel();
    const on = (state.menvcfg & ENVCFG.STCE) !== 0n;
    const due = on && ticks <= BigInt(context.ticks());
    this.setInterrupt(INTERRUPT.sti, due);
    if (!on) return;
    const deadline = due ? undefined : context.deadline(ticks);
    if (deadline !== undefined) context.alarm.at(deadline);
  }

  /** The alarm of `stimecmp` fired. */
  timeReached(): void {
    this.setTimeCompare(this.state.stimecmp);
  }

  // ------------------------------------------------------------ interrupts

  /** mip. */
  get pending(): number {
    return this.lines | this.soft;
  }

  setInterrupt(line: number, level: boolean): void {
    const bit = 1 << line;
    // Software clears SSIP itself, whoever set it.
    if (line === INTERRUPT.ssi) this.soft = level ? this.soft | bit : this.soft & ~bit;
    else this.lines = level ? this.lines | bit : this.lines & ~bit;
    if (level) this.interrupt();
  }

  /** Software writes bits of mip; of STIP only where Sstc does not hold it. */
  writePending(value: number, mask: number): void {
    if (this.state.menvcfg & ENVCFG.STCE) mask &= ~(1 << INTERRUPT.sti);
    this.soft = this.soft & ~mask | value & mask;
  }

  /** Whether it is worth running: not stopped, and not waiting in vain. */
  get hasWork(): boolean {
    if (this.state.stopped) return false;
    return !this.state.waiting || (this.pending & this.mie) !== 0;
  }

  /** Takes the interrupt of the highest priority, if one is due. */
  takeInterrupt(): boolean {
    const { state, mode } = this;
    const enabled = this.pending & this.mie;
    if (!enabled) return false;
    state.waiting = false;
    const forM = mode < MODE.M || this.status & STATUS.MIE ? enabled & ~this.mideleg : 0;
    const forS = mode < MODE.S || mode === MODE.S && this.status & STATUS.SIE ? enabled & this.mideleg : 0;
    const due = forM || forS;
    if (!due) return false;
    const { mei, msi, mti, sei, ssi, sti } = INTERRUPT;
    const line = [mei, msi, mti, sei, ssi, sti].find((line) => due >> line & 1)!;
    this.#enter(line, true, 0n, forM === 0);
    return true;
  }

  // ------------------------------------------------------------ traps

  /** Leaves M-mode by MRET. */
  returnFromM(): void {
    const s = this.status;
    const mode = (s & STATUS.MPP) >> 11 as Mode;
    this.status = s & ~(STATUS.MIE | STATUS.MPP) | (s & STATUS.MPIE ? STATUS.MIE : 0) | STATUS.MPIE;
    if (mode !== MODE.M) this.status &= ~STATUS.MPRV;
    this.mode = mode;
    this.#copy(STORED_SLOT.mepc, SLOT.pc);
    this.contextChanged();
  }

  /** Leaves S-mode by SRET. */
  returnFromS(): void {
    const s = this.status;
    this.status = s & ~(STATUS.SIE | STATUS.SPP | STATUS.MPRV) | (s & STATUS.SPIE ? STATUS.SIE : 0) | STATUS.SPIE;
    this.mode = s & STATUS.SPP ? MODE.S : MODE.U;
    this.#copy(STORED_SLOT.sepc, SLOT.pc);
    this.contextChanged();
  }

  /** Takes an exception at pc. */
  trap(cause: number, value: bigint): void {
    this.traps++;
    this.#enter(cause, false, value, this.mode !== MODE.M && (this.medeleg >> cause & 1) !== 0);
  }

  #enter(cause: number, interrupt: boolean, value: bigint, toS: boolean): void {
    const s = this.status;
    if (toS) {
      this.status = s & ~(STATUS.SPIE | STATUS.SIE | STATUS.SPP) | (s & STATUS.SIE ? STATUS.SPIE : 0) |
        (this.mode ? STATUS.SPP : 0);
      this.mode = MODE.S;
    } else {
      this.status = s & ~(STATUS.MPIE | STATUS.MIE | STATUS.MPP) | (s & STATUS.MIE ? STATUS.MPIE : 0) |
        this.mode << 11;
      this.mode = MODE.M;
    }
    const names = toS ? S_TRAP : M_TRAP;
    this.#setAddress(STORED_SLOT[names.cause], cause, interrupt ? 1 << 31 : 0, 0);
    this.#copy(SLOT.pc, STORED_SLOT[names.epc]);
    this.store(names.tval, value);
    const vector = this.base + STORED_SLOT[names.tvec] >> 2;
    const low = this.#i32[vector];
    this.#setAddress(SLOT.pc, low & ~3, this.#i32[vector + 1], interrupt && low & 1 ? 4 * cause : 0);
    this.contextChanged();
  }
}

function csrByName(name: string): Csr {
  const csr = BY_NAME.get(name);
  if (!csr) throw new RangeError(`no register is called "${name}"`);
  return csr;
}
