// TLB misses in generated code: page walks that need nothing but RAM (privileged specification 20240411, chapters 10.3 to 10.5).

import { ACCESS, MODE, STATUS } from "./cause.ts";
import { PAGE_FLAG } from "./code.ts";
import { FETCH_TLB, PAGE_BYTES, SLOT, SUPERPAGE_BITS, TAG_SLOW, TLB } from "./layout.ts";
import { PTE } from "./mmu.ts";
import type { Callee, FunctionBuilder } from "./wasm/function.ts";
import type { ModuleBuilder } from "./wasm/module.ts";
import { type I32, type I64, TYPE } from "./wasm/types.ts";
import { hartBlock, isNoPage, tableEntry, TRANSLATION } from "./wasm_hart.ts";

/** Where RAM is, and what is known of its pages: see memory.ts. */
export interface RamPlace {
  readonly ramBase: number;
  readonly ramSize: number;
  readonly ramOffset: number;
  readonly pageCodeOffset: number;
  readonly pageFlagsOffset: number;
}

/** What the functions depend on; `only` is for {@linkcode hartBlock}. */
export interface MmuOptions {
  readonly ram: RamPlace;
  readonly only: number | undefined;
}

/** The functions for TLB misses. Whatever they do not do is left to mmu.ts: faults, A and D bits, devices, PMP. */
export interface MmuFunctions {
  /** (hart, address, bytes) → for loads of them, a {@linkcode TRANSLATION}. */
  readonly translateLoad: Callee;
  /** The same for a store, or a read-modify-write. */
  readonly translateStore: Callee;
  /**
   * (hart, address, bytes, 1 for a store) → the host address for an access by the stack pointer, or why there is none.
   * Notes the page for the next ones.
   */
  readonly translateStack: Callee;
  /** (hart, pc) → the predecoded page, or 0. */
  readonly fetchCode: Callee;
}

/** An entry's bits that each access needs set. */
const NEEDED = {
  [ACCESS.fetch]: PTE.X | PTE.A,
  [ACCESS.load]: PTE.R | PTE.A,
  [ACCESS.store]: PTE.W | PTE.A | PTE.D,
} as const;
/** An entry's physical page number, and where a leaf's level stands in what the walk gives: no entry uses these bits. */
const PTE_PPN = 0x3f_ffff_ffff_fc00n;
const LEVEL_SHIFT = 60;

/** Adds the functions; `refill` is the host's, for harts whose accesses no walk translates. */
export function addMmu(
  module: ModuleBuilder,
  refill: Callee,
  options: MmuOptions,
): MmuFunctions {
  const walk = addWalk(module, options);
  const translateLoad = addTranslate(module, walk, refill, options, ACCESS.load);
  const translateStore = addTranslate(module, walk, refill, options, ACCESS.store);
  return {
    translateLoad,
    translateStore,
    translateStack: addTranslateStack(module, translateLoad, translateStore, options),
    fetchCode: addFetchCode(module, walk, options),
  };
}

