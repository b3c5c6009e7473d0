// Where a region's memory accesses go: to the pages that its base registers were last used for, or by a look-up in the TLB.

import { ACCESS, type Access } from "../cause.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { PAGE_BYTES, SLOT, TLB } from "../layout.ts";
import type { AccessSize } from "../vocabulary.ts";
import type { Callee, FunctionBuilder } from "../wasm/function.ts";
import { type I32, type I64, type Local, TYPE } from "../wasm/types.ts";
import { isAligned, lookUp } from "../wasm_hart.ts";

/** Functions that translate addresses: see {@linkcode MmuFunctions}. */
export interface Translators {
  readonly translate: { readonly [A in Access]?: Callee };
  readonly translateStack: Callee;
}

/** An access, by the register that its address comes from. */
export interface RegionAccess {
  readonly base: number;
  /** Whether it is in a loop that calls nothing. */
  readonly loops: boolean;
  /** Its virtual address, which is held. */
  readonly address: I64;
  readonly size: AccessSize;
  readonly access: typeof ACCESS.load | typeof ACCESS.store;
  /** Whether it has to be aligned. */
  readonly aligned: boolean;
}

/** The page last accessed through a base register: its virtual address, and what makes host addresses of its own. */
interface Site {
  readonly page: Local<typeof TYPE.i64>;
  readonly addend: Local<typeof TYPE.i32>;
}

/** The stack pointer, by convention (unprivileged specification, table 3). */
const SP = 2;
/** What an instruction does to memory at rs1, by the name of its row; atomics that store count as stores. */
function accessOf(name: string): Access | undefined {
  if (/^(lb|lh|lw|ld|lbu|lhu|lwu|flw|fld|lr\.[wd])$/.test(name)) return ACCESS.load;
  return /^(sb|sh|sw|sd|fsw|fsd|(sc|amo\w+)\.[wd])$/.test(name) ? ACCESS.store : undefined;
}
/** The same, by the index of its row. */
const ACCESSES = INSTRUCTIONS.rows.map((row) => accessOf(row.name));

/**
 * The pages that a region knows. Each base register remembers the last page that was read, and written, through it;
 * the stack pointer's page is known to all regions. What the TLB can not serve is the interpreter's: devices, traps,
 * page crossings.
 */
export class RegionPages {
  /** By access and base register. */
  readonly #sites: Site[][] = [];

  constructor(
    readonly f: FunctionBuilder,
    /** The address of the hart's block. */
    readonly hart: () => I32,
    readonly functions: Translators,
    /** Whether the TLB is looked up in place, which is fast, or by a call, which is short. */
    readonly inPlace: boolean,
    /** Leaves the present instruction to the interpreter. */
    readonly giveBack: () => void,
  ) {}

  /** Takes note of an instruction of the region: all are told of before code is written. */
  expect(row: number, base: number, loops: boolean): void {
    const access = ACCESSES[row];
    if (access === undefined || base === SP && !loops) return;
    const { f } = this;
    (this.#sites[access] ??= [])[base] ??= { page: f.local(TYPE.i64), addend: f.local(TYPE.i32) };
  }

  /** Makes all that is remembered void: at the region's start, and behind what may change translations. */
  forget(): void {
    const { f } = this;
    for (const { page } of this.#sites.flat()) if (page !== undefined) f.set(page, f.const64(-1));
  }

  /** The host address of an access, once it is known to be direct. */
  host(asked: RegionAccess): () => I32 {
    return asked.base === SP && !asked.loops ? this.#stackHost(asked) : this.#siteHost(asked);
  }

  #siteHost({ base, address, size, access, aligned }: RegionAccess): () => I32 {
    const { f } = this;
    const site = this.#sites[access]?.[base];
    if (!site) throw new Error(`x${base} was not expected to be the base of an access`);
    const { page, addend } = site;
    // The low bits take part: a misaligned access is looked up each time.
    const elsewhere = f.i64.ne(f.i64.and(address, f.const64(-PAGE_BYTES | size - 1)), f.get(page));
    f.if(f.unlikely(elsewhere), () => {
      if (aligned) this.#refuseMisaligned(address, size);
      const translate = () => {
        const host = f.call<typeof TYPE.i32>(this.functions.translate[access]!, this.hart(), address, f.const32(size));
        f.if(f.unlikely(f.i32.eqz(host)), this.giveBack);
        f.set(addend, f.i32.sub(host, f.i32.wrap(address)));
      };
      if (this.inPlace) {
        const tag = access === ACCESS.load ? TLB.read : TLB.write;
        const { entry, hit } = lookUp(f, this.hart(), { address, size, tag });
        f.if(f.likely(hit()), () => f.set(addend, f.load32(entry, SLOT.tlb + TLB.addend)), translate);
      } else {
        translate();
      }
      f.set(page, f.i64.and(address, f.const64(-PAGE_BYTES)));
    });
    return () => f.i32.add(f.i32.wrap(address), f.get(addend));
  }

  #stackHost({ address, size, access, aligned }: RegionAccess): () => I32 {
    const { f, hart } = this;
    const host = f.temporary(TYPE.i32);
    const tag = f.i64.or(f.i64.and(address, f.const64(-PAGE_BYTES)), f.load64(hart(), SLOT.dataContext));
    f.set(host, f.i32.add(f.i32.wrap(address), f.load32(hart(), SLOT.stackAddend)));
    const other = f.i64.ne(tag, f.load64(hart(), SLOT.stackTag));
    // A misaligned access is looked up each time; its low bits must not meet those of the context.
    const odd = f.i32.and(f.i32.wrap(address), f.const32(size - 1));
    f.if(f.unlikely(size > 1 ? f.i32.or(other, odd) : other), () => {
      if (aligned) this.#refuseMisaligned(address, size);
      const stores = f.const32(Number(access === ACCESS.store));
      f.set(host, f.call<typeof TYPE.i32>(this.functions.translateStack, hart(), address, f.const32(size), stores));
      f.if(f.unlikely(f.i32.eqz(f.get(host))), this.giveBack);
    });
    return () => f.get(host);
  }

  #refuseMisaligned(address: I64, size: number): void {
    const { f } = this;
    f.if(f.unlikely(f.i32.eqz(isAligned(f, address, size))), this.giveBack);
  }
}
