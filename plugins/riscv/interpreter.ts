// The interpreter: one WebAssembly function, generated from the instruction rows, over predecoded pages.

import { CODE, COMPILED, COUNTERS, PAGE_BYTES, SLOT, TLB } from "./layout.ts";
import type { HandlerNumbers } from "./entries.ts";
import type { InstructionTable } from "./encoding.ts";
import { addFloatFunctions, SLOW_PATH as FLOAT_SLOW_PATH } from "./fp_wasm.ts";
import type { Row } from "./rows/row.ts";
import { SLOW_PATH_PARAMS, type SlowPaths, STATUS, SYSTEM_CALLS } from "./slow_path_contract.ts";
import type { FpOp } from "./softfloat.ts";
import type { AccessSize, SystemCall, Vocabulary } from "./vocabulary.ts";
import type { Callee, FunctionBuilder, Label } from "./wasm/function.ts";
import { type Environment, ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, type Local, TYPE } from "./wasm/types.ts";
import { isAligned, isNoPage, lookUp, type SlowAccess, WasmHart } from "./wasm_hart.ts";
import { addMmu, type MmuFunctions, type RamPlace } from "./wasm_mmu.ts";
import { addSystem, CSR_HOW, type SystemFunctions } from "./wasm_system.ts";
import { addInterpretTo, addRunTo, entryOf, fetchLookUp, isNextKnown } from "./wasm_runtime.ts";
import { addIntegerHelpers, type IntegerHelpers } from "./wasm_values.ts";

type Imports = Record<keyof SlowPaths, Callee>;

/** Handlers in front of the rows'. */
const SPECIAL = { decode: 0, pageEnd: 1, crossing: 2, illegal: 3, compiled: COMPILED, count: 5 } as const;

/** A handler: a row, for one length of instruction. */
interface Handler {
  readonly row: Row;
  readonly length: number;
}

/** The handlers of an instruction table: one per row and length that occurs. */
export class Handlers implements HandlerNumbers {
  readonly decode = 0;
  readonly pageEnd = SPECIAL.pageEnd;
  readonly crossing = SPECIAL.crossing;
  readonly illegal = SPECIAL.illegal;
  readonly compiled = SPECIAL.compiled;
  readonly all: Handler[] = [];
  readonly #numbers: number[][] = [];

  constructor(readonly table: InstructionTable) {
    const compressed = new Set(table.compressed.map((row) => row.is));
    table.rows.forEach((row, index) => {
      const numbers: number[] = this.#numbers[index] = [];
      for (const length of compressed.has(row.name) ? [4, 2] : [4]) {
        numbers[length] = SPECIAL.count + this.all.push({ row, length }) - 1;
      }
    });
  }

  of(index: number, length: number): number {
    return this.#numbers[index][length];
  }
}

/** What the interpreter's code depends on. */
export interface InterpreterOptions extends Environment {
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
  /** See {@linkcode addFloatFunctions}. */
  readonly fused: boolean;
  /** Entries by jumps after which the compiler is told. */
  readonly warm: number;
  readonly countersOffset: number;
  readonly originalsOffset: number;
  readonly ram: RamPlace;
}

/**
 * The module with the interpreter. It exports `run(hart, address, depth) → status`, which runs until control comes to
 * the address, or until there are no steps left, and the functions that compiled regions share with it: the helpers by
 * name, the floating-point operations by theirs.
 */
