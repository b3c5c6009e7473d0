// What is compiled, and when: hot entries are gathered, compiled in batches, and what runs on and on once more.

import { ACCESS } from "../cause.ts";
import type { CodeCache } from "../code.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { PAGE_BYTES } from "../layout.ts";
import type { EngineMemory } from "../memory.ts";
import { FP_OPS, type FpOp } from "../softfloat.ts";
import type { Callee } from "../wasm/function.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { TYPE } from "../wasm/types.ts";
import { TRANSLATION } from "../wasm_hart.ts";
import { INTEGER_HELPERS } from "../wasm_values.ts";
import { addRunTo, REGION_SIGNATURE } from "../wasm_runtime.ts";
import { RegionCompiler, type RegionImports } from "./compiler.ts";
import { CodeRecord, isReachedIn, KeptCode, type PageContent, reachedBy } from "./kept_code.ts";
import { type Block, PageReader, type Region } from "./region.ts";
import { type RegionHead, type ResidentOptions, Residents } from "./residents.ts";

/** How much is compiled, and when. */
export interface JitOptions extends ResidentOptions {
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
  /** Whether the host's multiply-add rounds once. */
  readonly fused: boolean;
  /** Where what is compiled is kept for the next machine; what an earlier one left there. */
  readonly keeps: boolean;
  readonly kept: Uint8Array | undefined;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Entries compiled together; fewer, when they have waited for that many runs of the engine, or the threshold's. */
const BATCH = 32;
const PATIENCE = 64;
/** How often a region with jump tables is compiled, as more of what they lead to becomes hot. */
const MAX_TIMES = 32;

/** In so many runs, a region may find accesses that share a check in two pages for so many thresholds. */
const WINDOW = 64;
const STRADDLES = 4;

/** The form of compiled code: raise it with every change of what a region's code is, or of what it asks of its imports. */
const FORM = 1;
/** Fewer regions are compiled again as fast; what is kept is made anew once so much of what ran was not in it. */
const LEAST_KEPT = 16;
const NEWS = 0.1;

/** A candidate, with what is to be compiled. */
interface Found extends RegionHead {
  readonly region: Region;
}

/** What becomes a function of a module; `page` tells pages apart. */
interface ModuleRegion {
  readonly page: number;
  readonly offset: number;
  readonly region: Region;
  readonly optimized: boolean;
  readonly index: number;
  readonly grouped: boolean;
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
  /** Regions that an earlier machine had compiled. */
  adopted = 0;
  readonly #residents: Residents;
  readonly #reader = new PageReader(INSTRUCTIONS);
  /** By entry. */
  readonly #queue = new Map<number, RegionHead>();
  /** How often each optimized region with a jump table was compiled: by page, and entry. */
  readonly #switches = new Map<number, Map<number, number>>();
  /** How often regions found accesses in two pages since the window began, by entry; where that was too often, by page. */
  readonly #straddles = new Map<number, number>();
  readonly #scattered = new Map<number, Set<number>>();
  /** What this machine runs, if that is kept, and what an earlier one ran; what the code depends on. */
  readonly #record?: CodeRecord;
  #kept?: CodeRecord;
  readonly #form: string;
  /** Runs since something is in the queue, and of the window. */
  #waited = 0;
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
    const { pages, shared, turnsOffset } = memory;
    this.#form = JSON.stringify({ FORM, pages, shared, turnsOffset, only: options.only, fused: options.fused });
    if (options.keeps) this.#record = new CodeRecord();
    if (options.kept) this.#use(options.kept);
  }

  get evictions(): number {
    return this.#residents.evictions;
  }

  get residentBytes(): number {
    return this.#residents.bytes;
  }

