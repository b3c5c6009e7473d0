// The compiler: a region of hot code as one WebAssembly function, written by the instruction rows.

import type { Crossing } from "../code.ts";
import type { Decoded } from "../encoding.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { CODE, PAGE_BYTES, SLOT, type TLB } from "../layout.ts";
import type { Fields } from "../rows/row.ts";
import { CSR, SSTATUS_NUMBER } from "../csrs.ts";
import type { FpOp } from "../softfloat.ts";
import type { AccessSize, SystemCall, Vocabulary } from "../vocabulary.ts";
import type { Callee, FunctionBuilder, Label } from "../wasm/function.ts";
import { type F32, type F64, type I32, type I64, type Local, TYPE, type Value, type ValueType } from "../wasm/types.ts";
import { TRANSLATION, WasmHart } from "../wasm_hart.ts";
import { fetchLookUp, isNextKnown, MAX_DEPTH } from "../wasm_runtime.ts";
import { CSR_DONE, CSR_HOW, csrHow, type SystemFunctions } from "../wasm_system.ts";
import type { IntegerHelpers } from "../wasm_values.ts";
import { accessesOf, type BlockAccess } from "./accesses.ts";
import { exponentLimit, HostFloat } from "./host_float.ts";
import { RegionPages, type Translators } from "./pages.ts";
import { RegionRegisters, RegisterUse } from "./registers.ts";
import { type Block, type BlockEnd, isFloatCsr, type Region, successors } from "./region.ts";
import { analyse, type Structure, writeStructured } from "./structure.ts";

/** How a region is compiled. */
export interface RegionOptions {
  /** The region's index in the table. */
  readonly index: number;
  /**
   * The address of its count of entries and turns of loops that it is good for, if it is made quickly, and made again,
   * with all optimizations, once it has been entered often.
   */
  readonly turns: number | undefined;
  /** Whether accesses to what lies close together share a check. */
  readonly grouped: boolean;
  /** The instruction at the end of the page, if it goes on in the next one and is in the region. */
  readonly crossing?: Crossing;
  /** The function of the region that starts at an offset of the page, if it is in this module. */
  readonly neighbour: (offset: number) => Callee | undefined;
}

/** Functions that regions call. */
export interface RegionImports extends Translators {
  /** (index of the region, offset in the page) → nothing: tells that the code there is worth optimizing. */
  readonly optimize: Callee;
  /** (index of the region) → nothing: tells that accesses that share a check lie in two pages. */
  readonly straddle: Callee;
  /** (index of the region, offset in the page) → nothing: tells where in the page a computed jump went. */
  readonly jumped: Callee;
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
  readonly integers: IntegerHelpers;
  readonly floats: Readonly<Record<FpOp, Callee>>;
  /** Whether the host's multiply-add rounds once. */
  readonly fused: boolean;
  /** See {@linkcode addRunTo}. */
  readonly runTo: Callee;
  readonly system: Omit<SystemFunctions, "fencePage">;
}

/** Writes one region's function. It is also the vocabulary in which the rows write their code. */
export class RegionCompiler extends WasmHart implements Vocabulary<I64, I32> {
  readonly #imports: RegionImports;
  readonly #blocks: readonly Block[];
  readonly #numbers: ReadonlyMap<number, number>;
  /** Where control goes from each block within the region. */
  readonly #successors: readonly (readonly number[])[];
  readonly #structure: Structure;
  /** The most instructions from each block to the next check of the budget. */
  readonly #longest: number[] = [];
  #registers!: RegionRegisters;
  /** The registers whose locals are good at the end of each block, as bits. */
  readonly #knownAfter: bigint[] = [];
  readonly #pages: RegionPages;
  /** By block, and instruction. */
  readonly #accesses: readonly (readonly (BlockAccess | undefined)[])[];
  /** Blocks that end with a call, and all blocks that control may come to behind it. */
  readonly #calls: { readonly call: number; readonly reaches: ReadonlySet<number> }[];