export function interpreterModule(handlers: Handlers, options: InterpreterOptions): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ ...options, table: true });
  const imports = {} as Imports;
  for (const [name, params] of Object.entries(SLOW_PATH_PARAMS) as [keyof SlowPaths, number][]) {
    const returnsStatus = name !== "decode" && name !== "warm";
    imports[name] = module.import(name, Array(params).fill(TYPE.i32), returnsStatus ? [TYPE.i32] : []);
  }
  const float = module.import("float", FLOAT_SLOW_PATH.params, FLOAT_SLOW_PATH.results);
  const integers = addIntegerHelpers(module);
  const floats = addFloatFunctions(module, float, options);
  const mmu = addMmu(module, imports.refill, options);
  const system = addSystem(module, options.only);
  for (const [name, callee] of Object.entries({ ...integers, ...floats, ...mmu, ...system })) {
    module.export(name, callee);
  }
  const runTo = addRunTo(module, { fetchCode: mmu.fetchCode, only: options.only });
  const { callee, body } = module.function([TYPE.i32, TYPE.i64, TYPE.i32], [TYPE.i32], "run");
  module.export("interpretTo", addInterpretTo(module, callee, options.only));
  new Interpreter(body, imports, { integers, floats, ...mmu, ...system, runTo }, options).build(handlers);
  return module.bytes();
}

/** Functions of its own module that the interpreter calls. */
interface Functions extends MmuFunctions, SystemFunctions {
  readonly integers: IntegerHelpers;
  readonly floats: Record<FpOp, Callee>;
  readonly runTo: Callee;
}

/** Writes the interpreter's function; it is also the vocabulary in which the rows write their handlers. */
class Interpreter extends WasmHart implements Vocabulary<I64, I32> {
  /** The current entry, and the predecoded page it is in. */
  readonly #entry: Local<typeof TYPE.i32>;
  readonly #code: Local<typeof TYPE.i32>;
  /** The virtual address of the current page; pc while going elsewhere. */
  readonly #page: Local<typeof TYPE.i64>;
  readonly #pc: Local<typeof TYPE.i64>;
  /** Where to stop, and how many calls are under way. */
  readonly #until: Local<typeof TYPE.i64>;
  readonly #depth: Local<typeof TYPE.i32>;
  readonly #budget: Local<typeof TYPE.i32>;
  /** The entry's bits, and their low half. */
  readonly #bits: Local<typeof TYPE.i64>;
  readonly #low: Local<typeof TYPE.i32>;
  #goto: Label = 0;
  #next: Label = 0;
  #length = 4;
  #fields: ReadonlySet<string> = new Set();
  #float = false;

  constructor(
    f: FunctionBuilder,
    readonly imports: Imports,
    readonly functions: Functions,
    readonly options: InterpreterOptions,
  ) {
    super(f, functions.integers, options.only);
    this.#until = f.param(1);
    this.#depth = f.param(2);
    this.#entry = f.local(TYPE.i32);
    this.#code = f.local(TYPE.i32);
    this.#page = f.local(TYPE.i64);
    this.#pc = f.local(TYPE.i64);
    this.#budget = f.local(TYPE.i32);
    this.#bits = f.local(TYPE.i64);
    this.#low = f.local(TYPE.i32);
  }

