// What is compiled, and when: hot entries are gathered, compiled in batches, and what runs on and on once more.

import type { CodeCache, Crossing } from "../code.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { PAGE_BYTES } from "../layout.ts";
import type { EngineMemory } from "../memory.ts";
import { Keeper } from "./keeper.ts";
import { type ModuleOptions, RegionModules } from "./modules.ts";
import { MAX_TARGETS, PageReader, type Region } from "./region.ts";
import { type RegionHead, type ResidentOptions, Residents } from "./residents.ts";

/** How much is compiled, and when. */
export interface JitOptions extends ResidentOptions, ModuleOptions {
  /** Whether what is compiled is kept for the next machine; what an earlier one left. */
  readonly keeps: boolean;
  readonly kept: Uint8Array | undefined;
}

/**
 * Entries compiled together; fewer, when they have waited for that many runs of the engine, or the threshold's, or have
 * become hot so often again meanwhile: a module costs the host as much as interpreting them for so long.
 */
const BATCH = 32;
const PATIENCE = 128;
const AGAIN = 3;
/** How often a region with jump tables is compiled, as more of what they lead to becomes hot. */
const MAX_TIMES = 32;

/** In so many runs, a region may find accesses that share a check in two pages for so many thresholds. */
const WINDOW = 64;
const STRADDLES = 4;

/** A candidate, with what is to be compiled. */
interface Found extends RegionHead {
  readonly region: Region;
  readonly crossing: Crossing | undefined;
}

/**
 * The compiler's manager. Hot code is compiled quickly first, with what shortens it; what then runs on and on is
 * compiled anew, with what makes it fast.
 */
export class Jit {
  regions = 0;
  optimized = 0;
  modules = 0;
  compiledBytes = 0;
  readonly #residents: Residents;
  readonly #modules: RegionModules;
  readonly #keeper?: Keeper;
  readonly #reader = new PageReader(INSTRUCTIONS);
  /** By entry. */
  readonly #queue = new Map<number, RegionHead>();
  /** How often each optimized region with a jump table was compiled: by page, and entry. */
  readonly #switches = new Map<number, Map<number, number>>();
  /** Where in their page computed jumps went: so many offsets at the most, by page. */
  readonly #targets = new Map<number, Set<number>>();
  /** How often regions found accesses in two pages since the window began, by entry; where that was too often, by page. */
  readonly #straddles = new Map<number, number>();
  readonly #scattered = new Map<number, Set<number>>();
  /** Runs since something is in the queue, and how often that became hot again; runs of the window. */
  #waited = 0;
  #again = 0;
  #window = 0;

  constructor(
    readonly memory: EngineMemory,
    readonly code: CodeCache,
    readonly table: WebAssembly.Table,
    /** Functions of the interpreter's module and of the host that regions call. */
    readonly functions: WebAssembly.ModuleImports,
    readonly options: JitOptions,
  ) {
    this.#residents = new Residents(memory, code, table, options);
    code.onPageDrop = (page) => this.#forget(page);
    const { optimize, straddle, jumped } = this;
    const { only, fused, keeps, kept } = options;
    const turnsAt = (index: number) => this.#residents.turnsAt(index);
    const imports = { ...functions, optimize, straddle, jumped, table };
    this.#modules = new RegionModules(memory, imports, { only, fused }, turnsAt);
    if (!keeps) return;
    this.#keeper = new Keeper(memory, code, this.#residents, this.#modules, this.#reader);
    if (kept) this.#keeper.use(kept);
  }

  /** Regions that an earlier machine had compiled. */
  get adopted(): number {
    return this.#keeper?.adopted ?? 0;
  }

  get evictions(): number {
    return this.#residents.evictions;
  }

  get residentBytes(): number {
    return this.#residents.bytes;
  }

