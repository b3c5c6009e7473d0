// An instruction of a region: the vocabulary in which its row writes the WebAssembly for it.

import { CSR, SSTATUS_NUMBER } from "../csrs.ts";
import type { Decoded } from "../encoding.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { SLOT, type TLB } from "../layout.ts";
import type { Fields } from "../rows/row.ts";
import type { FpOp } from "../softfloat.ts";
import type { AccessSize, SystemCall, Vocabulary } from "../vocabulary.ts";
import type { Callee, FunctionBuilder } from "../wasm/function.ts";
import { type F32, type F64, type I32, type I64, TYPE, type Value, type ValueType } from "../wasm/types.ts";
import { WasmHart } from "../wasm_hart.ts";
import { CSR_DONE, CSR_HOW, csrHow, type SystemFunctions } from "../wasm_system.ts";
import type { IntegerHelpers } from "../wasm_values.ts";
import type { BlockAccess } from "./accesses.ts";
import type { HostFloat } from "./host_float.ts";
import type { RegionPages } from "./pages.ts";
import { type BlockEnd, isFloatCsr } from "./region.ts";
import type { RegionRegisters } from "./registers.ts";

/** Functions that instructions call. */
export interface InstructionImports {
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
  readonly integers: IntegerHelpers;
  readonly floats: Readonly<Record<FpOp, Callee>>;
  readonly system: Omit<SystemFunctions, "fencePage">;
}

/** What the region around an instruction is to it. */
export interface Surroundings {
  readonly registers: RegionRegisters;
  readonly pages: RegionPages;
  readonly hostFloat: HostFloat;
  /** Whether the region needs the floating-point unit on. */
  readonly usesFloat: boolean;
  /** The virtual address of an offset in the page. */
  at(offset: number): I64;
  /** The block ends with a conditional branch. */
  branch(condition: I32): void;
  /** The block ends with a jump to an address. */
  jump(target: I64): void;
  /** Leaves the region for an address, where the interpreter goes on. */
  stopAt(pc: I64): void;
  /** Leaves the present instruction, and what follows, to the interpreter. */
  giveBack(): void;
  /** Leaves what follows the present instruction to the interpreter. */
  giveBackRest(): void;
}

/** Writes the code of instructions, one after the other. */
export class InstructionCompiler extends WasmHart implements Vocabulary<I64, I32> {
  // The present block.
  #end!: BlockEnd;
  /** Whether it is in a loop that calls nothing. */
  #loops = false;
  /** Whether mstatus.FS says that the state is dirty. */
  #floatDirty = false;

  // The present instruction.
  #fields!: Fields;
  #has: ReadonlySet<keyof Fields> = new Set();
  #offset = 0;
  #length = 0;
  /** Its access to memory. */
  #access?: BlockAccess;

  constructor(f: FunctionBuilder, readonly imports: InstructionImports, readonly region: Surroundings) {
    super(f, imports.integers, imports.only);
  }

  /** A block starts, which ends so; `loops` says that it is in a loop that calls nothing. */
  begin(end: BlockEnd, loops: boolean): void {
    this.#end = end;
    this.#loops = loops;
    this.#floatDirty = false;
  }

  /** Writes an instruction's code. */
  write({ row, index, fields, length }: Decoded, offset: number, access?: BlockAccess): void {
    this.#fields = fields;
    this.#has = INSTRUCTIONS.encodings[index].fields;
    this.#offset = offset;
    this.#length = length;
    this.#access = access;
    if (row.float) this.region.registers.flush();
    row.run(this);
  }

  // ------------------------------------------------------------ operands