/** Adds (hart, address, needed bits) → the leaf's entry and its level, or 0. It has no effect. */
function addWalk(module: ModuleBuilder, { ram, only }: MmuOptions): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i64, TYPE.i32], [TYPE.i64]);
  const hart = hartBlock(f, 0, only);
  const address = f.get(f.param<typeof TYPE.i64>(1));
  const needed = f.get(f.param<typeof TYPE.i32>(2));
  const level = f.local(TYPE.i32);
  const table = f.local(TYPE.i64);
  const giveUpIf = (condition: I32) => f.if(condition, () => f.return(f.const64(0)));
  const bits = (value: I32, mask: number) => f.i32.and(value, f.const32(mask));

  f.set(level, f.load32(hart, SLOT.levels));
  f.set(table, f.load64(hart, SLOT.root));
  const nine = (n: I32) => f.i64.extendUnsigned(f.i32.mul(n, f.const32(9)));
  const spare = f.keep(f.i64.sub(f.const64(52), nine(f.get(level))));
  giveUpIf(f.i64.ne(f.i64.shrS(f.i64.shl(address, spare), spare), address));
  const loop = f.openLoop();
  f.set(level, f.i32.sub(f.get(level), f.const32(1)));
  const shift = f.keep(f.i64.add(f.const64(12), nine(f.get(level))));
  const slot = f.i64.shl(f.i64.and(f.i64.shrU(address, shift), f.const64(511)), f.const64(3));
  const offset = f.keep(f.i64.sub(f.i64.add(f.get(table), slot), f.const64(ram.ramBase)));
  giveUpIf(f.i64.geU(offset, f.const64(ram.ramSize)));
  const pte = f.keep(f.load64(f.i32.wrap(offset), ram.ramOffset));
  const low = f.keep(f.i32.wrap(pte));
  const reserved = f.i64.ne(f.i64.shrU(pte, f.const64(54)), f.const64(0));
  giveUpIf(f.i32.or(reserved, f.i32.eqz(bits(low, PTE.V))));
  giveUpIf(f.i32.eq(bits(low, PTE.R | PTE.W), f.const32(PTE.W)));
  f.if(f.i32.eqz(bits(low, PTE.R | PTE.X)), () => {
    // A pointer to the next table.
    giveUpIf(f.i32.or(bits(low, PTE.U | PTE.A | PTE.D), f.i32.eqz(f.get(level))));
    f.set(table, f.i64.shl(f.i64.and(pte, f.const64(PTE_PPN)), f.const64(2)));
    f.br(loop);
  });
  f.close();
  giveUpIf(f.i32.ne(f.i32.and(low, needed), needed));
  f.if(f.i32.eq(f.load32(hart, SLOT.privilege), f.const32(MODE.U)), () => giveUpIf(f.i32.eqz(bits(low, PTE.U))), () => {
    // S-mode: no users' pages, but for data with SUM.
    const sum = f.i32.and(f.load32(hart, SLOT.status), f.const32(STATUS.SUM));
    const barred = f.i32.or(f.i32.eqz(sum), f.i32.eq(needed, f.const32(NEEDED[ACCESS.fetch])));
    f.if(bits(low, PTE.U), () => giveUpIf(barred));
  });
  const within = f.i64.sub(f.i64.shl(f.const64(1), f.i64.sub(shift, f.const64(2))), f.const64(1));
  giveUpIf(f.i64.ne(f.i64.and(f.i64.and(pte, f.const64(PTE_PPN)), within), f.const64(0)));
  f.return(f.i64.or(pte, f.i64.shl(f.i64.extendUnsigned(f.get(level)), f.const64(LEVEL_SHIFT))));
  f.unreachable();
  return callee;
}

/** The page's offset in RAM, by what a walk gave, which is held. Counts the walk; notes the superpage, if it is one. */
function pageOffset(f: FunctionBuilder, hart: I32, address: I64, pte: I64, ram: RamPlace): I64 {
  f.store("i64", hart, f.i64.add(f.load64(hart, SLOT.walks), f.const64(1)), SLOT.walks);
  const level = f.keep(f.i32.wrap(f.i64.shrU(pte, f.const64(LEVEL_SHIFT))));
  const shift = f.keep(f.i64.extendUnsigned(f.i32.add(f.const32(12), f.i32.mul(level, f.const32(9)))));
  f.if(level, () => {
    const bit = f.keep(superpageBit(f, address, level));
    const word = f.keep(f.i32.add(hart, f.i32.shl(f.i32.shrU(bit, f.const32(5)), f.const32(2))));
    const mask = f.i32.shl(f.const32(1), bit); // modulo 32
    f.store("i32", word, f.i32.or(f.load32(word, SLOT.superpages), mask), SLOT.superpages);
  });
  const base = f.i64.shl(f.i64.and(pte, f.const64(PTE_PPN)), f.const64(2));
  const inside = f.i64.sub(f.i64.shl(f.const64(1), shift), f.const64(1));
  const page = f.i64.or(base, f.i64.and(f.i64.and(address, inside), f.const64(-PAGE_BYTES)));
  return f.keep(f.i64.sub(page, f.const64(ram.ramBase)));
}

