// A region of hot code as one WebAssembly function: how it is entered, run through and left.

import type { Crossing } from "../code.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { CODE, PAGE_BYTES, SLOT } from "../layout.ts";
import type { Callee, FunctionBuilder, Label } from "../wasm/function.ts";
import { type I32, type I64, type Local, TYPE } from "../wasm/types.ts";
import { hartBlock, TRANSLATION } from "../wasm_hart.ts";
import { fetchLookUp, isNextKnown, MAX_DEPTH } from "../wasm_runtime.ts";
import { accessesOf, type BlockAccess } from "./accesses.ts";
import { RegionFlow } from "./flow.ts";
import { HostFloat } from "./host_float.ts";
import { InstructionCompiler, type InstructionImports, type Surroundings } from "./instruction.ts";
import { RegionPages, type Translators } from "./pages.ts";
import { type BlockEnd, isFloatCsr, type Region } from "./region.ts";
import { RegionRegisters, RegisterUse } from "./registers.ts";
import { writeStructured } from "./structure.ts";

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
export interface RegionImports extends Translators, InstructionImports {
  /** (index of the region, offset in the page) → nothing: tells that the code there is worth optimizing. */
  readonly optimize: Callee;
  /** (index of the region) → nothing: tells that accesses that share a check lie in two pages. */
  readonly straddle: Callee;
  /** (index of the region, offset in the page) → nothing: tells where in the page a computed jump went. */
  readonly jumped: Callee;
  /** Whether the host's multiply-add rounds once. */
  readonly fused: boolean;
  /** See {@linkcode addRunTo}. */
  readonly runTo: Callee;
}

/** Writes one region's function. */
export class RegionCompiler implements Surroundings {
  readonly #flow: RegionFlow;
  /** By block, and instruction. */
  readonly #accesses: readonly (readonly (BlockAccess | undefined)[])[];
  readonly usesFloat: boolean;
  readonly registers: RegionRegisters;
  readonly pages: RegionPages;
  readonly hostFloat: HostFloat;
  readonly #instructions: InstructionCompiler;
  /** The registers whose locals are good at the end of each block, as bits. */
  readonly #knownAfter: bigint[] = [];

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

  /** How the present block ends; a conditional branch's condition. */
  #blockEnd!: BlockEnd;
  #condition?: I32;
  /** Where the present instruction is, and how many bytes it has. */
  #offset = 0;
  #length = 0;
  /** Instructions of the block that are not done when it starts, itself included. */
  #left = 0;

