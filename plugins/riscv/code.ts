// Predecoded code: pages of 8-byte entries that the interpreter runs, decoded when first reached, dropped when written.

import type { EntryEncoder, HandlerNumbers } from "./entries.ts";
import { CODE, PAGE_BYTES } from "./layout.ts";
import type { EngineMemory } from "./memory.ts";
import type { PageWatch } from "./mmu.ts";

/** Flags of a page of RAM: written since the last `collectDirty`; never written directly. */
export const PAGE_FLAG = { dirty: 1, pinned: 2 } as const;
/** Instructions of a basic block that are decoded at one go, at the most. */
const RUN = 16;
/** Predecoded pages are cleared in parts: a host page's size. What stands behind the entries is in the last one. */
const PART_BYTES = 4096;
const LAST_PART = Math.floor(CODE.pageBytes / PART_BYTES);

/** An instruction that lies in two pages: the first one's predecoded page, the instruction's entry there, its bits. */
export interface Crossing {
  readonly page: number;
  readonly entry: bigint;
  readonly instruction: number;
}

/** The predecoded pages of one engine, and what is known of each page of RAM. */
export class CodeCache implements PageWatch {
  /** Told when a page becomes code: direct stores to it must end. */
  onCode: (host: number) => void = () => {};
  /** Told of each predecoded page that is new, and of the RAM page's host address. */
  onPage: (page: number, host: number) => void = () => {};
  /** Told when predecoded pages go away: fetch TLBs must forget them. */
  onDrop: () => void = () => {};
  /** Told of each predecoded page that goes away. */
  onPageDrop: (page: number) => void = () => {};
  decoded = 0;
  flushes = 0;

  /** A page all of whose instructions are fetched singly: for pages that PMP divides. */
  readonly divided: number;

  readonly handlers: HandlerNumbers;
  readonly #slots: number;
  /** The address of each RAM page's predecoded page, or 0, and its flags: generated code reads and sets them, too. */
  readonly #code: Int32Array;
  readonly #flags: Uint8Array;
  /** The RAM page in each slot, or -1. */
  readonly #owner: Int32Array;
  /** Which parts of a slot hold entries, a bit each. The others are zero, and the host has no pages for them yet. */
  readonly #filled: Uint8Array;
  #free: number[] = [];
  /** Of the page numbered last. Pages that are made anew are others, wherever they stand. */
  #serial = 0;

  constructor(
    readonly memory: EngineMemory,
    readonly encoder: EntryEncoder,
    bytes: number,
  ) {
    this.handlers = encoder.handlers;
    this.#slots = Math.floor(bytes / CODE.pageBytes) - 1;
    this.divided = memory.codeOffset + this.#slots * CODE.pageBytes;
    for (let i = 0; i < CODE.entries; i++) {
      memory.i32[(this.divided >> 2) + i * 2] = i < PAGE_BYTES / 2 ? this.handlers.crossing : this.handlers.pageEnd;
    }
    const pages = memory.ramSize / PAGE_BYTES;
    this.#code = new Int32Array(memory.wasm.buffer, memory.pageCodeOffset, pages);
    this.#flags = new Uint8Array(memory.wasm.buffer, memory.pageFlagsOffset, pages);
    this.#owner = new Int32Array(this.#slots).fill(-1);
    this.#filled = new Uint8Array(this.#slots);
    this.dropAll();
  }