function addTranslate(
  module: ModuleBuilder,
  walk: Callee,
  refill: Callee,
  { ram, only }: MmuOptions,
  access: typeof ACCESS.load | typeof ACCESS.store,
): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i64, TYPE.i32], [...TRANSLATION.results]);
  const hart = hartBlock(f, 0, only);
  const address = f.get(f.param<typeof TYPE.i64>(1));
  const size = f.get(f.param<typeof TYPE.i32>(2));
  const none = (why: number) => f.return(f.const64(TRANSLATION.none), f.const32(why));
  const giveUpIf = (condition: I32) => f.if(condition, () => none(TRANSLATION.indirect));
  const tag = SLOT.tlb + (access === ACCESS.load ? TLB.read : TLB.write);

  const entry = f.keep(tableEntry(f, hart, address, TLB));
  const page = f.keep(f.i64.and(address, f.const64(-PAGE_BYTES)));
  const last = f.i64.add(address, f.i64.extendUnsigned(f.i32.sub(size, f.const32(1))));
  const leaves = f.i64.ne(f.i64.and(last, f.const64(-PAGE_BYTES)), page);
  f.if(leaves, () => none(TRANSLATION.leavesPage));
  const found = f.keep(f.load64(entry, tag));
  const done = () => f.return(page, f.load32(entry, SLOT.tlb + TLB.addend));
  const wanted = f.keep(f.i64.or(page, f.load64(hart, SLOT.dataContext)));
  // Without SUM, the number of no context.
  const wantedBySum = f.keep(f.i64.or(page, f.load64(hart, SLOT.userContext)));
  f.if(f.i32.or(f.i64.eq(found, wanted), f.i64.eq(found, wantedBySum)), done);
  const direct = f.keep(f.i64.and(found, f.const64(~TAG_SLOW)));
  giveUpIf(f.i32.or(f.i64.eq(direct, wanted), f.i64.eq(direct, wantedBySum)));

  const mprv = f.i32.and(f.load32(hart, SLOT.status), f.const32(STATUS.MPRV));
  f.if(f.i32.or(isOdd(f, hart), mprv), () => {
    const high = f.i32.wrap(f.i64.shrU(address, f.const64(32)));
    const filled = f.call<typeof TYPE.i32>(refill, hart, f.i32.wrap(address), high, size, f.const32(access));
    giveUpIf(f.i32.eqz(filled));
    done();
  });
  const pte = f.call<typeof TYPE.i64>(walk, hart, address, f.const32(NEEDED[access]));
  giveUpIf(f.i32.eqz64(pte));
  const offset = pageOffset(f, hart, address, pte, ram);
  giveUpIf(f.i64.geU(offset, f.const64(ram.ramSize)));

  // As `remember` in mmu.ts does.
  const supervisor = f.i32.ne(f.load32(hart, SLOT.privilege), f.const32(MODE.U));
  const bySum = f.i32.and(supervisor, f.i32.ne(f.i32.and(f.i32.wrap(pte), f.const32(PTE.U)), f.const32(0)));
  const made = f.keep(f.select(bySum, wantedBySum, wanted));
  const differs = (which: number) => f.i64.ne(f.load64(entry, SLOT.tlb + which), made);
  f.if(f.i32.and(differs(TLB.read), differs(TLB.write)), () => {
    for (const which of [TLB.read, TLB.write]) f.store("i64", entry, f.const64(-1), SLOT.tlb + which);
  });
  f.store("i64", entry, made, SLOT.tlb + TLB.read); // what can be written can be read
  const hostPage = f.i32.add(f.i32.wrap(offset), f.const32(ram.ramOffset));
  f.store("i32", entry, f.i32.sub(hostPage, f.i32.wrap(page)), SLOT.tlb + TLB.addend);
  f.store("i32", entry, f.i32.wrap(f.i64.shrU(pte, f.const64(LEVEL_SHIFT))), SLOT.tlb + TLB.level);
  const physical = f.f64.convertI64(f.i64.add(offset, f.const64(ram.ramBase)));
  f.store("f64", entry, physical, SLOT.tlb + TLB.physical);
  if (access === ACCESS.store) {
    const number = f.keep(f.i32.wrap(f.i64.shrU(offset, f.const64(12))));
    giveUpIf(f.load32(f.i32.shl(number, f.const32(2)), ram.pageCodeOffset));
    const flags = f.keep(f.load32(number, ram.pageFlagsOffset, "i32_8u"));
    giveUpIf(f.i32.and(flags, f.const32(PAGE_FLAG.pinned)));
    f.store("i32_8", number, f.i32.or(flags, f.const32(PAGE_FLAG.dirty)), ram.pageFlagsOffset);
    f.store("i64", entry, made, SLOT.tlb + TLB.write);
  }
  done();
  f.unreachable();
  return callee;
}