  /** An entry has become hot. If it has for the second time, it has waited for too long. */
  hot(entry: number): void {
    if (this.code.isCompiled(entry) || this.#residents.readmit(entry)) return;
    if (this.#queue.has(entry)) return this.compile();
    this.#await({ entry, page: this.code.pageAt(entry), optimized: false });
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
    if (count !== STRADDLES * this.options.threshold) return;
    const scattered = this.#scattered.get(page) ?? new Set();
    this.#scattered.set(page, scattered.add(entry));
    this.#await({ entry, page, optimized });
  };

  /** A run of the engine ended: what is hot need not wait for ever. */
  tick(): void {
    if (++this.#window === WINDOW) {
      this.#window = 0;
      this.#straddles.clear();
    }
    if (this.#queue.size && ++this.#waited >= Math.min(PATIENCE, this.options.threshold)) this.compile();
  }

  #await(candidate: RegionHead): void {
    this.#queue.set(candidate.entry, candidate);
    if (this.#queue.size >= BATCH) this.compile();
  }

  /** Compiles what has become hot. */
  compile(): void {
    this.#waited = 0;
    const fresh = [...this.#queue.values()].filter(({ entry, optimized }) => optimized || !this.code.isCompiled(entry));
    this.#queue.clear();
    const [optimized, quick] = [true, false].map((which) => fresh.filter((each) => each.optimized === which));
    const work = [
      ...this.#apart(this.#regions(quick, fresh)),
      ...this.#apart(this.#regions(optimized, fresh)),
      ...this.#regions(this.#outgrown(fresh), fresh),
    ];
    if (!work.length) return;
    this.#residents.makeRoom(work.length);
    const indices = this.#residents.admit(work);
    const bytes = this.#write(work.map(({ entry, page, region, optimized }, i) => {
      const grouped = !this.#scattered.get(page)?.has(entry);
      return { page, offset: (entry - page) / 4, region, optimized, index: indices[i], grouped };
    }));
    this.modules++;
    this.compiledBytes += bytes.length;
    this.regions += work.length;
    for (const each of work) if (each.optimized) this.#noteOptimized(each);
    this.#residents.install(indices, this.#instantiate(bytes, work.length), bytes.length);
    for (const { entry, page, region, optimized } of work) {
      this.#record?.note(this.#content(page), { offset: (entry - page) / 4, optimized, reached: reachedBy(region) });
    }
  }

  /** Writes a module with a function for each of these: `r0`, `r1`… */
  #write(work: readonly ModuleRegion[]): Bytes {
    const { pages, shared } = this.memory;
    const module = new ModuleBuilder({ pages, shared, table: true });
    const floats = work.some(({ region }) => [...region.values()].some(computesFloats));
    const imports = importAll(module, this.options, floats ? FP_OPS : []);
    const { params, results } = REGION_SIGNATURE;
    const functions = work.map((_, i) => module.function([...params], [...results], `r${i}`));
    work.forEach(({ page, region, optimized, index, grouped }, i) => {
      const neighbour = (offset: number) =>
        functions[work.findIndex((other) => other.page === page && other.offset === offset)]?.callee;
      const turns = optimized ? undefined : this.#residents.turnsAt(index);
      new RegionCompiler(functions[i].body, region, imports, { index, turns, grouped, neighbour }).write();
    });
    return module.bytes();
  }