  /** The predecoded page of the RAM page at host address `host`, made if need be. */
  page(host: number): number {
    const page = this.#page(host);
    if (this.#code[page]) return this.#code[page];
    if (!this.#free.length) {
      this.flushes++;
      this.dropAll();
      this.onDrop();
    }
    const slot = this.#free.pop()!;
    const address = this.memory.codeOffset + slot * CODE.pageBytes;
    this.#clear(slot);
    this.#code[page] = address;
    this.#owner[slot] = page;
    this.onCode(host - host % PAGE_BYTES);
    this.onPage(address, host - host % PAGE_BYTES);
    return address;
  }

  /** Decodes from the entry at `entry` on, up to the end of the basic block or of the page. */
  decode(entry: number): void {
    const slot = this.#slot(entry);
    const code = this.memory.codeOffset + slot * CODE.pageBytes;
    const host = this.memory.ramOffset + this.#owner[slot] * PAGE_BYTES;
    let offset = (entry - code) / CODE.entryBytes * 2;
    for (let n = 0; n < RUN; n++) {
      const at = code + offset / 2 * CODE.entryBytes >> 2;
      if (this.memory.i32[at]) return;
      this.#filled[slot] |= 1 << Math.floor(offset / 2 * CODE.entryBytes / PART_BYTES);
      const length = this.#decodeOne(host + offset, offset, at);
      if (length === 0) return;
      offset += length;
    }
  }

  /** Keeps the entry of the instruction at the end of one predecoded page, which goes on in the RAM page at `next`. */
  keepCrossing(page: number, next: number): void {
    const { i32 } = this.memory;
    const following = this.#code[this.#page(next)];
    if (!following || page === this.divided) return;
    for (const linked of [page, following]) this.#filled[this.#slot(linked)] |= 1 << LAST_PART;
    i32[page + CODE.crossing >> 2] = this.encoder.low;
    i32[page + CODE.crossing + 4 >> 2] = this.encoder.high;
    i32[page + CODE.next >> 2] = following;
    i32[page + CODE.nextSerial >> 2] = i32[following + CODE.serial >> 2] ||= ++this.#serial;
  }

  // ------------------------------------------------------------ for the compiler

  /** The predecoded page that an entry is in. */
  pageAt(entry: number): number {
    return entry - (entry - this.memory.codeOffset) % CODE.pageBytes;
  }

  /** The host address of the RAM page that a predecoded page stands for, or -1 if it is gone. */
  hostOf(page: number): number {
    const owner = this.#owner[this.#slot(page)];
    return owner === undefined || owner < 0 ? -1 : this.memory.ramOffset + owner * PAGE_BYTES;
  }

  /** Whether an entry has been decoded: it was run, or what leads to it. */
  isReached(entry: number): boolean {
    return this.memory.i32[entry >> 2] !== this.handlers.decode;
  }

  isCompiled(entry: number): boolean {
    return this.memory.i32[entry >> 2] === this.handlers.compiled;
  }

  /** What is known of the instruction at the end of a predecoded page that goes on in the next one. */
  crossing(page: number): Crossing | undefined {
    const { i32, i64, view } = this.memory;
    const next = i32[page + CODE.next >> 2];
    const [host, nextHost] = [page, next].map((each) => each ? this.hostOf(each) : -1);
    if (host < 0 || nextHost < 0 || i32[next + CODE.serial >> 2] !== i32[page + CODE.nextSerial >> 2]) return undefined;
    const instruction = view.getUint16(host + PAGE_BYTES - 2, true) | view.getUint16(nextHost, true) << 16;
    return { page, entry: i64[page + CODE.crossing >> 3], instruction };
  }

  /** Puts a compiled region in an entry's place; the entry is kept by the region's index. */
  replace(entry: number, index: number): void {
    const { i32, i64, originalsOffset } = this.memory;
    i64[originalsOffset / 8 + index] = i64[entry >> 3];
    i32[entry >> 2] = this.handlers.compiled;
    i32[(entry >> 2) + 1] = index;
  }

  /** Undoes {@linkcode replace}. */
  restore(entry: number, index: number): void {
    const { i64, originalsOffset } = this.memory;
    i64[entry >> 3] = i64[originalsOffset / 8 + index];
  }

  // ------------------------------------------------------------ pages of RAM

  isWatched(host: number): boolean {
    const page = this.#page(host);
    return this.#code[page] !== 0 || (this.#flags[page] & PAGE_FLAG.pinned) !== 0;
  }

  /** Keeps direct stores away from a page for good. */
  pin(host: number): void {
    this.#flags[this.#page(host)] |= PAGE_FLAG.pinned;
    this.onCode(host - host % PAGE_BYTES);
  }

  written(host: number): void {
    this.#flags[this.#page(host)] |= PAGE_FLAG.dirty;
  }

  /** RAM changed: what was decoded from it goes. */
  invalidate(host: number, length: number): void {
    let dropped = false;
    const last = this.#page(host + Math.max(length, 1) - 1);
    for (let page = this.#page(host); page <= last; page++) {
      this.#flags[page] |= PAGE_FLAG.dirty;
      if (!this.#code[page]) continue;
      this.onPageDrop(this.#code[page]);
      const slot = this.#slot(this.#code[page]);
      this.#code[page] = 0;
      this.#owner[slot] = -1;
      this.#free.push(slot);
      dropped = true;
    }
    if (dropped) this.onDrop();
  }

  /** Pages written since the last call. */
  collectDirty(): number[] {
    const dirty: number[] = [];
    this.#flags.forEach((flags, page) => {
      if (!(flags & PAGE_FLAG.dirty)) return;
      dirty.push(page);
      this.#flags[page] &= ~PAGE_FLAG.dirty;
    });
    return dirty;
  }

  /** Drops all decoded code. */
  dropAll(): void {
    this.#owner.forEach((page, slot) => {
      if (page < 0) return;
      this.onPageDrop(this.#code[page]);
      this.#code[page] = 0;
      this.#owner[slot] = -1;
    });
    this.#free = Array.from({ length: this.#slots }, (_, i) => this.#slots - 1 - i);
  }

  /** Makes a slot one where nothing is decoded. */
  #clear(slot: number): void {
    const start = this.memory.codeOffset + slot * CODE.pageBytes;
    const end = start + CODE.pageBytes;
    for (let part = 0; this.#filled[slot] >> part; part++) {
      const at = start + part * PART_BYTES;
      if (this.#filled[slot] >> part & 1) this.memory.u8.fill(0, at, Math.min(at + PART_BYTES, end));
    }
    this.#filled[slot] = 0;
  }

  /** The slot that an address is in. */
  #slot(address: number): number {
    return Math.floor((address - this.memory.codeOffset) / CODE.pageBytes);
  }

  #page(host: number): number {
    return Math.floor((host - this.memory.ramOffset) / PAGE_BYTES);
  }

  #decodeOne(host: number, offset: number, at: number): number {
    const { i32, view } = this.memory;
    if (offset >= PAGE_BYTES) {
      i32[at] = this.handlers.pageEnd;
      return 0;
    }
    const half = view.getUint16(host, true);
    const wide = (half & 3) === 3;
    if (wide && offset === PAGE_BYTES - 2) {
      i32[at] = this.handlers.crossing;
      return 0;
    }
    this.encoder.encode(wide ? view.getInt32(host, true) : half);
    i32[at] = this.encoder.low;
    i32[at + 1] = this.encoder.high;
    this.decoded++;
    return this.encoder.step;
  }
}