  /** Jumps have reached an entry often: it may be hot by now. */
  warm(entry: number): void {
    if (this.code.isCompiled(entry) || this.#residents.readmit(entry) || !this.options.heat.rises(entry)) return;
    if (!this.#queue.has(entry)) return this.#await({ entry, page: this.code.pageAt(entry), optimized: false });
    if (++this.#again >= AGAIN) this.compile();
  }

  /** A region is worth optimizing: itself, and the loop within it that made it so. */
  readonly optimize = (index: number, offset: number): void => {
    const region = this.#residents.region(index);
    if (region === undefined) return; // gone, but under way
    const { entry, page } = region;
    this.#await({ entry, page, optimized: true });
    this.#await({ entry: page + offset * 4, page, optimized: true });
  };

  /** A region gave way to the interpreter, as accesses that share a check lie in two pages. */
  readonly straddle = (index: number): void => {
    const region = this.#residents.region(index);
    if (region === undefined) return;
    const { entry, page, optimized } = region;
    const count = (this.#straddles.get(entry) ?? 0) + 1;
    this.#straddles.set(entry, count);
    if (count !== STRADDLES * this.options.heat.threshold) return;
    const scattered = this.#scattered.get(page) ?? new Set();
    this.#scattered.set(page, scattered.add(entry));
    this.#await({ entry, page, optimized });
  };

  /** A computed jump went to an offset of its page. */
  readonly jumped = (index: number, offset: number): void => {
    const page = this.#residents.region(index)?.page;
    if (page === undefined) return; // gone, but under way
    const targets = this.#targets.get(page) ?? new Set();
    if (targets.size < MAX_TARGETS) this.#targets.set(page, targets.add(offset));
  };

  /** A run of the engine ended: what is hot need not wait for ever. */
  tick(): void {
    const { heat } = this.options;
    heat.tick();
    if (++this.#window === WINDOW) {
      this.#window = 0;
      this.#straddles.clear();
    }
    if (this.#queue.size && ++this.#waited >= Math.min(PATIENCE, heat.threshold)) this.compile();
  }

  #await(candidate: RegionHead): void {
    const { entry } = candidate;
    if (!this.#queue.get(entry)?.optimized) this.#queue.set(entry, candidate);
    if (this.#queue.size >= BATCH) this.compile();
  }

  /** Compiles what has become hot. */
  compile(): void {
    this.#waited = this.#again = 0;
    const fresh = [...this.#queue.values()].filter((each) =>
      each.optimized || this.#isScattered(each) || !this.code.isCompiled(each.entry)
    );
    this.#queue.clear();
    const [optimized, quick] = [true, false].map((which) => fresh.filter((each) => each.optimized === which));
    const work = [
      ...this.#apart(this.#regions(quick)),
      ...this.#apart(this.#regions(optimized)),
      ...this.#regions(this.#outgrown(fresh)),
    ];
    if (!work.length) return;
    this.#residents.makeRoom(work.length);
    const indices = this.#residents.admit(work);
    const bytes = this.#modules.write(work.map((each, i) => {
      const { entry, page, region, optimized, crossing } = each;
      const grouped = !this.#isScattered(each);
      return { page, offset: (entry - page) / 4, region, optimized, index: indices[i], grouped, crossing };
    }));
    this.modules++;
    this.compiledBytes += bytes.length;
    this.regions += work.length;
    for (const each of work) {
      if (each.optimized) this.#noteOptimized(each);
      this.#keeper?.note(each, each.region);
    }
    this.#residents.install(indices, this.#modules.functionsOf(bytes, work.length), bytes.length);
  }

  /** What the next machine is to have, unless that is what this one had. */
  keep(): Uint8Array<ArrayBuffer> | undefined {
    return this.#keeper?.keep(this.regions);
  }

  /** Whether accesses that shared a check were in two pages too often. */
  #isScattered({ entry, page }: RegionHead): boolean {
    return this.#scattered.get(page)?.has(entry) === true;
  }

  #noteOptimized({ entry, page, region }: Found): void {
    this.optimized++;
    if (![...region.values()].some(({ end }) => end.kind === "switch")) return;
    let switches = this.#switches.get(page);
    if (!switches) this.#switches.set(page, switches = new Map());
    switches.set(entry, (switches.get(entry) ?? 0) + 1);
  }

  /** Optimized regions whose jump tables may lead to what has become hot now. */
  #outgrown(fresh: readonly RegionHead[]): RegionHead[] {
    const targets = fresh.filter(({ entry, page }) => this.#targets.get(page)?.has((entry - page) / 4));
    return [...new Set(targets.map(({ page }) => page))].flatMap((page) =>
      [...this.#switches.get(page) ?? []].flatMap(([entry, times]) =>
        times < MAX_TIMES && this.#residents.index(entry) !== undefined ? [{ entry, page, optimized: true }] : []
      )
    );
  }

  #regions(candidates: readonly RegionHead[]): Found[] {
    return candidates.map((each) => {
      const crossing = this.code.crossing(each.page);
      return { ...each, crossing, region: this.#region(each, crossing?.instruction) };
    }).filter(({ region }) => region.size);
  }

  /**
   * Those without the ones whose entries stand in others' regions: what became hot with a function became hot by it,
   * most likely. What is entered from elsewhere, too, becomes hot again.
   */
  #apart(found: readonly Found[]): Found[] {
    const apart: Found[] = [];
    for (const each of found.toSorted((a, b) => b.region.size - a.region.size)) {
      const offset = (each.entry - each.page) / 4;
      const index = this.#residents.index(each.entry);
      if (!apart.some(({ page, region }) => page === each.page && region.has(offset))) apart.push(each);
      else if (index !== undefined) this.#residents.rewind(index);
    }
    return apart;
  }

  #region({ entry, page }: RegionHead, crossing: number | undefined): Region {
    const { memory, code } = this;
    const host = code.hostOf(page);
    if (host < 0) return new Map();
    const view = new DataView(memory.wasm.buffer, host, PAGE_BYTES);
    const isReached = (offset: number) => code.isReached(page + offset * 4);
    return this.#reader.region(view, (entry - page) / 4, isReached, this.#targets.get(page), crossing);
  }

  /** A predecoded page goes, and all that was made of it. */
  #forget(page: number): void {
    for (const { entry, page: of } of this.#queue.values()) if (of === page) this.#queue.delete(entry);
    this.#residents.forget(page);
    this.#switches.delete(page);
    this.#targets.delete(page);
    for (const entry of this.#scattered.get(page) ?? []) this.#straddles.delete(entry);
    this.#scattered.delete(page);
  }
}
