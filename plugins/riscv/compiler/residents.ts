// The compiled regions that are kept: where each stands in the table, and which go when there is no room.

import type { CodeCache } from "../code.ts";
import { COUNTERS } from "../layout.ts";
import type { EngineMemory } from "../memory.ts";
import type { Heat } from "./heat.ts";

/** Regions in the table, at the most. */
export const MAX_REGIONS = 0x4000;

/** What is left, of what may be kept, after a clearing: where less has become cold, everything goes. */
const LEFT = 3 / 4;

/** A module's code: it goes when all of its regions have gone. */
interface Module {
  readonly bytes: number;
  regions: number;
}

/** What is compiled: from which entry of which predecoded page on, and how well. */
export interface RegionHead {
  readonly entry: number;
  readonly page: number;
  /** Whether it is the best code; else it was to be there soon. */
  readonly optimized: boolean;
}

/** A region that is kept. */
interface Resident extends RegionHead {
  optimized: boolean;
  module: Module;
  /** On trial: its entry is the interpreter's again, until it is entered. */
  trial: boolean;
}

/** What room depends on. */
export interface ResidentOptions {
  /** What tells which code is hot. */
  readonly heat: Heat;
  /** Entries and turns of loops that a region is good for before it is optimized. */
  readonly optimize: number;
  /** Bytes of WebAssembly that are kept. */
  readonly codeBytes: number;
}

/**
 * The regions in the table. When half of the room is used, all are put on trial; when there is none left, those that
 * nobody has entered since are cold, and go.
 */
export class Residents {
  evictions = 0;
  /** Indices that are free again, and the first that never was taken. */
  readonly #free: number[] = [];
  #fresh = 0;
  readonly #residents: (Resident | undefined)[] = [];
  /** Table indices by entry, and by the predecoded page. */
  readonly #byEntry = new Map<number, number>();
  readonly #byPage = new Map<number, Set<number>>();
  readonly #turns: Int32Array;
  #bytes = 0;
  /** The functions of the module that stays. */
  #found: readonly CallableFunction[] = [];
  /** Bytes at which the next trial begins. */
  #mark: number;

  constructor(
    readonly memory: EngineMemory,
    readonly code: CodeCache,
    readonly table: WebAssembly.Table,
    readonly options: ResidentOptions,
  ) {
    this.#turns = new Int32Array(memory.wasm.buffer, memory.turnsOffset, MAX_REGIONS);
    this.#mark = options.codeBytes / 2;
  }

  /** Bytes of WebAssembly that are kept: what there was room for, and the module that came then. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A region that is kept, by its table index; the table index of the one at an entry. */
  region(index: number): RegionHead | undefined {
    return this.#residents[index];
  }
  index(entry: number): number | undefined {
    return this.#byEntry.get(entry);
  }

  /** The address of a region's count of turns. */
  turnsAt(index: number): number {
    return this.memory.turnsOffset + 4 * index;
  }

  /** Lets a region run for as long as a new one before it is optimized. */
  rewind(index: number): void {
    this.#turns[index] = this.options.optimize;
  }

  /** Indices that are free. */
  get #room(): number {
    return this.#free.length + MAX_REGIONS - this.#fresh;
  }

  /** Sees to it that so many regions can be installed. */
  makeRoom(count: number): void {
    const { codeBytes } = this.options;
    if (this.#room >= count && this.#bytes <= codeBytes) {
      if (this.#bytes > this.#mark) this.#try();
      return;
    }
    this.evictions++;
    this.#releaseIf(({ trial }) => trial);
    if (this.#room < count || this.#bytes > codeBytes * LEFT) this.#releaseIf(() => true);
    this.#mark = (this.#bytes + codeBytes) / 2;
  }

  /** Takes in a module that stays: the first indices are its functions', and free for its regions until `adopt`. */
  found(functions: readonly CallableFunction[], bytes: number): void {
    this.#fresh = functions.length;
    functions.forEach((each, index) => this.table.set(index, each));
    this.#found = functions;
    this.#bytes = bytes;
  }

  /** Puts one of these functions in the place of an entry, unless it stands in another one's; whether it did. */
  adopt(index: number, head: RegionHead): boolean {
    if (this.#residents[index] || this.#byEntry.has(head.entry)) return false;
    this.#residents[index] = { ...head, module: { bytes: 0, regions: 1 }, trial: false };
    this.#place(index, head);
    this.rewind(index);
    this.code.decode(head.entry);
    this.code.replace(head.entry, index);
    return true;
  }

  /** Indices for these regions, which are kept from now on. */
  admit(regions: readonly RegionHead[]): number[] {
    return regions.map(({ entry, page, optimized }) => {
      const known = this.#byEntry.get(entry);
      if (known !== undefined) {
        this.#residents[known]!.optimized = optimized;
        return known;
      }
      const index = this.#free.pop() ?? this.#fresh++;
      this.#residents[index] = { entry, page, optimized, module: { bytes: 0, regions: 1 }, trial: true };
      this.#place(index, { entry, page });
      return index;
    });
  }

  #place(index: number, { entry, page }: Pick<RegionHead, "entry" | "page">): void {
    this.#byEntry.set(entry, index);
    const indices = this.#byPage.get(page) ?? new Set();
    this.#byPage.set(page, indices.add(index));
  }

  /** Puts the functions of a module in the table, and calls of them in their entries' places. */
  install(indices: readonly number[], functions: readonly CallableFunction[], bytes: number): void {
    const module = { bytes, regions: indices.length };
    this.#bytes += bytes;
    indices.forEach((index, i) => {
      const resident = this.#residents[index]!;
      this.#leave(resident.module);
      resident.module = module;
      this.table.set(index, functions[i]);
      this.rewind(index);
      if (resident.trial) this.#return(index, resident);
    });
  }

  /** Ends the trial of the region of an entry, which has been reached; false if there is none. */
  readmit(entry: number): boolean {
    const index = this.#byEntry.get(entry);
    const resident = index === undefined ? undefined : this.#residents[index];
    if (!resident?.trial) return false;
    this.#return(index!, resident);
    return true;
  }

  /** A predecoded page is gone: so are its regions. */
  forget(page: number): void {
    for (const index of this.#byPage.get(page) ?? []) this.#release(index);
    this.#byPage.delete(page);
  }

  #return(index: number, resident: Resident): void {
    resident.trial = false;
    this.code.replace(resident.entry, index);
  }

  /** Puts all regions on trial: the next jump to one tells of it. */
  #try(): void {
    this.#mark = Infinity;
    const { i32, countersOffset } = this.memory;
    this.#residents.forEach((resident, index) => {
      if (!resident || resident.trial) return;
      resident.trial = true;
      this.code.restore(resident.entry, index);
      i32[countersOffset + (resident.entry >>> 1 & COUNTERS.bytes - 4) >> 2] = this.options.heat.part - 1;
    });
  }

  #releaseIf(goes: (resident: Resident) => boolean): void {
    this.#residents.forEach((resident, index) => {
      if (!resident || !goes(resident)) return;
      if (!resident.trial) this.code.restore(resident.entry, index);
      this.#byPage.get(resident.page)!.delete(index);
      this.#release(index);
    });
  }

  #release(index: number): void {
    const { entry, module } = this.#residents[index]!;
    this.#residents[index] = undefined;
    this.#byEntry.delete(entry);
    this.#leave(module);
    this.table.set(index, this.#found[index] ?? null);
    if (index >= this.#found.length) this.#free.push(index);
  }

  #leave(module: Module): void {
    if (--module.regions === 0) this.#bytes -= module.bytes;
  }
}
