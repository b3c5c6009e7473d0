// The compiler: a region of hot code as one WebAssembly function, written by the instruction rows.

import type { Decoded, InstructionTable } from "../encoding.ts";
import { PAGE_BYTES, SLOT, TLB } from "../layout.ts";
import type { Fields } from "../rows/row.ts";
import type { FpOp } from "../softfloat.ts";
import type { AccessSize, Vocabulary } from "../vocabulary.ts";
import type { Callee, FunctionBuilder, Label } from "../wasm/function.ts";
import { type I32, type I64, type Local, TYPE, type Value } from "../wasm/types.ts";
import { WasmHart } from "../wasm_hart.ts";
import type { IntegerHelpers } from "../wasm_values.ts";
import type { Block, Region } from "./region.ts";
import { analyse, type Structure, writeStructured } from "./structure.ts";

/** Functions that regions call. */
export interface RegionImports {
  readonly integers: IntegerHelpers;
  readonly floats: Readonly<Record<FpOp, Callee>>;
  /**
   * Fills the TLB for an access, without any other effect: (hart, low, high, size, access) → whether it can be made
   * directly now.
   */
  readonly refill: Callee;
}

/** The signature of a region: (hart, budget) → the budget left, or its complement if the interpreter must go on. */
export const REGION_SIGNATURE = { params: [TYPE.i32, TYPE.i32], results: [TYPE.i32] } as const;

/** A register that the region holds in a local. */
interface Held {
  readonly local: Local<typeof TYPE.i64>;
  readonly slot: number;
  readonly written: boolean;
}

/** Writes one region's function. It is also the vocabulary in which the rows write their code. */
export class RegionCompiler extends WasmHart implements Vocabulary<I64, I32> {
  readonly #imports: RegionImports;
  readonly #table: InstructionTable;
  readonly #blocks: readonly Block[];
  readonly #numbers: ReadonlyMap<number, number>;
  readonly #structure: Structure;
  /** The most instructions from each block to the next check of the budget. */
  readonly #longest: number[] = [];
  readonly #x: Held[] = [];
  readonly #f: Held[] = [];

  readonly #hart: Local<typeof TYPE.i32>;
  readonly #budget: Local<typeof TYPE.i32>;
  readonly #context: Local<typeof TYPE.i64>;
  /** The virtual address of the page, and of where the region is left for. */
  readonly #page: Local<typeof TYPE.i64>;
  readonly #pc: Local<typeof TYPE.i64>;
  /** All ones if the interpreter must go on. */
  readonly #stop: Local<typeof TYPE.i32>;
  #exit: Label = 0;

  // The present instruction.
  #fields!: Fields;
  #has: ReadonlySet<keyof Fields> = new Set();
  #offset = 0;
  #length = 0;
  /** Instructions of the block that are not done when it starts, itself included. */
  #left = 0;
  /** A conditional branch's condition, until the block ends. */
  #condition?: I32;
  #floatDirty = false;

  constructor(f: FunctionBuilder, region: Region, table: InstructionTable, imports: RegionImports) {
    super(f, imports.integers);
    this.#imports = imports;
    this.#table = table;
    this.#blocks = [...region.values()];
    this.#numbers = new Map(this.#blocks.map((block, i) => [block.offset, i]));
    this.#structure = analyse({ successors: this.#blocks.map((block) => this.#successors(block)) });
    this.#hart = f.param(0);
    this.#budget = f.param(1);
    this.#context = f.local(TYPE.i64);
    this.#page = f.local(TYPE.i64);
    this.#pc = f.local(TYPE.i64);
    this.#stop = f.local(TYPE.i32);
  }