  /** The functions of a module. */
  #instantiate(bytes: Bytes, count: number): CallableFunction[] {
    const { functions: env, optimize, straddle, memory: { wasm: memory }, table } = this;
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { ...env, optimize, straddle, memory, table },
    });
    return Array.from({ length: count }, (_, i) => exports[`r${i}`] as CallableFunction);
  }

  // ------------------------------------------------------------ from one machine to the next

  /** Takes what an earlier machine left, if it fits this one: its regions stand in their pages from the beginning. */
  #use(file: Uint8Array): void {
    const kept = KeptCode.read(file, this.#form);
    if (!kept || kept.code.length > this.options.codeBytes / 2) return;
    const { record: { regions }, code } = kept;
    try {
      this.#residents.found(this.#instantiate(code, regions.length), code.length);
    } catch {
      return; // no such module
    }
    this.#kept = kept.record;
    const byPage = Map.groupBy(regions.map((region, index) => ({ ...region, index })), ({ page }) => page);
    this.code.onPage = (page) => {
      const content = this.#content(page);
      for (const region of byPage.get(kept.record.find(content) ?? -1) ?? []) {
        const { index, offset, optimized } = region;
        if (!this.#residents.adopt(index, { entry: page + offset * 4, page, optimized })) continue;
        this.adopted++;
        this.#record?.note(content, region);
      }
    };
  }

  /** What the next machine is to have, unless that is what this one had. */
  keep(): Bytes | undefined {
    const record = this.#record;
    if (!record || this.regions < LEAST_KEPT || this.regions <= NEWS * this.adopted) return undefined;
    if (this.#kept) record.addMissing(this.#kept);
    const views = record.pages.map(({ buffer, byteOffset }) => new DataView(buffer, byteOffset, PAGE_BYTES));
    const heads = Map.groupBy(record.regions, ({ page }) => page);
    const work = record.regions.map((kept, index) => {
      const { page, offset, reached } = kept;
      const entries = heads.get(page)!.map((each) => each.offset);
      const region = this.#reader.region(views[page], offset, (at) => isReachedIn(reached, at), entries);
      return { ...kept, index, region, grouped: true };
    });
    return KeptCode.write(record, this.#write(work), this.#form);
  }

  #content(page: number): PageContent {
    return new Int32Array(this.memory.wasm.buffer, this.code.hostOf(page), PAGE_BYTES / 4);
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
    return [...new Set(fresh.map(({ page }) => page))].flatMap((page) =>
      [...this.#switches.get(page) ?? []].flatMap(([entry, times]) =>
        times < MAX_TIMES && this.#residents.index(entry) !== undefined ? [{ entry, page, optimized: true }] : []
      )
    );
  }

  #regions(candidates: readonly RegionHead[], fresh: readonly RegionHead[]): Found[] {
    return candidates.map((each) => ({ ...each, region: this.#region(each, fresh) })).filter((each) =>
      each.region.size
    );
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

  #region({ entry, page }: RegionHead, fresh: readonly RegionHead[]): Region {
    const { memory, code } = this;
    const host = code.hostOf(page);
    if (host < 0) return new Map();
    const view = new DataView(memory.wasm.buffer, host, PAGE_BYTES);
    const hot = [
      ...this.#residents.entries(page),
      ...fresh.filter((each) => each.page === page).map((each) => each.entry),
    ];
    const offsetOf = (entry: number) => (entry - page) / 4;
    return this.#reader.region(view, offsetOf(entry), (offset) => code.isReached(page + offset * 4), hot.map(offsetOf));
  }

  /** A predecoded page goes, and all that was made of it. */
  #forget(page: number): void {
    for (const { entry, page: of } of this.#queue.values()) if (of === page) this.#queue.delete(entry);
    this.#residents.forget(page);
    this.#switches.delete(page);
    for (const entry of this.#scattered.get(page) ?? []) this.#straddles.delete(entry);
    this.#scattered.delete(page);
  }
}

/** Whether a block may call a function of floating point. */
const computesFloats = ({ instructions }: Block): boolean => instructions.some(({ row }) => row.float);

/** Imports what regions share with the interpreter, and adds what each module has of its own. */
function importAll(module: ModuleBuilder, { only, fused }: JitOptions, floats: readonly FpOp[]): RegionImports {
  const { i32, i64 } = TYPE;
  const table = <K extends string>(names: readonly K[], make: (name: K) => Callee) =>
    Object.fromEntries(names.map((name) => [name, make(name)])) as Record<K, Callee>;
  const imports = {
    integers: table(INTEGER_HELPERS, (name) => module.import(name, [i64, i64], [i64])),
    floats: table(floats, (name) => module.import(name, [i32, i32, i64, i64, i64], [i64])),
  };
  const translate = {
    [ACCESS.load]: module.import("translateLoad", [i32, i64, i32], [...TRANSLATION.results]),
    [ACCESS.store]: module.import("translateStore", [i32, i64, i32], [...TRANSLATION.results]),
  };
  const translateStack = module.import("translateStack", [i32, i64, i32, i32], [i32]);
  const optimize = module.import("optimize", [i32, i32], []);
  const straddle = module.import("straddle", [i32], []);
  const fetchCode = module.import("fetchCode", [i32, i64], [i32]);
  const interpretTo = module.import("interpretTo", [...REGION_SIGNATURE.params, i64], [...REGION_SIGNATURE.results]);
  const system = {
    accessCsr: module.import("accessCsr", [i32, i32, i32, i64], [i32]),
    enterSupervisor: module.import("enterSupervisor", [i32, i64], [i32]),
    leaveSupervisor: module.import("leaveSupervisor", [i32], [i32]),
  };
  const runTo = addRunTo(module, { fetchCode, interpretTo, only });
  return { ...imports, only, fused, optimize, straddle, translate, translateStack, system, runTo };
}