  readonly #budget: Local<typeof TYPE.i32>;
  /** How many calls of compiled code are under way. */
  readonly #depth: Local<typeof TYPE.i32>;
  /** The virtual address of the page, and of where the region is left for. */
  readonly #page: Local<typeof TYPE.i64>;
  readonly #pc: Local<typeof TYPE.i64>;
  /** All ones if the interpreter must go on. */
  readonly #stop: Local<typeof TYPE.i32>;
  #exit: Label = 0;
  /** Instructions of the block that are not done, and the offset of the first of them. */
  readonly #where: Local<typeof TYPE.i32>;
  #giveBackExit: Label = 0;
  /** Why a translation gave none, if it is that. */
  readonly #why: Local<typeof TYPE.i32>;

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
  /** Whether the region needs the floating-point unit on. */
  #usesFloat = false;
  /** See {@linkcode exponentLimit}; whether anything in the region rounds. */
  readonly #limit: Local<typeof TYPE.i32>;
  #rounds = false;
  readonly #hostFloat: HostFloat;
  /** How the present block ends. */
  #blockEnd: BlockEnd = { kind: "indirect" };
  /** The instruction's access to memory. */
  #access?: BlockAccess;
  /** Whether it is in a loop that calls nothing; the blocks that are. */
  #loops = false;
  readonly #tight: ReadonlySet<number>;