function addTranslateStack(module: ModuleBuilder, load: Callee, store: Callee, { only }: MmuOptions): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i64, TYPE.i32, TYPE.i32], [TYPE.i32]);
  const hart = hartBlock(f, 0, only);
  const address = f.get(f.param<typeof TYPE.i64>(1));
  const size = f.get(f.param<typeof TYPE.i32>(2));
  const stores = f.get(f.param<typeof TYPE.i32>(3));
  const [page, addend] = [f.local(TYPE.i64), f.local(TYPE.i32)];
  const host = () => f.i32.add(f.i32.wrap(address), f.get(addend));
  f.callInto([page, addend], store, hart, address, size);
  f.if(f.i32.eqz(isNoPage(f, f.get(page))), () => {
    const entry = f.keep(tableEntry(f, hart, address, TLB));
    const tag = f.keep(f.i64.or(f.get(page), f.load64(hart, SLOT.dataContext)));
    // Not the users' pages that SUM opens: they have a tag of their own.
    f.if(f.i64.eq(f.load64(entry, SLOT.tlb + TLB.write), tag), () => {
      f.store("i64", hart, tag, SLOT.stackTag);
      f.store("i32", hart, f.get(addend), SLOT.stackAddend);
    });
    f.return(host());
  });
  f.if(stores, () => f.return(f.get(addend)));
  f.callInto([page, addend], load, hart, address, size);
  f.if(isNoPage(f, f.get(page)), () => f.return(f.get(addend)));
  f.return(host());
  f.unreachable();
  return callee;
}

function addFetchCode(module: ModuleBuilder, walk: Callee, { ram, only }: MmuOptions): Callee {
  const { callee, body: f } = module.function([TYPE.i32, TYPE.i64], [TYPE.i32]);
  const hart = hartBlock(f, 0, only);
  const pc = f.get(f.param<typeof TYPE.i64>(1));
  const giveUpIf = (condition: I32) => f.if(condition, () => f.return(f.const32(0)));
  giveUpIf(isOdd(f, hart));
  const pte = f.call<typeof TYPE.i64>(walk, hart, pc, f.const32(NEEDED[ACCESS.fetch]));
  giveUpIf(f.i32.eqz64(pte));
  const offset = pageOffset(f, hart, pc, pte, ram);
  giveUpIf(f.i64.geU(offset, f.const64(ram.ramSize)));
  const number = f.i32.shl(f.i32.wrap(f.i64.shrU(offset, f.const64(12))), f.const32(2));
  const code = f.keep(f.load32(number, ram.pageCodeOffset));
  giveUpIf(f.i32.eqz(code));
  const entry = f.keep(tableEntry(f, hart, pc, FETCH_TLB));
  const tag = f.i64.or(f.i64.and(pc, f.const64(-PAGE_BYTES)), f.load64(hart, SLOT.fetchContext));
  f.store("i64", entry, tag, SLOT.fetchTlb + FETCH_TLB.tag);
  f.store("i32", entry, code, SLOT.fetchTlb + FETCH_TLB.code);
  f.return(code);
  f.unreachable();
  return callee;
}

/** Whether walks of generated code do not apply: no translation, or PMP has a say. */
function isOdd(f: FunctionBuilder, hart: I32): I32 {
  const machine = f.i32.eq(f.load32(hart, SLOT.privilege), f.const32(MODE.M));
  const bare = f.i32.eqz(f.load32(hart, SLOT.levels));
  return f.i32.or(f.i32.or(machine, bare), f.i32.eqz(f.load32(hart, SLOT.open)));
}

/** The bit, in the filter of superpages, of the one of a level that holds an address; as in mmu.ts. */
export function superpageBit(f: FunctionBuilder, address: I64, level: I32): I32 {
  const shift = f.i64.extendUnsigned(f.i32.add(f.const32(12), f.i32.mul(level, f.const32(9))));
  const number = f.i32.xor(f.i32.wrap(f.i64.shrU(address, shift)), f.i32.shl(level, f.const32(11)));
  return f.i32.and(number, f.const32(SUPERPAGE_BITS - 1));
}