  constructor(
    readonly f: FunctionBuilder,
    region: Region,
    readonly imports: RegionImports,
    readonly options: RegionOptions,
  ) {
    const flow = this.#flow = new RegionFlow(region);
    const { float, rounds, use } = survey(flow);
    this.#accesses = flow.blocks.map(({ instructions }) => accessesOf(instructions, options.grouped));
    this.#budget = f.param(1);
    this.#depth = f.param(2);
    this.#pc = f.param(3);
    this.#page = f.local(TYPE.i64);
    this.#stop = f.local(TYPE.i32);
    this.#where = f.local(TYPE.i32);
    const hart = () => this.#hart;
    this.usesFloat = float;
    this.hostFloat = new HostFloat(f, hart, { fused: imports.fused, rounds });
    this.#why = f.local(TYPE.i32);
    this.pages = new RegionPages(f, hart, imports, options.turns === undefined, (why) => {
      if (options.grouped && why !== undefined) f.set(this.#why, why);
      this.giveBack();
    });
    this.#accesses.forEach((accesses, node) => {
      for (const access of accesses) if (access) this.pages.expect(access, flow.tight.has(node));
    });
    // Holding costs a load and a store on the way in and out, and around each call.
    this.registers = new RegionRegisters(f, hart, use, 4 * (1 + flow.calls));
    this.#instructions = new InstructionCompiler(f, imports, this);
  }

  get #hart(): I32 {
    return hartBlock(this.f, 0, this.imports.only);
  }

  /** Writes the function. */
  write(): void {
    const { f } = this;
    const { blocks, structure } = this.#flow;

    this.#refuse(0); // nothing is changed yet
    f.set(this.#page, f.i64.and(f.get(this.#pc), f.const64(-PAGE_BYTES)));
    if (!structure.loops.has(0)) this.#countTurn(blocks[0].offset);
    this.#fill();
    f.release();

    this.#exit = f.openBlock();
    this.#giveBackExit = f.openBlock();
    writeStructured(structure, {
      openBlock: () => f.openBlock(),
      openLoop: () => f.openLoop(),
      close: () => f.close(),
      br: (label) => f.br(label),
      body: (node) => this.#body(node),
      end: (node, to, label) => this.#end(blocks[node].end, to, label),
      leaveFor: (node) => this.#leave(this.at(blocks[node].offset)),
    });
    f.unreachable();
    f.close();
    if (this.options.grouped) {
      const straddles = f.i32.eq(f.get(this.#why), f.const32(TRANSLATION.leavesPage));
      f.if(straddles, () => f.run(this.imports.straddle, f.const32(this.options.index)));
    }
    const where = () => f.get(this.#where);
    f.set(this.#budget, f.i32.add(f.get(this.#budget), f.i32.shrU(where(), f.const32(16))));
    f.set(this.#pc, f.i64.add(f.get(this.#page), f.i64.extendUnsigned(f.i32.and(where(), f.const32(0xffff)))));
    f.set(this.#stop, f.const32(-1));
    f.close();
    this.registers.spill();
    f.return(f.i32.xor(f.get(this.#budget), f.get(this.#stop)), f.get(this.#pc));
    f.unreachable();
  }

  #body(node: number): void {
    const { f } = this;
    const { blocks, structure, tight } = this.#flow;
    const { offset, instructions, end } = blocks[node];
    const from = this.#flow.inherits(node);
    this.registers.known = from === undefined ? 0n : this.#knownAfter[from];
    if (structure.loops.has(node)) {
      f.if(f.unlikely(this.#isShort(node)), () => this.stopAt(this.at(offset)));
      this.#countTurn(offset);
    }
    this.#blockEnd = end;
    this.#offset = offset;
    this.#left = instructions.length;
    f.set(this.#budget, f.i32.add(f.get(this.#budget), f.const32(-this.#left)));
    this.pages.begin();
    this.#instructions.begin(end, tight.has(node));
    for (const [i, instruction] of instructions.entries()) {
      if (this.#condition === undefined) f.release();
      this.#length = instruction.length;
      if (this.#offset + this.#length > PAGE_BYTES) this.#checkCrossing(this.options.crossing!);
      this.#instructions.write(instruction, this.#offset, this.#accesses[node][i]);
      this.#offset += this.#length;
      this.#left--;
    }
    this.registers.flush();
    this.#knownAfter[node] = this.registers.known;
  }

  /** Whether there are too few steps left to get from a block to the next check. */
  #isShort(node: number): I32 {
    const { f } = this;
    return f.i32.ltS(f.get(this.#budget), f.const32(this.#flow.longest[node]));
  }

  /** Leaves for the interpreter where there are too few steps left, or the floating-point unit is off. */
  #refuse(node: number): void {
    const { f } = this;
    const short = this.#isShort(node);
    const refused = this.usesFloat ? f.i32.or(short, f.i32.eqz(f.load32(this.#hart, SLOT.fs))) : short;
    f.if(f.unlikely(refused), () => f.return(f.i32.xor(f.get(this.#budget), f.const32(-1)), f.get(this.#pc)));
  }

  /** Loads the registers that are held, and what is known of rounding; of pages, nothing is. */
  #fill(): void {
    this.registers.fill();
    this.hostFloat.learn();
    this.pages.forget();
  }

  /** In quick code: notes an entry or a turn of a loop, and the one that makes it worth optimizing. */
  #countTurn(offset: number): void {
    if (this.options.turns === undefined) return;
    const { f } = this;
    const turns = f.const32(this.options.turns);
    const left = f.keep(f.i32.sub(f.load32(turns, 0), f.const32(1)));
    f.store("i32", turns, left, 0);
    f.if(f.unlikely(f.i32.eqz(left)), () => {
      f.run(this.imports.optimize, f.const32(this.options.index), f.const32(offset));
    });
  }

  /** Goes on if the instruction that lies in two pages is still the same, as the interpreter would; else gives it back. */
  #checkCrossing({ page, entry }: Crossing): void {
    const { f } = this;
    this.registers.flush();
    const { hit, code } = fetchLookUp(f, this.#hart, f.keep(this.at(PAGE_BYTES)));
    f.if(f.unlikely(f.i32.eqz(hit)), () => this.giveBack());
    const here = f.const32(page);
    const same = f.i64.eq(f.load64(here, CODE.crossing), f.const64(entry));
    const known = f.i32.and(isNextKnown(f, here, f.keep(code())), same);
    f.if(f.unlikely(f.i32.eqz(known)), () => this.giveBack());
  }

  #end(end: BlockEnd, to: (node: number) => void, label: (node: number) => Label | undefined): void {
    const { f } = this;
    if (end.kind === "switch") return this.#switch(end.targets, label);
    const go = (offset: number) => {
      const node = this.#flow.nodeAt(offset);
      if (node === undefined) this.#leave(this.at(offset));
      else to(node);
    };
    if (end.kind === "goto") go(end.next);
    if (end.kind === "call" && this.#flow.comesBack(end)) {
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
      const node = this.#flow.nodeAt(offset);
      const to = node === undefined ? undefined : label(node);
      return to === undefined ? [] : [[offset, to]];
    }));
    const quick = this.options.turns !== undefined;
    if (quick) this.#noteJump();
    const missed = f.openBlock();
    if (labels.size) {
      const first = Math.min(...labels.keys());
      const last = Math.max(...labels.keys());
      const distance = f.keep(f.i64.sub(f.get(this.#pc), this.at(first)));
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
        f.run(this.imports.jumped, f.const32(this.options.index), f.i32.wrap(offset));
      });
    });
  }

  /** Calls the guest function at `pc`, and leaves the region unless it returns to the block behind. */
  #call({ next, target }: BlockEnd & { kind: "call" }): void {
    const { f } = this;
    const back = f.keep(this.at(next));
    this.registers.spill();
    const state = (depth: I32) => [this.#hart, f.get(this.#budget), depth, f.get(this.#pc)];
    const to = [this.#budget, this.#pc];
    const missed = () => f.i32.or(f.i32.ltS(f.get(this.#budget), f.const32(0)), f.i64.ne(f.get(this.#pc), back));
    const leaveIf = (condition: I32) =>
      f.if(f.unlikely(condition), () => f.return(f.get(this.#budget), f.get(this.#pc)));
    const runTo = () => f.callInto(to, this.imports.runTo, ...state(f.get(this.#depth)), back);
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
    this.#refuse(this.#flow.nodeAt(next)!); // the callee may have turned the floating-point unit off
    this.#fill();
  }

  #leave(pc: I64): void {
    this.f.set(this.#pc, pc);
    this.f.br(this.#exit);
  }

  // ------------------------------------------------------------ for instructions

  at(offset: number): I64 {
    return this.f.i64.add(this.f.get(this.#page), this.f.const64(offset));
  }

  branch(condition: I32): void {
    this.#condition = condition;
  }

  jump(target: I64): void {
    if (this.#blockEnd.kind === "switch" || this.#flow.comesBack(this.#blockEnd)) this.f.set(this.#pc, target);
    else this.#leave(target);
  }

  stopAt(pc: I64): void {
    this.f.set(this.#stop, this.f.const32(-1));
    this.#leave(pc);
  }

  giveBack(): void {
    this.#giveBackFrom(this.#left, this.#offset);
  }

  giveBackRest(): void {
    this.#giveBackFrom(this.#left - 1, this.#offset + this.#length);
  }

  /** Leaves the instruction at an offset to the interpreter, and what follows: `left` of the block are not done. */
  #giveBackFrom(left: number, offset: number): void {
    this.f.set(this.#where, this.f.const32(left << 16 | offset));
    this.f.br(this.#giveBackExit);
  }
}

/** What the instructions use: floating point, rounding, which registers how often. */
function survey({ blocks, tight }: RegionFlow): { float: boolean; rounds: boolean; use: RegisterUse } {
  let float = false;
  let rounds = false;
  const use = new RegisterUse();
  blocks.forEach(({ instructions }, node) => {
    for (const { row, index, fields } of instructions) {
      const names = INSTRUCTIONS.encodings[index].fields;
      float ||= row.float === true || names.has("csr") && isFloatCsr(fields.csr);
      rounds ||= names.has("rm");
      use.count(names, fields, tight.has(node));
    }
  });
  return { float, rounds, use };
}