  /** Writes the function. */
  write(): void {
    const { f } = this;
    const { order, loops } = this.#structure;
    for (const node of order.toReversed()) {
      const ahead = this.#successors(this.#blocks[node]).filter((to) =>
        !loops.has(to) && this.#structure.place[to] > this.#structure.place[node]
      );
      const most = Math.max(0, ...ahead.map((to) => this.#longest[to]));
      this.#longest[node] = this.#blocks[node].instructions.length + most;
    }
    const float = this.#holdRegisters();

    f.set(this.#pc, f.load64(this.hart, SLOT.pc));
    // Nothing is changed yet where there are too few steps left, or the floating-point unit is off.
    const refused = f.i32.ltS(f.get(this.#budget), f.const32(this.#longest[0]));
    const off = float ? f.i32.or(refused, f.i32.eqz(f.load32(this.hart, SLOT.fs))) : refused;
    f.if(off, () => f.return(f.i32.xor(f.get(this.#budget), f.const32(-1))));
    f.set(this.#page, f.i64.and(f.get(this.#pc), f.const64(-PAGE_BYTES)));
    f.set(this.#context, f.load64(this.hart, SLOT.dataContext));
    for (const held of this.#held()) f.set(held.local, f.load64(this.hart, held.slot));
    f.release();

    this.#exit = f.openBlock();
    writeStructured(this.#structure, {
      openBlock: () => f.openBlock(),
      openLoop: () => f.openLoop(),
      close: () => f.close(),
      br: (label) => f.br(label),
      body: (node) => this.#body(node),
      end: (node, to) => this.#end(this.#blocks[node], to),
      leaveFor: (node) => this.#leave(this.#at(this.#blocks[node].offset)),
    });
    f.close();
    this.#spill();
    f.store("i64", this.hart, f.get(this.#pc), SLOT.pc);
    f.return(f.i32.xor(f.get(this.#budget), f.get(this.#stop)));
    f.unreachable();
  }

  // ------------------------------------------------------------ registers

  /** Gives a local to each register that the region names. Whether there are floating-point instructions. */
  #holdRegisters(): boolean {
    const { f } = this;
    let float = false;
    const used = { x: new Set<number>(), f: new Set<number>() };
    const written = { x: new Set<number>(), f: new Set<number>() };
    for (const { instructions } of this.#blocks) {
      for (const { row, index, fields } of instructions) {
        const { fields: names } = this.#table.encodings[index];
        float ||= row.float === true;
        for (const name of names) {
          if (name === "rd" || name === "rs1" || name === "rs2") used.x.add(fields[name]);
          if (name === "fd" || name === "fs1" || name === "fs2" || name === "fs3") used.f.add(fields[name]);
          if (name === "rd") written.x.add(fields.rd);
          if (name === "fd") written.f.add(fields.fd);
        }
      }
    }
    used.x.delete(0);
    const hold = (kind: "x" | "f") => (n: number): Held => ({
      local: f.local(TYPE.i64),
      slot: SLOT[kind] + 8 * n,
      written: written[kind].has(n),
    });
    for (const n of used.x) this.#x[n] = hold("x")(n);
    for (const n of used.f) this.#f[n] = hold("f")(n);
    return float;
  }

  #held(): Held[] {
    return [...this.#x, ...this.#f].filter((held) => held !== undefined);
  }

  /** Stores the registers that the region writes. */
  #spill(): void {
    const { f } = this;
    for (const { written, slot, local } of this.#held()) if (written) f.store("i64", this.hart, f.get(local), slot);
  }

  // ------------------------------------------------------------ control flow

  #successors({ end }: Block): number[] {
    const offsets = end.kind === "branch" ? [end.taken, end.next] : end.kind === "goto" ? [end.next] : [];
    return offsets.flatMap((offset) => this.#numbers.get(offset) ?? []);
  }

  #body(node: number): void {
    const { f } = this;
    const block = this.#blocks[node];
    this.#floatDirty = false;
    if (this.#structure.loops.has(node)) {
      f.if(f.i32.ltS(f.get(this.#budget), f.const32(this.#longest[node])), () => this.#stopAt(this.#at(block.offset)));
    }
    this.#left = block.instructions.length;
    this.#addBudget(-this.#left);
    this.#offset = block.offset;
    for (const instruction of block.instructions) {
      if (this.#condition === undefined) f.release();
      this.#instruction(instruction);
      this.#offset += instruction.length;
      this.#left--;
    }
  }

  #instruction({ row, index, fields, length }: Decoded): void {
    this.#fields = fields;
    this.#has = this.#table.encodings[index].fields;
    this.#length = length;
    row.run(this);
  }

  #end({ end }: Block, to: (node: number) => void): void {
    const { f } = this;
    const go = (offset: number) => {
      const node = this.#numbers.get(offset);
      if (node === undefined) this.#leave(this.#at(offset));
      else to(node);
    };
    if (end.kind === "goto") go(end.next);
    if (end.kind === "branch") {
      const condition = this.#condition!;
      this.#condition = undefined;
      f.if(condition, () => go(end.taken), () => go(end.next));
    }
  }

  /** The virtual address of an offset in the page. */
  #at(offset: number): I64 {
    return this.f.i64.add(this.f.get(this.#page), this.f.const64(offset));
  }

  #leave(pc: I64): void {
    this.f.set(this.#pc, pc);
    this.f.br(this.#exit);
  }

  #stopAt(pc: I64): void {
    this.f.set(this.#stop, this.f.const32(-1));
    this.#leave(pc);
  }

  #addBudget(steps: number): void {
    this.f.set(this.#budget, this.f.i32.add(this.f.get(this.#budget), this.f.const32(steps)));
  }

  // ------------------------------------------------------------ memory

  protected get hart(): I32 {
    return this.f.get(this.#hart);
  }
  protected get context(): I64 {
    return this.f.get(this.#context);
  }

  /** What the TLB does not serve after a refill is the interpreter's: devices, traps, page crossings. */
  protected access(
    address: I64,
    size: AccessSize,
    tag: typeof TLB.read | typeof TLB.write,
    aligned: boolean,
    direct: (host: () => I32) => void,
  ): void {
    const { f } = this;
    const { hit, host } = this.lookUp(address, size, tag);
    const leave = () => {
      this.#addBudget(this.#left);
      this.#stopAt(this.pc);
    };
    if (aligned) f.if(f.i32.eqz(this.isAligned(address, size)), leave);
    f.if(f.i32.eqz(hit()), () => {
      const low = f.i32.wrap(address);
      const high = f.i32.wrap(f.i64.shrU(address, f.const64(32)));
      const kind = f.const32(tag === TLB.read ? 1 : 2);
      const filled = f.call<typeof TYPE.i32>(this.#imports.refill, this.hart, low, high, f.const32(size), kind);
      f.if(f.i32.eqz(filled), leave);
    });
    direct(host);
  }

  // ------------------------------------------------------------ the vocabulary

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
    return this.#at(this.#offset);
  }
  get next(): I64 {
    return this.#at(this.#offset + this.#length);
  }

  setRd(value: I64): void {
    if (this.#fields.rd) this.f.set(this.#x[this.#fields.rd].local, value);
  }

  branch(condition?: I32): void {
    this.#condition = condition;
  }

  jump(target: I64): void {
    this.#leave(target);
  }

  system(): void {
    throw new Error("system instructions are the interpreter's");
  }

  get fs1(): I64 {
    return this.f.get(this.#f[this.#fields.fs1].local);
  }
  get fs2(): I64 {
    return this.f.get(this.#f[this.#fields.fs2].local);
  }
  get fs3(): I64 {
    return this.f.get(this.#f[this.#fields.fs3].local);
  }

  setFd(value: I64): void {
    this.f.set(this.#f[this.#fields.fd].local, value);
    this.#dirtyFloat();
  }

  fp(op: FpOp, a: I64, b: I64 = this.constant(0), c: I64 = this.constant(0)): I64 {
    const { f } = this;
    let rm: Value<typeof TYPE.i32> = f.const32(this.#has.has("rm") ? this.#fields.rm : 0);
    if (this.#has.has("rm") && this.#fields.rm > 4) {
      rm = f.keep(this.#fields.rm === 7 ? f.load32(this.hart, SLOT.frm) : rm);
      f.if(f.i32.gtU(rm, f.const32(4)), () => { // reserved: illegal
        this.#addBudget(this.#left);
        this.#stopAt(this.pc);
      });
    }
    this.#dirtyFloat();
    return f.call(this.#imports.floats[op], this.hart, rm, a, b, c);
  }

  #getX(number: number): I64 {
    return number ? this.f.get(this.#x[number].local) : this.f.const64(0);
  }

  /** mstatus.FS, once a block: nothing in between turns it back. */
  #dirtyFloat(): void {
    if (this.#floatDirty) return;
    this.#floatDirty = true;
    this.f.store("i32", this.hart, this.f.const32(3), SLOT.fs);
  }
}