  build(handlers: Handlers): void {
    const { f } = this;
    this.#reload();
    f.set(this.#pc, this.#slot64(SLOT.pc));
    this.#goto = f.openLoop();
    this.#enterPage();
    this.#count();
    this.#next = f.openLoop();
    // The one test of each step: are there steps left? A replay shows none, so as to cost nothing else.
    f.if(f.unlikely(f.i32.eqz(f.get(this.#budget))), () => {
      f.if(f.i32.eqz(this.#slot32(SLOT.replay)), () => {
        this.#flush();
        f.return(f.const32(STATUS.leave));
      });
      f.store("i32", this.hart, f.const32(0), SLOT.replay);
      f.set(this.#budget, this.#slot32(SLOT.aside));
    }, () => {
      f.set(this.#budget, f.i32.sub(f.get(this.#budget), f.const32(1)));
      f.set(this.#bits, f.load64(f.get(this.#entry)));
    });
    f.set(this.#low, f.i32.wrap(f.get(this.#bits)));
    f.release();

    const bodies: (() => void)[] = [
      () => this.#decode(),
      () => this.#pageEnd(),
      () => this.#crossing(),
      () => this.#system("illegal"),
      () => this.#compiled(),
      ...handlers.all.map((handler) => () => this.#handler(handlers.table, handler)),
    ];
    // One block per handler, the first innermost: a branch out of a block lands on its handler.
    const labels = bodies.map(() => f.openBlock()).reverse();
    const op = f.i32.and(f.get(this.#low), f.const32(2 ** CODE.opBits - 1));
    f.brTable(op, labels, labels[SPECIAL.illegal]);
    for (const body of bodies) {
      f.close();
      body();
      f.release();
    }
    f.close(); // next
    f.close(); // goto
    f.unreachable();
  }

  // ------------------------------------------------------------ between instructions

  /** Finds the predecoded page of pc. */
  #enterPage(): void {
    const { f } = this;
    const pc = f.get(this.#pc);
    f.if(f.unlikely(f.i64.eq(pc, f.get(this.#until))), () => {
      f.store("i64", this.hart, pc, SLOT.pc);
      this.#storeBudget();
      f.return(f.const32(STATUS.done));
    });
    const { hit, page, code } = fetchLookUp(f, this.hart, pc);
    f.if(f.likely(hit), () => f.set(this.#code, code()), () => {
      f.set(this.#code, f.call<typeof TYPE.i32>(this.functions.fetchCode, this.hart, pc));
      f.if(f.unlikely(f.i32.eqz(f.get(this.#code))), () => {
        f.store("i64", this.hart, pc, SLOT.pc);
        this.#storeBudget();
        this.#afterSlowPath(f.call(this.imports.fetch, this.hart));
        this.#resume();
      });
    });
    f.set(this.#page, page);
    f.set(this.#entry, entryOf(f, f.get(this.#code), pc));
  }

  #step(): void {
    const { f } = this;
    f.set(this.#entry, f.i32.add(f.get(this.#entry), f.const32(this.#length * 4)));
    f.br(this.#next);
  }

  /** Goes on at the pc of the hart's block. */
  #resume(): void {
    this.f.set(this.#pc, this.#slot64(SLOT.pc));
    this.f.br(this.#goto);
  }

  #decode(): void {
    const { f } = this;
    f.run(this.imports.decode, this.hart, f.get(this.#entry));
    this.#refund();
    f.br(this.#next);
  }

  #pageEnd(): void {
    this.#refund();
    this.f.set(this.#pc, this.pc);
    this.f.br(this.#goto);
  }

  #crossing(): void {
    const { f } = this;
    const page = f.keep(f.i64.add(f.get(this.#page), f.const64(PAGE_BYTES)));
    const { hit, code } = fetchLookUp(f, this.hart, page);
    f.if(f.likely(hit), () => {
      const next = f.keep(code());
      const known = isNextKnown(f, f.get(this.#code), next);
      f.if(f.likely(known), () => this.#execute(f.load64(f.get(this.#code), CODE.crossing)));
    });
    this.#flush();
    const status = f.call<typeof TYPE.i32>(this.imports.crossing, this.hart);
    this.#reload();
    f.if(status, () => this.#resume());
    this.#execute(this.#slot64(SLOT.result));
  }

  /** Counts an entry by a jump; it may be compiled right away. */
  #count(): void {
    const { f } = this;
    const hashed = f.i32.and(f.i32.shrU(f.get(this.#entry), f.const32(1)), f.const32(COUNTERS.bytes - 4));
    const counter = f.keep(hashed);
    const count = f.keep(f.i32.add(f.load32(counter, this.options.countersOffset), f.const32(1)));
    f.store("i32", counter, count, this.options.countersOffset);
    f.if(f.unlikely(f.i32.geU(count, f.const32(this.options.warm))), () => {
      f.store("i32", counter, f.const32(0), this.options.countersOffset);
      f.run(this.imports.warm, this.hart, f.get(this.#entry));
    });
  }

  /** Runs compiled code; where that made no step, the instruction that it replaced. */
  #compiled(): void {
    const { f } = this;
    const index = f.keep(f.i32.wrap(f.i64.shrU(f.get(this.#bits), f.const64(32))));
    this.#refund();
    const state = [this.hart, f.get(this.#budget), f.get(this.#depth), this.pc];
    const [left, to] = f.callMany(this.functions.runTo, ...state, f.get(this.#until));
    f.set(this.#pc, to as I64);
    const before = f.keep(f.get(this.#budget));
    // What is left, or its complement.
    f.set(this.#budget, f.i32.xor(left as I32, f.i32.shrS(left as I32, f.const32(31))));
    const made = f.i32.sub(before, f.get(this.#budget));
    this.#addTo(SLOT.compiledSteps, f.i64.extendUnsigned(made));
    this.#addTo(SLOT.compiledRuns, f.const64(1));
    // No step is made where the region refuses, or calls are too deep. Where some were made, the same address need not be
    // the same code.
    f.brIf(f.i32.or(made, f.i32.eqz(f.get(this.#budget))), this.#goto);
    f.set(this.#budget, f.i32.sub(f.get(this.#budget), f.const32(1)));
    this.#execute(f.load64(f.i32.shl(index, f.const32(3)), this.options.originalsOffset));
  }

  /** Executes an entry that stands elsewhere as the present one, in a step that is counted already. */
  #execute(bits: I64): void {
    const { f } = this;
    f.set(this.#bits, bits);
    f.store("i32", this.hart, f.const32(1), SLOT.replay);
    f.store("i32", this.hart, f.get(this.#budget), SLOT.aside);
    f.set(this.#budget, f.const32(0));
    f.br(this.#next);
  }

  #addTo(counter: number, value: I64): void {
    this.f.store("i64", this.hart, this.f.i64.add(this.#slot64(counter), value), counter);
  }

  #refund(): void {
    this.f.set(this.#budget, this.f.i32.add(this.f.get(this.#budget), this.f.const32(1)));
  }

  // ------------------------------------------------------------ slow paths

  #slot64(offset: number): I64 {
    return this.f.load64(this.hart, offset);
  }

  #slot32(offset: number): I32 {
    return this.f.load32(this.hart, offset);
  }

  #storeBudget(): void {
    this.f.store("i32", this.hart, this.f.get(this.#budget), SLOT.budget);
  }

  /** Puts pc and budget where slow paths find them. */
  #flush(): void {
    this.f.store("i64", this.hart, this.pc, SLOT.pc);
    this.#storeBudget();
  }

  #reload(): void {
    this.f.set(this.#budget, this.#slot32(SLOT.budget));
  }

  /** Goes on where a slow path's status says; falls through if it is done. */
  #afterSlowPath(status: I32): void {
    const { f } = this;
    this.#reload();
    f.if(status, () => {
      f.if(f.i32.eq(status, f.const32(STATUS.leave)), () => f.return(status));
      this.#resume();
    });
  }

  protected access(
    address: I64,
    size: AccessSize,
    tag: typeof TLB.read | typeof TLB.write,
    aligned: boolean,
    direct: (host: () => I32, offset: number) => void,
    { path, operand, more = [], result }: SlowAccess,
  ): void {
    const { f } = this;
    address = f.keep(address);
    const done = f.openBlock();
    const tooHard = f.openBlock();
    if (aligned) f.brIf(f.i32.eqz(isAligned(f, address, size)), tooHard);
    const { hit, host } = lookUp(f, this.hart, { address, size, tag });
    const at = f.temporary(TYPE.i32);
    f.if(f.likely(hit()), () => f.set(at, host()), () => {
      const { translateLoad, translateStore } = this.functions;
      const translate = tag === TLB.read ? translateLoad : translateStore;
      const [page, addend] = f.callMany(translate, this.hart, address, f.const32(size));
      f.brIf(f.unlikely(isNoPage(f, page as I64)), tooHard);
      f.set(at, f.i32.add(f.i32.wrap(address), addend as I32));
    });
    direct(() => f.get(at), 0);
    f.br(done);
    f.close();
    if (operand !== undefined) f.store("i64", this.hart, operand, SLOT.operands);
    this.#flush();
    const low = f.i32.wrap(address);
    const high = f.i32.wrap(f.i64.shrU(address, f.const64(32)));
    const rest = [size, ...more].map((n) => f.const32(n));
    this.#afterSlowPath(f.call(this.imports[path], this.hart, low, high, ...rest));
    if (result !== undefined) f.set(result, this.#slot64(SLOT.result));
    f.close();
  }

  // ------------------------------------------------------------ handlers

  #handler(table: InstructionTable, { row, length }: Handler): void {
    const { f } = this;
    this.#length = length;
    this.#fields = table.encodings[table.rows.indexOf(row)].fields;
    this.#float = row.float === true;
    if (row.float) f.if(f.unlikely(f.i32.eqz(this.#slot32(SLOT.fs))), () => this.#system("illegal"));
    row.run(this);
    this.#step();
  }

  #system(call: SystemCall): void {
    const { f } = this;
    this.#flush();
    const high = f.i32.wrap(f.i64.shrU(f.get(this.#bits), f.const64(32)));
    const which = f.const32(SYSTEM_CALLS.indexOf(call));
    const status = f.call<typeof TYPE.i32>(
      this.imports.system,
      this.hart,
      which,
      f.get(this.#low),
      high,
      f.const32(this.#length),
    );
    f.if(f.unlikely(f.i32.eq(status, f.const32(STATUS.leave))), () => f.return(status));
    this.#reload();
    this.#resume();
  }

  /** The address of register operand `a` or `b` of the entry. */
  get #a(): I32 {
    const { f } = this;
    return f.i32.add(this.hart, f.i32.and(f.i32.shrU(f.get(this.#low), f.const32(10)), f.const32(0x1ff)));
  }
  get #b(): I32 {
    const { f } = this;
    return f.i32.add(this.hart, f.i32.shrU(f.get(this.#low), f.const32(20)));
  }

  /** The register operand at bit `at` of the entry's high half; in integer instructions nothing else is there. */
  #c(at: number): I32 {
    const { f } = this;
    const high = f.i32.wrap(f.i64.shrU(f.get(this.#bits), f.const64(32 + at)));
    return f.i32.add(this.hart, this.#float ? f.i32.and(high, f.const32(0x1ff)) : high);
  }

  // ------------------------------------------------------------ the vocabulary

  get rs1(): I64 {
    return this.f.load64(this.#b, SLOT.x);
  }
  get rs2(): I64 {
    return this.f.load64(this.#fields.has("rd") ? this.#c(0) : this.#a, SLOT.x);
  }
  get imm(): I64 {
    return this.f.i64.shrS(this.f.get(this.#bits), this.f.const64(32));
  }
  get pc(): I64 {
    const { f } = this;
    const offset = f.i32.shrU(f.i32.sub(f.get(this.#entry), f.get(this.#code)), f.const32(2));
    return f.i64.add(f.get(this.#page), f.i64.extendUnsigned(offset));
  }
  get next(): I64 {
    return this.f.i64.add(this.pc, this.f.const64(this.#length));
  }

  setRd(value: I64): void {
    this.f.store("i64", this.#a, value, SLOT.x);
  }

  branch(condition?: I32): void {
    if (condition === undefined) return this.#relative();
    this.f.if(condition, () => this.#relative());
  }

  /** Goes to pc + imm, mostly within the page. */
  #relative(): void {
    const { f } = this;
    const delta = f.i32.shl(f.i32.wrap(f.i64.shrU(f.get(this.#bits), f.const64(32))), f.const32(2));
    const target = f.keep(f.i32.add(f.get(this.#entry), delta));
    const offset = () => f.i32.sub(target, f.get(this.#code));
    f.if(f.i32.ltU(offset(), f.const32(PAGE_BYTES * 4)), () => {
      const back = f.keep(f.i32.ltU(target, f.get(this.#entry)));
      f.set(this.#entry, target);
      f.if(back, () => this.#count()); // loops are what there is to compile
      f.br(this.#next);
    });
    f.set(this.#pc, f.i64.add(f.get(this.#page), f.i64.extendSigned(f.i32.shrS(offset(), f.const32(2)))));
    f.br(this.#goto);
  }

  jump(target: I64): void {
    const { f } = this;
    const to = f.keep(target);
    const inPage = f.i64.eq(f.i64.and(to, f.const64(-PAGE_BYTES)), f.get(this.#page));
    f.if(f.i32.and(inPage, f.i64.ne(to, f.get(this.#until))), () => {
      f.set(this.#entry, entryOf(f, f.get(this.#code), to));
      this.#count();
      f.br(this.#next);
    });
    f.set(this.#pc, to);
    f.br(this.#goto);
  }

  /** The quick way, if there is one that goes, else the host's. */
  system(call: SystemCall): void {
    const { f } = this;
    const { enterSupervisor, leaveSupervisor, fencePage } = this.functions;
    switch (call) {
      case "csrrw":
      case "csrrwi":
        this.#csr(call, CSR_HOW.write);
        return;
      case "csrrs":
      case "csrrsi":
        this.#csr(call, CSR_HOW.set);
        return;
      case "csrrc":
      case "csrrci":
        this.#csr(call, CSR_HOW.clear);
        return;
      case "fence.i": // the code cache follows every store already
        return;
      case "ecall":
        f.if(f.call<typeof TYPE.i32>(enterSupervisor, this.hart, this.pc), () => this.#resume());
        break;
      case "sret":
        f.if(f.call<typeof TYPE.i32>(leaveSupervisor, this.hart), () => this.#resume());
        break;
      case "sfence.vma":
        f.if(f.i32.shrU(f.get(this.#low), f.const32(23)), () => {
          f.if(f.call<typeof TYPE.i32>(fencePage, this.hart, this.rs1), () => {
            f.set(this.#pc, this.next);
            f.br(this.#goto);
          });
        });
    }
    this.#system(call);
  }

  #csr(call: SystemCall, how: number): void {
    const { f } = this;
    const number = f.i32.and(f.i32.wrap(f.i64.shrU(f.get(this.#bits), f.const64(32))), f.const32(0xfff));
    const source = f.keep(f.i32.shrU(f.get(this.#low), f.const32(23))); // a register, or the immediate
    const operand = call.endsWith("i") ? f.i64.extendUnsigned(source) : this.rs1;
    const given = how === CSR_HOW.write ? f.const32(how) : f.select(source, f.const32(how), f.const32(CSR_HOW.read));
    const done = f.call<typeof TYPE.i32>(this.functions.accessCsr, this.hart, number, given, operand);
    f.if(f.i32.eqz(done), () => this.#system(call));
    this.setRd(this.#slot64(SLOT.result));
  }

  get fs1(): I64 {
    return this.f.load64(this.#b, SLOT.f);
  }
  get fs2(): I64 {
    return this.f.load64(this.#fields.has("fd") || this.#fields.has("rd") ? this.#c(0) : this.#a, SLOT.f);
  }
  get fs3(): I64 {
    return this.f.load64(this.#c(10), SLOT.f);
  }

  setFd(value: I64): void {
    this.f.store("i64", this.#a, value, SLOT.f);
    this.#dirtyFloat();
  }

  fp(op: FpOp, a: I64, b: I64 = this.constant(0), c: I64 = this.constant(0)): I64 {
    const { f } = this;
    let rm: I32 = f.const32(0);
    if (this.#fields.has("rm")) {
      const given = f.keep(f.i32.and(f.i32.wrap(f.i64.shrU(f.get(this.#bits), f.const64(52))), f.const32(7)));
      rm = f.keep(f.select(f.i32.eq(given, f.const32(7)), this.#slot32(SLOT.frm), given));
      f.if(f.unlikely(f.i32.gtU(rm, f.const32(4))), () => this.#system("illegal"));
    }
    this.#dirtyFloat();
    return f.call(this.functions.floats[op], this.hart, rm, a, b, c);
  }

  #dirtyFloat(): void {
    this.f.store("i32", this.hart, this.f.const32(3), SLOT.fs);
  }
}
