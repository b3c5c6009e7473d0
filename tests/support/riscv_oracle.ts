// The oracle: the rows' meaning over BigInt, one instruction at a time, slow and obvious; tests hold generated code to it.

import type { EngineBus } from "../../core/plugin.ts";
import { ACCESS, type Access, ACCESS_FAULT, CAUSE } from "../../plugins/riscv/cause.ts";
import type { Decoded } from "../../plugins/riscv/encoding.ts";
import type { RiscvHart } from "../../plugins/riscv/hart.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { PAGE_BYTES, SINK, SLOT } from "../../plugins/riscv/layout.ts";
import type { Regime } from "../../plugins/riscv/mmu.ts";
import { compute, type FpOp } from "../../plugins/riscv/softfloat.ts";
import { executeSystem } from "../../plugins/riscv/system.ts";
import type { AccessSize, AmoFunction, SystemCall, Vocabulary } from "../../plugins/riscv/vocabulary.ts";
import { BigIntValues } from "./riscv_oracle_values.ts";

/** What ends a row early. */
class Trap {
  constructor(readonly cause: number, readonly value: bigint) {}
}

/** The part of an access that lies in one page: virtual and physical address, bytes. */
interface Part {
  readonly virtual: bigint;
  readonly physical: number;
  readonly length: number;
}

const PAGE = BigInt(PAGE_BYTES);
const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value);
const lesser = (a: bigint, b: bigint): bigint => a < b ? a : b;
const greater = (a: bigint, b: bigint): bigint => a < b ? b : a;

/** What atomic operations leave in memory; words come sign-extended. */
const AMO: Record<AmoFunction, (old: bigint, by: bigint) => bigint> = {
  swap: (_old, by) => by,
  add: (old, by) => old + by,
  xor: (old, by) => old ^ by,
  and: (old, by) => old & by,
  or: (old, by) => old | by,
  min: (old, by) => lesser(signed(old), signed(by)),
  max: (old, by) => greater(signed(old), signed(by)),
  minu: lesser,
  maxu: greater,
};

/**
 * Executes a hart by the instruction table alone: every fetch, load and store is translated anew, nothing is cached.
 * The hart's own methods serve system instructions and traps.
 */
export class Oracle extends BigIntValues implements Vocabulary<bigint, boolean> {
  #decoded!: Decoded;
  #bits = 0;
  /** Where the hart goes on; `undefined` if a system instruction has said so in the hart's pc. */
  #target: bigint | undefined = 0n;

  constructor(readonly hart: RiscvHart, readonly bus: EngineBus) {
    super();
  }

  /**
   * Takes the interrupt that is due, if there is one, and makes one step: an instruction or a trap.
   * Gives what was executed, for reports; `undefined` for what could not be fetched or decoded.
   */
  step(): Decoded | undefined {
    const { hart } = this;
    hart.takeInterrupt();
    hart.begin(1);
    hart.countStep();
    let decoded: Decoded | undefined;
    try {
      this.#bits = this.#fetch();
      decoded = INSTRUCTIONS.decode(this.#bits);
      if (!decoded || decoded.row.float && !hart.floatOn) throw this.#illegal();
      this.#execute(decoded);
    } catch (trap) {
      if (!(trap instanceof Trap)) throw trap;
      hart.trap(trap.cause, trap.value);
    }
    hart.end();
    return decoded;
  }

  #execute(decoded: Decoded): void {
    this.#decoded = decoded;
    this.#target = this.next;
    decoded.row.run(this);
    if (this.#target !== undefined) this.hart.pc = this.#target;
  }

  #illegal(): Trap {
    return new Trap(CAUSE.illegal, BigInt(this.#bits >>> 0));
  }

  // ------------------------------------------------------------ memory

  /** The instruction at pc, halfword by halfword: each may be on a page of its own. */
  #fetch(): number {
    const half = (address: bigint): number => {
      const at = this.#translate(unsigned(address), 2, ACCESS.fetch, this.hart.fetchRegime);
      const host = this.hart.memory.host(at, 2);
      if (host < 0) throw new Trap(CAUSE.fetchAccess, unsigned(address));
      return this.hart.memory.view.getUint16(host, true);
    };
    const low = half(this.pc);
    return (low & 3) === 3 ? low | half(this.pc + 2n) << 16 : low;
  }

  #translate(address: bigint, length: number, access: Access, regime: Regime): number {
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    const fault = this.hart.mmu.translate(low, high, length, access, regime);
    if (fault >= 0) throw new Trap(fault, address);
    return this.hart.mmu.physical;
  }

  /** Translates a data access: one part, or two where it leaves its page. Nothing is done until both are known. */
  #reach(address: bigint, size: number, access: Access): Part[] {
    const room = Number(PAGE - address % PAGE);
    const part = (virtual: bigint, length: number): Part => {
      return { virtual, length, physical: this.#translate(virtual, length, access, this.hart.dataRegime) };
    };
    if (size <= room) return [part(address, size)];
    return [part(address, room), part(unsigned(address + BigInt(room)), size - room)];
  }