  constructor(f: FunctionBuilder, region: Region, imports: RegionImports, readonly options: RegionOptions) {
    super(f, imports.integers, imports.only);
    this.#imports = imports;
    this.#blocks = [...region.values()];
    this.#numbers = new Map(this.#blocks.map((block, i) => [block.offset, i]));
    const nodes = (end: BlockEnd) => successors(end).flatMap((offset) => this.#numbers.get(offset) ?? []);
    this.#successors = this.#blocks.map(({ end }) => nodes(end));
    const cases = new Set(this.#blocks.flatMap(({ end }) => end.kind === "switch" ? nodes(end) : []));
    this.#structure = analyse({ successors: this.#successors, cases });
    this.#calls = this.#structure.order
      .filter((node) => this.#blocks[node].end.kind === "call")
      .map((call) => ({ call, reaches: this.#reachableFrom(call) }));
    this.#tight = this.#findTightLoops();
    this.#budget = f.param(1);
    this.#page = f.local(TYPE.i64);
    this.#depth = f.param(2);
    this.#pc = f.param(3);
    this.#stop = f.local(TYPE.i32);
    this.#where = f.local(TYPE.i32);
    this.#limit = f.local(TYPE.i32);
    this.#why = f.local(TYPE.i32);
    this.#pages = new RegionPages(f, () => this.hart, imports, options.turns === undefined, (why) => {
      if (options.grouped && why !== undefined) f.set(this.#why, why);
      this.#giveBack();
    });
    this.#accesses = this.#blocks.map(({ instructions }) => accessesOf(instructions, options.grouped));
    this.#hostFloat = new HostFloat(f, () => f.get(this.#limit), imports.fused);
  }

  /** Writes the function. */
  write(): void {
    const { f } = this;
    const { order, loops } = this.#structure;
    for (const node of order.toReversed()) {
      const ahead = this.#successors[node].filter((to) =>
        !loops.has(to) && this.#structure.place[to] > this.#structure.place[node] &&
        this.#blocks[node].end.kind !== "call"
      );
      const most = Math.max(0, ...ahead.map((to) => this.#longest[to]));
      this.#longest[node] = this.#blocks[node].instructions.length + most;
    }
    const float = this.#usesFloat = this.#survey();

    // Nothing is changed yet where there are too few steps left, or the floating-point unit is off.
    const refused = f.i32.ltS(f.get(this.#budget), f.const32(this.#longest[0]));
    const off = float ? f.i32.or(refused, f.i32.eqz(f.load32(this.hart, SLOT.fs))) : refused;
    f.if(f.unlikely(off), () => f.return(f.i32.xor(f.get(this.#budget), f.const32(-1)), f.get(this.#pc)));
    f.set(this.#page, f.i64.and(f.get(this.#pc), f.const64(-PAGE_BYTES)));
    if (!this.#structure.loops.has(0)) this.#countTurn(this.#blocks[0].offset);
    this.#fill();
    this.#pages.forget();
    f.release();

    this.#exit = f.openBlock();
    this.#giveBackExit = f.openBlock();
    writeStructured(this.#structure, {
      openBlock: () => f.openBlock(),
      openLoop: () => f.openLoop(),
      close: () => f.close(),
      br: (label) => f.br(label),
      body: (node) => this.#body(node),
      end: (node, to, label) => this.#end(this.#blocks[node], to, label),
      leaveFor: (node) => this.#leave(this.#at(this.#blocks[node].offset)),
    });
    f.unreachable();
    f.close();
    if (this.options.grouped) {
      const straddles = f.i32.eq(f.get(this.#why), f.const32(TRANSLATION.leavesPage));
      f.if(straddles, () => f.run(this.#imports.straddle, f.const32(this.options.index)));
    }
    const where = () => f.get(this.#where);
    f.set(this.#budget, f.i32.add(f.get(this.#budget), f.i32.shrU(where(), f.const32(16))));
    f.set(this.#pc, f.i64.add(f.get(this.#page), f.i64.extendUnsigned(f.i32.and(where(), f.const32(0xffff)))));
    f.set(this.#stop, f.const32(-1));
    f.close();
    this.#registers.spill();
    f.return(f.i32.xor(f.get(this.#budget), f.get(this.#stop)), f.get(this.#pc));
    f.unreachable();
  }

  // ------------------------------------------------------------ registers

  /** Looks at all instructions: gives locals to registers and pages. Whether there are floating-point instructions. */
  #survey(): boolean {
    let float = false;
    const use = new RegisterUse();
    this.#blocks.forEach(({ instructions }, node) => {
      const loops = this.#tight.has(node);
      for (const access of this.#accesses[node]) if (access) this.#pages.expect(access, loops);
      for (const { row, index, fields } of instructions) {
        const encoding = INSTRUCTIONS.encodings[index];
        float ||= row.float === true || encoding.fields.has("csr") && isFloatCsr(fields.csr);
        this.#rounds ||= encoding.fields.has("rm");
        use.count(encoding.fields, fields, loops);
      }
    });
    // Holding costs a load and a store on the way in and out, and around each call.
    const worthHolding = 4 * (1 + this.#calls.length);
    this.#registers = new RegionRegisters(this.f, () => this.hart, use, worthHolding);
    return float;
  }

  /** Finds the blocks in loops that call nothing: in the order, from a loop's header to the last that goes back to it. */
  #findTightLoops(): Set<number> {
    const { loops, place, order, isBack } = this.#structure;
    const tight = new Set<number>();
    for (const header of loops) {
      const last = order.findLastIndex((n) => this.#successors[n].includes(header) && isBack(n, header));
      const body = order.slice(place[header], last + 1);
      if (!body.some((n) => this.#blocks[n].end.kind === "call")) body.forEach((n) => tight.add(n));
    }
    return tight;
  }

  /** Loads the registers that are held, and what is known of rounding. */
  #fill(): void {
    this.#registers.fill();
    this.#readRounding();
  }

  /** The locals that are good when a block starts: those of its dominator, unless a call may come in between. */
  #knownBefore(node: number): bigint {
    const { parent, merges, loops, dominates } = this.#structure;
    if (node === 0) return 0n;
    const from = parent[node];
    if (this.#blocks[from].end.kind === "call") return 0n;
    const joins = merges.has(node) || loops.has(node);
    if (joins && this.#calls.some(({ call, reaches }) => dominates(from, call) && reaches.has(node))) return 0n;
    return this.#knownAfter[from];
  }

  // ------------------------------------------------------------ control flow

  #reachableFrom(node: number): Set<number> {
    const reached = new Set<number>();
    const work = [node];
    for (let at = work.pop(); at !== undefined; at = work.pop()) {
      for (const next of this.#successors[at]) {
        if (!reached.has(next)) work.push(next);
        reached.add(next);
      }
    }
    return reached;
  }

  #body(node: number): void {
    const { f } = this;
    const block = this.#blocks[node];
    this.#blockEnd = block.end;
    this.#loops = this.#tight.has(node);
    this.#registers.known = this.#knownBefore(node);
    this.#floatDirty = false;
    if (this.#structure.loops.has(node)) {
      const short = f.i32.ltS(f.get(this.#budget), f.const32(this.#longest[node]));
      f.if(f.unlikely(short), () => this.#stopAt(this.#at(block.offset)));
      this.#countTurn(block.offset);
    }
    this.#left = block.instructions.length;
    this.#addBudget(-this.#left);
    this.#offset = block.offset;
    this.#pages.begin();
    for (const [i, instruction] of block.instructions.entries()) {
      if (this.#condition === undefined) f.release();
      this.#access = this.#accesses[node][i];
      if (this.#offset + instruction.length > PAGE_BYTES) this.#checkCrossing(this.options.crossing!);
      this.#instruction(instruction);
      this.#offset += instruction.length;
      this.#left--;
    }
    this.#registers.flush();
    this.#knownAfter[node] = this.#registers.known;
  }

  /** In quick code: notes an entry or a turn of a loop, and the one that makes it worth optimizing. */
  #countTurn(offset: number): void {
    if (this.options.turns === undefined) return;
    const { f } = this;
    const turns = f.const32(this.options.turns);
    const left = f.keep(f.i32.sub(f.load32(turns, 0), f.const32(1)));
    f.store("i32", turns, left, 0);
    f.if(f.unlikely(f.i32.eqz(left)), () => {
      f.run(this.#imports.optimize, f.const32(this.options.index), f.const32(offset));
    });
  }

  /** Goes on if the instruction that lies in two pages is still the same, as the interpreter would; else gives it back. */
  #checkCrossing({ page, entry }: Crossing): void {
    const { f } = this;
    this.#registers.flush();
    const { hit, code } = fetchLookUp(f, this.hart, f.keep(this.#at(PAGE_BYTES)));
    f.if(f.unlikely(f.i32.eqz(hit)), () => this.#giveBack());
    const here = f.const32(page);
    const same = f.i64.eq(f.load64(here, CODE.crossing), f.const64(entry));
    const known = f.i32.and(isNextKnown(f, here, f.keep(code())), same);
    f.if(f.unlikely(f.i32.eqz(known)), () => this.#giveBack());
  }

  #instruction({ row, index, fields, length }: Decoded): void {
    this.#fields = fields;
    this.#has = INSTRUCTIONS.encodings[index].fields;
    this.#length = length;
    if (row.float) this.#registers.flush();
    row.run(this);
  }

  #end({ end }: Block, to: (node: number) => void, label: (node: number) => Label | undefined): void {
    const { f } = this;
    if (end.kind === "switch") return this.#switch(end.targets, label);
    const go = (offset: number) => {
      const node = this.#numbers.get(offset);
      if (node === undefined) this.#leave(this.#at(offset));
      else to(node);
    };
    if (end.kind === "goto") go(end.next);
    if (end.kind === "call" && this.#comesBack(end)) {
      this.#call(end);
      go(end.next);
    }
    if (end.kind === "branch") {
      const condition = this.#condition!;
      this.#condition = undefined;
      f.if(condition, () => go(end.taken), () => go(end.next));
    }
  }

  /** Goes to the address in `pc`: within the region if it is one of the targets. */
  #switch(targets: readonly number[], label: (node: number) => Label | undefined): void {
    const { f } = this;
    const labels = new Map(targets.flatMap((offset) => {
      const node = this.#numbers.get(offset);
      const to = node === undefined ? undefined : label(node);
      return to === undefined ? [] : [[offset, to]];
    }));
    const quick = this.options.turns !== undefined;
    if (quick) this.#noteJump();
    const missed = f.openBlock();
    if (labels.size) {
      const first = Math.min(...labels.keys());
      const last = Math.max(...labels.keys());
      const distance = f.keep(f.i64.sub(f.get(this.#pc), this.#at(first)));
      f.brIf(f.unlikely(f.i64.gtU(distance, f.const64(last - first))), missed);
      const table = Array.from({ length: (last - first) / 2 + 1 }, (_, i) => labels.get(first + 2 * i) ?? missed);
      f.brTable(f.i32.shrU(f.i32.wrap(distance), f.const32(1)), table, missed);
    }
    f.close();
    if (!quick) this.#noteJump();
    f.br(this.#exit);
  }

  /** Tells where in the page `pc` is, if it is there, of one jump in sixteen: as a hash of the budget picks them. */
  #noteJump(): void {
    const { f } = this;
    const hash = f.i32.mul(f.get(this.#budget), f.const32(0x9e3779b1));
    f.if(f.unlikely(f.i32.eqz(f.i32.shrU(hash, f.const32(28)))), () => {
      const offset = f.keep(f.i64.sub(f.get(this.#pc), f.get(this.#page)));
      f.if(f.i64.ltU(offset, f.const64(PAGE_BYTES)), () => {
        f.run(this.#imports.jumped, f.const32(this.options.index), f.i32.wrap(offset));
      });
    });
  }

  /** Whether a call comes back to this region. */
  #comesBack(end: BlockEnd): boolean {
    return end.kind === "call" && this.#numbers.has(end.next);
  }

  /** Calls the guest function at `pc`, and leaves the region unless it returns to the block behind. */
  #call({ next, target }: BlockEnd & { kind: "call" }): void {
    const { f } = this;
    const back = f.keep(this.#at(next));
    this.#registers.spill();
    const state = (depth: I32) => [this.hart, f.get(this.#budget), depth, f.get(this.#pc)];
    const to = [this.#budget, this.#pc];
    const missed = () => f.i32.or(f.i32.ltS(f.get(this.#budget), f.const32(0)), f.i64.ne(f.get(this.#pc), back));
    const leaveIf = (condition: I32) =>
      f.if(f.unlikely(condition), () => f.return(f.get(this.#budget), f.get(this.#pc)));
    const runTo = () => f.callInto(to, this.#imports.runTo, ...state(f.get(this.#depth)), back);
    const neighbour = target === undefined ? undefined : this.options.neighbour(target);
    if (neighbour) {
      leaveIf(f.i32.geU(f.get(this.#depth), f.const32(MAX_DEPTH)));
      f.callInto(to, neighbour, ...state(f.i32.add(f.get(this.#depth), f.const32(1))));
      f.if(f.unlikely(missed()), () => {
        f.if(f.i32.geS(f.get(this.#budget), f.const32(0)), runTo);
        leaveIf(missed());
      });
    } else {
      runTo();
      leaveIf(missed());
    }
    const rest = f.i32.ltS(f.get(this.#budget), f.const32(this.#longest[this.#numbers.get(next)!]));
    // The callee may have turned the floating-point unit off.
    const refused = this.#usesFloat ? f.i32.or(rest, f.i32.eqz(f.load32(this.hart, SLOT.fs))) : rest;
    f.if(f.unlikely(refused), () => f.return(f.i32.xor(f.get(this.#budget), f.const32(-1)), f.get(this.#pc)));
    this.#fill();
    this.#pages.forget();
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

  /** Leaves the present instruction, and what follows, to the interpreter. */
  #giveBack(): void {
    this.#giveBackFrom(this.#left, this.#offset);
  }

  /** The same for the instruction at an offset, when `left` of the block are not done. */
  #giveBackFrom(left: number, offset: number): void {
    this.f.set(this.#where, this.f.const32(left << 16 | offset));
    this.f.br(this.#giveBackExit);
  }

  #addBudget(steps: number): void {
    this.f.set(this.#budget, this.f.i32.add(this.f.get(this.#budget), this.f.const32(steps)));
  }

  // ------------------------------------------------------------ the vocabulary

  protected access(
    _address: I64,
    _size: AccessSize,
    _tag: typeof TLB.read | typeof TLB.write,
    aligned: boolean,
    direct: (host: () => I32, offset: number) => void,
  ): void {
    const access = this.#access!;
    if (access.leads) this.#registers.flush();
    direct(...this.#pages.host({ access, loops: this.#loops, base: () => this.rs1, aligned }));
  }

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
    if (this.#fields.rd) this.#registers.writeX(this.#fields.rd, value);
  }

  branch(condition?: I32): void {
    this.#condition = condition;
    // A call that comes back needs its target in a local; another jump needs none.
    if (condition === undefined && this.#blockEnd.kind === "call") this.jump(this.f.i64.add(this.pc, this.imm));
  }

  jump(target: I64): void {
    this.#registers.flush();
    if (this.#blockEnd.kind === "switch" || this.#comesBack(this.#blockEnd)) this.f.set(this.#pc, target);
    else this.#leave(target);
  }

  /** What there is a quick way for; all else is the interpreter's. */
  system(call: SystemCall): void {
    const { enterSupervisor, leaveSupervisor } = this.#imports.system;
    this.#registers.flush();
    if (call === "fence.i") return; // the code cache follows every store already
    if (call === "ecall") return this.#switchMode(enterSupervisor, this.hart, this.pc);
    if (call === "sret") return this.#switchMode(leaveSupervisor, this.hart);
    if (isFloatCsr(this.#fields.csr)) this.#floatCsr(call);
    else this.#quickCsr(call);
  }

  /** Leaves for where the hart is after the call; for the interpreter, as the same address may be other code now. */
  #switchMode(callee: Callee, ...args: Value[]): void {
    const { f } = this;
    const done = f.call<typeof TYPE.i32>(callee, ...args);
    f.if(f.unlikely(f.i32.eqz(done)), () => this.#giveBack());
    this.#stopAt(f.load64(this.hart, SLOT.pc));
  }

  /** Accesses to sstatus and to the registers of traps. */
  #quickCsr(call: SystemCall): void {
    const { f } = this;
    const { csr, rs1 } = this.#fields;
    const operand = call.endsWith("i") ? f.const64(rs1) : this.rs1;
    const how = f.const32(csrHow(call, rs1));
    const done = f.call<typeof TYPE.i32>(this.#imports.system.accessCsr, this.hart, f.const32(csr), how, operand);
    f.if(f.unlikely(f.i32.eqz(done)), () => this.#giveBack());
    this.setRd(f.load64(this.hart, SLOT.result));
    this.#registers.flush();
    if (csr !== SSTATUS_NUMBER || csrHow(call, rs1) === CSR_HOW.read) return;
    f.if(f.i32.and(done, f.const32(CSR_DONE.pages)), () => this.#pages.forget());
    this.#floatDirty = false;
    if (!this.#usesFloat) return;
    f.if(f.unlikely(f.i32.and(done, f.const32(CSR_DONE.floatOff))), () => {
      this.#giveBackFrom(this.#left - 1, this.#offset + this.#length);
    });
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
      this.#readRounding();
    }
    this.setRd(f.i64.extendUnsigned(old));
  }

  get fs1(): I64 {
    return this.#registers.readF(this.#fields.fs1);
  }
  get fs2(): I64 {
    return this.#registers.readF(this.#fields.fs2);
  }
  get fs3(): I64 {
    return this.#registers.readF(this.#fields.fs3);
  }

  setFd(value: I64): void {
    this.#registers.writeF(this.#fields.fd, value);
    this.#dirtyFloat();
  }

  fp(op: FpOp, a: I64, b: I64 = this.constant(0), c: I64 = this.constant(0)): I64 {
    const { f } = this;
    const host = this.#hostFloat.result(op, this.#has.has("rm") ? this.#fields.rm : 0, a, b, c);
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
        if (this.#has.has("rm")) this.#readRounding();
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
      f.if(f.unlikely(f.i32.gtU(rm, f.const32(4))), () => this.#giveBack()); // reserved: illegal
    }
    return f.call(this.#imports.floats[op], this.hart, rm, a, b, c);
  }

  /** Looks up what is known of rounding, where the region rounds. */
  #readRounding(): void {
    if (this.#rounds) this.f.set(this.#limit, exponentLimit(this.f, this.hart));
  }

  #getX(number: number): I64 {
    return number ? this.#registers.readX(number) : this.f.const64(0);
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