  get rs1(): I64 {
    return this.#getX(this.#fields.rs1);
  }
  get rs2(): I64 {
    return this.#getX(this.#fields.rs2);
  }
  get imm(): I64 {
    return this.f.const64(this.#fields.imm);
  }
  get pc(): I64 {
    return this.region.at(this.#offset);
  }
  get next(): I64 {
    return this.region.at(this.#offset + this.#length);
  }

  setRd(value: I64): void {
    if (this.#fields.rd) this.region.registers.writeX(this.#fields.rd, value);
  }

  #getX(number: number): I64 {
    return number ? this.region.registers.readX(number) : this.f.const64(0);
  }

  // ------------------------------------------------------------ memory and jumps

  protected access(
    _address: I64,
    _size: AccessSize,
    _tag: typeof TLB.read | typeof TLB.write,
    aligned: boolean,
    direct: (host: () => I32, offset: number) => void,
  ): void {
    const { registers, pages } = this.region;
    const access = this.#access!;
    if (access.leads) registers.flush();
    direct(...pages.host({ access, loops: this.#loops, base: () => this.rs1, aligned }));
  }

  branch(condition?: I32): void {
    if (condition !== undefined) this.region.branch(condition);
    // The callee has to be told of; where another jump goes, the block's end says.
    else if (this.#end.kind === "call") this.jump(this.f.i64.add(this.pc, this.imm));
  }

  jump(target: I64): void {
    this.region.registers.flush();
    this.region.jump(target);
  }

  // ------------------------------------------------------------ the system

  /** What there is a quick way for; all else is the interpreter's. */
  system(call: SystemCall): void {
    const { enterSupervisor, leaveSupervisor } = this.imports.system;
    this.region.registers.flush();
    if (call === "fence.i") return; // the code cache follows every store already
    if (call === "ecall") return this.#switchMode(enterSupervisor, this.hart, this.pc);
    if (call === "sret") return this.#switchMode(leaveSupervisor, this.hart);
    if (isFloatCsr(this.#fields.csr)) this.#floatCsr(call);
    else this.#quickCsr(call);
  }

  /** Leaves for where the hart is after the call; for the interpreter, as the same address may be other code now. */
  #switchMode(callee: Callee, ...args: Value[]): void {
    const { f, region } = this;
    const done = f.call<typeof TYPE.i32>(callee, ...args);
    f.if(f.unlikely(f.i32.eqz(done)), () => region.giveBack());
    region.stopAt(f.load64(this.hart, SLOT.pc));
  }

  /** Accesses to sstatus and to the registers of traps. */
  #quickCsr(call: SystemCall): void {
    const { f, region } = this;
    const { csr, rs1 } = this.#fields;
    const operand = call.endsWith("i") ? f.const64(rs1) : this.rs1;
    const how = f.const32(csrHow(call, rs1));
    const done = f.call<typeof TYPE.i32>(this.imports.system.accessCsr, this.hart, f.const32(csr), how, operand);
    f.if(f.unlikely(f.i32.eqz(done)), () => region.giveBack());
    this.setRd(f.load64(this.hart, SLOT.result));
    region.registers.flush();
    if (csr !== SSTATUS_NUMBER || csrHow(call, rs1) === CSR_HOW.read) return;
    f.if(f.i32.and(done, f.const32(CSR_DONE.pages)), () => region.pages.forget());
    this.#floatDirty = false;
    if (region.usesFloat) {
      f.if(f.unlikely(f.i32.and(done, f.const32(CSR_DONE.floatOff))), () => region.giveBackRest());
    }
  }

  /** Accesses to fflags, frm and fcsr. */
  #floatCsr(call: SystemCall): void {
    const { f } = this;
    const { csr, rs1 } = this.#fields;
    const flags = f.load32(this.hart, SLOT.fflags);
    const rounding = f.load32(this.hart, SLOT.frm);
    const fcsr = f.i32.or(flags, f.i32.shl(rounding, f.const32(5)));
    const old = f.keep(csr === CSR.fcsr ? fcsr : csr === CSR.frm ? rounding : flags);
    const writes = call.startsWith("csrrw") || rs1 !== 0;
    if (writes) {
      const by = f.keep(call.endsWith("i") ? f.const32(rs1) : f.i32.wrap(this.rs1));
      const value = f.keep(
        call.startsWith("csrrw")
          ? by
          : call.startsWith("csrrs")
          ? f.i32.or(old, by)
          : f.i32.and(old, f.i32.xor(by, f.const32(-1))),
      );
      if (csr !== CSR.frm) f.store("i32", this.hart, f.i32.and(value, f.const32(31)), SLOT.fflags);
      if (csr !== CSR.fflags) {
        const rm = csr === CSR.fcsr ? f.i32.shrU(value, f.const32(5)) : value;
        f.store("i32", this.hart, f.i32.and(rm, f.const32(7)), SLOT.frm);
      }
      this.#dirtyFloat();
      this.region.hostFloat.learn();
    }
    this.setRd(f.i64.extendUnsigned(old));
  }

  // ------------------------------------------------------------ floating point

  get fs1(): I64 {
    return this.region.registers.readF(this.#fields.fs1);
  }
  get fs2(): I64 {
    return this.region.registers.readF(this.#fields.fs2);
  }
  get fs3(): I64 {
    return this.region.registers.readF(this.#fields.fs3);
  }

  setFd(value: I64): void {
    this.region.registers.writeF(this.#fields.fd, value);
    this.#dirtyFloat();
  }

  fp(op: FpOp, a: I64, b: I64 = this.constant(0), c: I64 = this.constant(0)): I64 {
    const { f } = this;
    const { hostFloat } = this.region;
    const host = hostFloat.result(op, this.#has.has("rm") ? this.#fields.rm : 0, a, b, c);
    if (!host) {
      const exact = this.#float(op, a, b, c);
      this.#dirtyFloat();
      return exact;
    }
    const { type, value, holds } = host;
    const result = f.temporary<ValueType>(type);
    f.set(result, value);
    if (holds) {
      f.if(f.unlikely(f.i32.eqz(holds(f.get(result)))), () => {
        const exact = this.#float(op, a, b, c);
        f.set(result, type === TYPE.f64 ? f.f64.reinterpret(exact) : type === TYPE.f32 ? asSingle(f, exact) : exact);
        if (this.#has.has("rm")) hostFloat.learn();
      });
    }
    this.#dirtyFloat();
    if (type === TYPE.i64) return f.get(result) as I64;
    if (type === TYPE.f64) return f.i64.reinterpret(f.get(result) as F64);
    return f.i64.extendUnsigned(f.i32.reinterpret(f.get(result) as F32));
  }

  /** Calls the function of an operation. */
  #float(op: FpOp, a: I64, b: I64, c: I64): I64 {
    const { f } = this;
    let rm: I32 = f.const32(this.#has.has("rm") ? this.#fields.rm : 0);
    if (this.#has.has("rm") && this.#fields.rm > 4) {
      rm = f.keep(this.#fields.rm === 7 ? f.load32(this.hart, SLOT.frm) : rm);
      f.if(f.unlikely(f.i32.gtU(rm, f.const32(4))), () => this.region.giveBack()); // reserved: illegal
    }
    return f.call(this.imports.floats[op], this.hart, rm, a, b, c);
  }

  /** mstatus.FS, once a block: nothing in between turns it back. */
  #dirtyFloat(): void {
    if (this.#floatDirty) return;
    this.#floatDirty = true;
    this.f.store("i32", this.hart, this.f.const32(3), SLOT.fs);
  }
}

/** The single whose bits are the low half. */
function asSingle(f: FunctionBuilder, bits: I64): F32 {
  return f.f32.reinterpret(f.i32.wrap(bits));
}