  /** Aligned, and of RAM: what the A extension works on. */
  #reachAtomic(address: bigint, size: number, access: Access): Part {
    if (address % BigInt(size)) {
      throw new Trap(access === ACCESS.load ? CAUSE.loadMisaligned : CAUSE.storeMisaligned, address);
    }
    const [part] = this.#reach(address, size, access);
    if (this.hart.memory.host(part.physical, size) < 0) throw new Trap(ACCESS_FAULT[access], address);
    return part;
  }

  /** The bytes of one part, little-endian. Registers of devices are read whole where the access is. */
  #read({ physical, length, virtual }: Part, whole: boolean): bigint {
    const { memory } = this.hart;
    const host = memory.host(physical, length);
    let value = 0n;
    if (host >= 0) {
      for (let i = length - 1; i >= 0; i--) value = value << 8n | BigInt(memory.u8[host + i]);
      return value;
    }
    const width = whole ? Math.min(length, 4) : 1;
    for (let at = 0; at < length; at += width) {
      const read = this.bus.read(physical + at, width as 1 | 2 | 4);
      if (read < 0) throw new Trap(CAUSE.loadAccess, virtual);
      value |= BigInt(read) << BigInt(8 * at);
    }
    return value;
  }

  #write({ physical, length, virtual }: Part, value: bigint, whole: boolean): void {
    const { memory } = this.hart;
    const host = memory.host(physical, length);
    if (host >= 0) {
      for (let i = 0; i < length; i++) memory.u8[host + i] = Number(value >> BigInt(8 * i) & 0xffn);
      return;
    }
    const width = whole ? Math.min(length, 4) : 1;
    for (let at = 0; at < length; at += width) {
      const piece = Number(BigInt.asUintN(8 * width, value >> BigInt(8 * at)));
      if (!this.bus.write(physical + at, piece, width as 1 | 2 | 4)) throw new Trap(CAUSE.storeAccess, virtual);
    }
  }

  load(size: AccessSize, signed: boolean, address: bigint): bigint {
    const parts = this.#reach(address, size, ACCESS.load);
    let value = 0n;
    let at = 0n;
    for (const part of parts) {
      value |= this.#read(part, parts.length === 1) << at;
      at += 8n * BigInt(part.length);
    }
    return signed ? unsigned(BigInt.asIntN(8 * size, value)) : value;
  }

  store(size: AccessSize, address: bigint, value: bigint): void {
    const parts = this.#reach(address, size, ACCESS.store);
    for (const part of parts) {
      this.#write(part, value, parts.length === 1);
      value >>= 8n * BigInt(part.length);
    }
  }

  // ------------------------------------------------------------ atomic operations

  get #reservation(): number {
    return this.hart.memory.i32[this.hart.base + SLOT.reservation >> 2] >>> 0;
  }
  set #reservation(host: number) {
    this.hart.memory.i32[this.hart.base + SLOT.reservation >> 2] = host;
  }

  loadReserved(size: 4 | 8, address: bigint): bigint {
    const part = this.#reachAtomic(address, size, ACCESS.load);
    this.#reservation = this.hart.memory.host(part.physical, size);
    return unsigned(BigInt.asIntN(8 * size, this.#read(part, true)));
  }

  storeConditional(size: 4 | 8, address: bigint, value: bigint): bigint {
    const part = this.#reachAtomic(address, size, ACCESS.store);
    const held = this.#reservation === this.hart.memory.host(part.physical, size);
    this.#reservation = 0;
    if (held) this.#write(part, value, true);
    return held ? 0n : 1n;
  }

  amo(fn: AmoFunction, size: 4 | 8, address: bigint, operand: bigint): bigint {
    const part = this.#reachAtomic(address, size, ACCESS.store);
    const extended = (value: bigint) => unsigned(BigInt.asIntN(8 * size, value));
    const old = extended(this.#read(part, true));
    this.#write(part, unsigned(AMO[fn](old, extended(operand))), true);
    return old;
  }

  fence(): void {}

  // ------------------------------------------------------------ registers and jumps

  get rs1(): bigint {
    return unsigned(this.hart.x(this.#decoded.fields.rs1));
  }
  get rs2(): bigint {
    return unsigned(this.hart.x(this.#decoded.fields.rs2));
  }
  get imm(): bigint {
    return unsigned(BigInt(this.#decoded.fields.imm));
  }
  get pc(): bigint {
    return unsigned(this.hart.pc);
  }
  get next(): bigint {
    return unsigned(this.hart.pc + BigInt(this.#decoded.length));
  }

  setRd(value: bigint): void {
    const { rd } = this.#decoded.fields;
    if (rd !== 0) this.hart.setX(rd, value);
  }

  branch(condition = true): void {
    if (condition) this.#target = unsigned(this.pc + this.imm);
  }

  jump(target: bigint): void {
    this.#target = target;
  }

  system(call: SystemCall): void {
    const { rd, rs1, rs2, csr } = this.#decoded.fields;
    this.#target = undefined;
    // The hart takes the operands as a predecoded entry holds them.
    const first = call === "sfence.vma" ? rs2 : rd || SINK;
    executeSystem(this.hart, call, first << 13 | rs1 << 23, csr, this.#decoded.length);
  }

  // ------------------------------------------------------------ floating point

  get fs1(): bigint {
    return this.#float(this.#decoded.fields.fs1);
  }
  get fs2(): bigint {
    return this.#float(this.#decoded.fields.fs2);
  }
  get fs3(): bigint {
    return this.#float(this.#decoded.fields.fs3);
  }

  #float(number: number): bigint {
    return unsigned(this.hart.memory.i64[(this.hart.base + SLOT.f >> 3) + number]);
  }

  setFd(value: bigint): void {
    const { hart } = this;
    hart.memory.i64[(hart.base + SLOT.f >> 3) + this.#decoded.fields.fd] = value;
    hart.fcsr |= 0; // FS is dirty now
  }

  fp(op: FpOp, a: bigint, b = 0n, c = 0n): bigint {
    const { hart } = this;
    let { rm } = this.#decoded.fields;
    if (rm === 7) rm = hart.fcsr >> 5;
    if (rm > 4) throw this.#illegal();
    const { value, flags } = compute(op, rm, a, b, c);
    hart.fcsr |= flags;
    return value;
  }
}
