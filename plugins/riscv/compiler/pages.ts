// Where a region's memory accesses go: to the pages that its base registers were last used for, or by a look-up in the TLB.

import { ACCESS, type Access } from "../cause.ts";
import { PAGE_BYTES, SLOT, TLB } from "../layout.ts";
import type { Callee, FunctionBuilder } from "../wasm/function.ts";
import { type I32, type I64, type Local, TYPE } from "../wasm/types.ts";
import { isAligned, isNoPage, lookUp, TRANSLATION } from "../wasm_hart.ts";
import type { AccessGroup, BlockAccess } from "./accesses.ts";

/** Functions that translate addresses: see {@linkcode MmuFunctions}. */
export interface Translators {
  readonly translate: { readonly [A in Access]?: Callee };
  readonly translateStack: Callee;
}

/** An access that is to be made. */
export interface RegionAccess {
  readonly access: BlockAccess;
  /** Whether it is in a loop that calls nothing. */
  readonly loops: boolean;
  /** The value of its base register. */
  readonly base: () => I64;
  /** Whether it has to be aligned. */
  readonly aligned: boolean;
}

/** Bytes in one page: the virtual address of the first one, which is held. */
interface Bytes {
  readonly address: I64;
  readonly size: number;
  /** Whether they are a word: only a misaligned one may leave its page. */
  readonly single: boolean;
}

/** The page last accessed through a base register: its virtual address, and what makes host addresses of its own. */
interface Site {
  readonly page: Local<typeof TYPE.i64>;
  readonly addend: Local<typeof TYPE.i32>;
}

/**
 * The pages that a region knows. Each base register remembers the last page that was read, and written, through it;
 * the stack pointer's page is known to all regions. What the TLB can not serve is the interpreter's: devices, traps,
 * page crossings.
 */
export class RegionPages {
  /** By access and base register. */
  readonly #sites: Site[][] = [];
  /** Where the lowest bytes of a block's groups are. */
  readonly #hosts: Local<typeof TYPE.i32>[] = [];
  /** Those of the present block, by their place in it. */
  #groups = new Map<AccessGroup, Local<typeof TYPE.i32>>();

  constructor(
    readonly f: FunctionBuilder,
    /** The address of the hart's block. */
    readonly hart: () => I32,
    readonly functions: Translators,
    /** Whether the TLB is looked up in place, which is fast, or by a call, which is short. */
    readonly inPlace: boolean,
    /** Leaves the present instruction to the interpreter: {@linkcode TRANSLATION} has why. */
    readonly giveBack: (why?: I32) => void,
  ) {}

  /** Takes note of an access of the region: all are told of before code is written. */
  expect({ group, leads }: BlockAccess, loops: boolean): void {
    if (!leads || group.stack && !loops) return;
    const { f } = this;
    (this.#sites[group.access] ??= [])[group.base] ??= { page: f.local(TYPE.i64), addend: f.local(TYPE.i32) };
  }

  /** Makes all that is remembered void: at the region's start, and behind what may change translations. */
  forget(): void {
    const { f } = this;
    for (const { page } of this.#sites.flat()) if (page !== undefined) f.set(page, f.const64(-1));
  }

  /** A block starts, whose groups are others. */
  begin(): void {
    this.#groups.clear();
  }

  /** The host address for an access, once it is known to be direct, and what is added to it. */
  host({ access, loops, base, aligned }: RegionAccess): [host: () => I32, offset: number] {
    const { f } = this;
    const { group, leads, at } = access;
    const local = this.#groups.get(group);
    if (!leads) return [() => f.get(local!), at - group.low];
    // A register's local stays as it is until the access is made.
    const address = group.low === 0 ? base() : f.keep(f.i64.add(base(), f.const64(group.low)));
    const size = group.high - group.low;
    const bytes = { address, size, single: size <= 8 && Number.isInteger(Math.log2(size)) };
    if (aligned) f.if(f.unlikely(f.i32.eqz(isAligned(f, address, bytes.size))), () => this.giveBack());
    const host = group.stack && !loops ? this.#stackHost(group, bytes) : this.#siteHost(group, bytes);
    if (group.count === 1) return [host, 0];
    const kept = this.#hosts[this.#groups.size] ??= f.local(TYPE.i32);
    this.#groups.set(group, kept);
    f.set(kept, host());
    return [() => f.get(kept), at - group.low];
  }

  #siteHost({ base, access }: AccessGroup, bytes: Bytes): () => I32 {
    const { f } = this;
    const { address, size } = bytes;
    const site = this.#sites[access]?.[base];
    if (!site) throw new Error(`x${base} was not expected to be the base of an access`);
    const { page, addend } = site;
    const pageOf = f.i64.and(address, f.const64(bytes.single ? -PAGE_BYTES | size - 1 : -PAGE_BYTES));
    const other = f.i64.ne(pageOf, f.get(page));
    f.if(f.unlikely(bytes.single ? other : f.i32.or(other, this.#leavesPage(bytes))), () => {
      const translate = () => {
        f.callInto([page, addend], this.functions.translate[access]!, this.hart(), address, f.const32(size));
        f.if(f.unlikely(isNoPage(f, f.get(page))), () => this.giveBack(f.get(addend)));
      };
      if (!this.inPlace) return translate();
      const tag = access === ACCESS.load ? TLB.read : TLB.write;
      const { entry, hit } = lookUp(f, this.hart(), { address, size, tag });
      f.if(f.likely(hit()), () => {
        f.set(addend, f.load32(entry, SLOT.tlb + TLB.addend));
        f.set(page, f.i64.and(address, f.const64(-PAGE_BYTES)));
      }, translate);
    });
    return () => f.i32.add(f.i32.wrap(address), f.get(addend));
  }

  #stackHost({ access }: AccessGroup, bytes: Bytes): () => I32 {
    const { f, hart } = this;
    const { address, size } = bytes;
    const host = f.temporary(TYPE.i32);
    const tag = f.i64.or(f.i64.and(address, f.const64(-PAGE_BYTES)), f.load64(hart(), SLOT.dataContext));
    f.set(host, f.i32.add(f.i32.wrap(address), f.load32(hart(), SLOT.stackAddend)));
    const other = f.i64.ne(tag, f.load64(hart(), SLOT.stackTag));
    f.if(f.unlikely(size > 1 ? f.i32.or(other, this.#leavesPage(bytes)) : other), () => {
      const stores = f.const32(Number(access === ACCESS.store));
      f.set(host, f.call<typeof TYPE.i32>(this.functions.translateStack, hart(), address, f.const32(size), stores));
      const none = f.i32.leU(f.get(host), f.const32(TRANSLATION.leavesPage));
      f.if(f.unlikely(none), () => this.giveBack(f.get(host)));
    });
    return () => f.get(host);
  }

  /** Whether bytes may be in two pages: of single words, misaligned ones may, which are looked up each time. */
  #leavesPage({ address, size, single }: Bytes): I32 {
    const { f } = this;
    const low = f.i32.wrap(address);
    if (single) return f.i32.and(low, f.const32(size - 1));
    return f.i32.gtU(f.i32.and(low, f.const32(PAGE_BYTES - 1)), f.const32(PAGE_BYTES - size));
  }
}
