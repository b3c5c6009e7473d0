// What is compiled, when, and for how long: hot entries are gathered, compiled in batches, and dropped with their pages.

import { ACCESS } from "../cause.ts";
import type { CodeCache } from "../code.ts";
import { INSTRUCTIONS } from "../instructions.ts";
import { PAGE_BYTES } from "../layout.ts";
import type { EngineMemory } from "../memory.ts";
import { FP_OPS } from "../softfloat.ts";
import type { Callee } from "../wasm/function.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { TYPE } from "../wasm/types.ts";
import { INTEGER_HELPERS } from "../wasm_values.ts";
import { addRunTo, REGION_SIGNATURE } from "../wasm_runtime.ts";
import { RegionCompiler, type RegionImports } from "./compiler.ts";
import { PageReader, type Region } from "./region.ts";

/** How much is compiled, and when. */
export interface JitOptions {
  /** Entries by jumps that make code hot. */
  readonly threshold: number;
  /** Entries and turns of loops that make compiled code worth optimizing. */
  readonly optimize: number;
  /** Bytes of WebAssembly that are kept. */
  readonly codeBytes: number;
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
  /** Whether the host's multiply-add rounds once. */
  readonly fused: boolean;
}

/** Entries compiled together; fewer, when they have waited for that many runs of the engine, or the threshold's. */
const BATCH = 32;
const PATIENCE = 64;
/** How often a region with jump tables is compiled, as more of what they lead to becomes hot. */
const MAX_TIMES = 32;
/** Regions in the table, at the most. */
export const MAX_REGIONS = 0x4000;

/** An entry to be compiled. */
interface Candidate {
  readonly entry: number;
  readonly page: number;
  /** Whether it is worth the best code; else it is to have some soon. */
  readonly optimized: boolean;
}
/** A candidate, with what is to be compiled. */
interface Found extends Candidate {
  readonly region: Region;
}
interface Work extends Found {
  /** In the table. */
  readonly index: number;
}

/**
 * The compiler's manager: it replaces entries of predecoded pages by calls of compiled regions. Hot code is compiled
 * quickly first. What then
 * runs on and on is compiled anew: the best code, and all that control reaches from the entry.
 */
export class Jit {
  regions = 0;
  optimized = 0;
  modules = 0;
  compiledBytes = 0;
  evictions = 0;
  readonly #reader = new PageReader(INSTRUCTIONS);
  /** By entry. */
  readonly #queue = new Map<number, Candidate>();
  readonly #free: number[] = [];
  /** The entry that each region replaced, by table index. */
  readonly #entries: number[] = [];
  /** Table indices of the regions in each predecoded page. */
  readonly #byPage = new Map<number, number[]>();
  /** Table indices of the optimized regions with jump tables in each page, and how often each was compiled. */
  readonly #switches = new Map<number, Map<number, number>>();
  readonly #turns: Int32Array;
  #liveBytes = 0;
  /** Runs since something is in the queue. */
  #waited = 0;

  constructor(
    readonly memory: EngineMemory,
    readonly code: CodeCache,
    readonly table: WebAssembly.Table,
    /** Functions of the interpreter's module and of the host that regions call. */
    readonly functions: WebAssembly.ModuleImports,
    readonly options: JitOptions,
  ) {
    for (let i = MAX_REGIONS - 1; i >= 0; i--) this.#free.push(i);
    this.#turns = new Int32Array(memory.wasm.buffer, memory.turnsOffset, MAX_REGIONS);
    code.onPageDrop = (page) => this.#forget(page);
  }

  /** An entry has become hot. If it has for the second time, it has waited for too long. */
  hot(entry: number): void {
    if (this.code.isCompiled(entry)) return;
    if (this.#queue.has(entry)) return this.compile();
    this.#await({ entry, page: this.code.pageAt(entry), optimized: false });
  }

  /** A region is worth optimizing: itself, and the loop within it that made it so. */
  readonly optimize = (index: number, offset: number): void => {
    const page = this.code.pageAt(this.#entries[index]);
    this.#await({ entry: this.#entries[index], page, optimized: true });
    this.#await({ entry: page + offset * 4, page, optimized: true });
  };

  /** A run of the engine ended: what is hot need not wait for ever. */
  tick(): void {
    if (this.#queue.size && ++this.#waited >= Math.min(PATIENCE, this.options.threshold)) this.compile();
  }

  #await(candidate: Candidate): void {
    this.#queue.set(candidate.entry, candidate);
    if (this.#queue.size >= BATCH) this.compile();
  }

  /** Compiles what has become hot. */
  compile(): void {
    this.#waited = 0;
    const fresh = [...this.#queue.values()].filter(({ entry, optimized }) => optimized || !this.code.isCompiled(entry));
    const [optimized, quick] = [true, false].map((which) => fresh.filter((each) => each.optimized === which));
    const found = [
      ...this.#apart(this.#regions(quick, fresh)),
      ...this.#apart(this.#regions(optimized, fresh)),
      ...this.#regions(this.#outgrown(fresh), fresh),
    ];
    this.#queue.clear();
    if (!found.length) return;
    if (this.#free.length < found.length || this.#liveBytes > this.options.codeBytes) this.#evictAll();
    const work = found.map((each): Work => ({ ...each, index: this.#indexOf(each) ?? this.#free.pop()! }));
    const module = new ModuleBuilder({ pages: this.memory.pages, shared: this.memory.shared, table: true });
    const imports = importAll(module, this.options);
    const { params, results } = REGION_SIGNATURE;
    const functions = work.map((_, i) => module.function([...params], [...results], `r${i}`));
    work.forEach(({ page, region, index, optimized }, i) => {
      const neighbour = (offset: number) =>
        functions[work.findIndex((other) => other.page === page && other.entry === page + offset * 4)]?.callee;
      const quick = optimized ? undefined : { index, turns: this.memory.turnsOffset + 4 * index };
      new RegionCompiler(functions[i].body, region, imports, neighbour, quick).write();
    });
    const bytes = module.bytes();
    this.modules++;
    this.compiledBytes += bytes.length;
    this.#liveBytes += bytes.length;
    const { functions: env, optimize, memory: { wasm: memory }, table } = this;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { ...env, optimize, memory, table },
    });
    work.forEach((each, i) => this.#install(each, instance.exports[`r${i}`] as CallableFunction));
  }

  #install({ entry, page, region, index, optimized }: Work, compiled: CallableFunction): void {
    this.table.set(index, compiled);
    this.regions++;
    this.#turns[index] = this.options.optimize;
    if (optimized) {
      this.optimized++;
      if ([...region.values()].some(({ end }) => end.kind === "switch")) {
        const switches = entryOf(this.#switches, page, () => new Map());
        switches.set(index, (switches.get(index) ?? 0) + 1);
      }
    }
    if (this.code.isCompiled(entry)) return; // anew
    this.#entries[index] = entry;
    this.code.replace(entry, index);
    entryOf(this.#byPage, page, () => []).push(index);
  }

  /** Optimized regions whose jump tables may lead to what has become hot now. */
  #outgrown(fresh: readonly Candidate[]): Candidate[] {
    return [...new Set(fresh.map(({ page }) => page))].flatMap((page) =>
      [...this.#switches.get(page) ?? []].flatMap(([index, times]) =>
        times < MAX_TIMES ? [{ entry: this.#entries[index], page, optimized: true }] : []
      )
    );
  }

  #indexOf({ entry, page }: Candidate): number | undefined {
    return this.#byPage.get(page)?.find((index) => this.#entries[index] === entry);
  }

  #regions(candidates: readonly Candidate[], fresh: readonly Candidate[]): Found[] {
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
      const index = this.#indexOf(each);
      if (!apart.some(({ page, region }) => page === each.page && region.has(offset))) apart.push(each);
      else if (index !== undefined) this.#turns[index] = this.options.optimize;
    }
    return apart;
  }

  #region({ entry, page }: Candidate, fresh: readonly Candidate[]): Region {
    const { memory, code } = this;
    const host = code.hostOf(page);
    if (host < 0) return new Map();
    const view = new DataView(memory.wasm.buffer, host, PAGE_BYTES);
    const hot = [
      ...(this.#byPage.get(page) ?? []).map((index) => this.#entries[index]),
      ...fresh.filter((each) => each.page === page).map((each) => each.entry),
    ];
    const offsetOf = (entry: number) => (entry - page) / 4;
    return this.#reader.region(view, offsetOf(entry), (offset) => code.isReached(page + offset * 4), hot.map(offsetOf));
  }

  /** A predecoded page goes: so do its regions. */
  #forget(page: number): void {
    for (const candidate of this.#queue.values()) if (candidate.page === page) this.#queue.delete(candidate.entry);
    for (const index of this.#byPage.get(page) ?? []) this.#release(index);
    this.#byPage.delete(page);
    this.#switches.delete(page);
  }

  #release(index: number): void {
    this.table.set(index, null);
    this.#free.push(index);
  }

  /** Begins anew: what is hot comes back soon, what is not stays away. */
  #evictAll(): void {
    for (const indices of this.#byPage.values()) {
      for (const index of indices) {
        this.code.restore(this.#entries[index], index);
        this.#release(index);
      }
    }
    this.#byPage.clear();
    this.#switches.clear();
    this.#liveBytes = 0;
    this.evictions++;
  }
}

/** The entry of a map, made where there is none. */
function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = make());
  return value;
}

/** Imports what regions share with the interpreter, and adds what each module has of its own. */
function importAll(module: ModuleBuilder, { only, fused }: JitOptions): RegionImports {
  const { i32, i64 } = TYPE;
  const table = <K extends string>(names: readonly K[], make: (name: K) => Callee) =>
    Object.fromEntries(names.map((name) => [name, make(name)])) as Record<K, Callee>;
  const imports = {
    integers: table(INTEGER_HELPERS, (name) => module.import(name, [i64, i64], [i64])),
    floats: table(FP_OPS, (name) => module.import(name, [i32, i32, i64, i64, i64], [i64])),
  };
  const translate = {
    [ACCESS.load]: module.import("translateLoad", [i32, i64, i32], [i32]),
    [ACCESS.store]: module.import("translateStore", [i32, i64, i32], [i32]),
  };
  const translateStack = module.import("translateStack", [i32, i64, i32, i32], [i32]);
  const optimize = module.import("optimize", [i32, i32], []);
  const fetchCode = module.import("fetchCode", [i32, i64], [i32]);
  const interpretTo = module.import("interpretTo", [...REGION_SIGNATURE.params, i64], [...REGION_SIGNATURE.results]);
  const system = {
    accessCsr: module.import("accessCsr", [i32, i32, i32, i64], [i32]),
    enterSupervisor: module.import("enterSupervisor", [i32, i64], [i32]),
    leaveSupervisor: module.import("leaveSupervisor", [i32], [i32]),
  };
  const runTo = addRunTo(module, { fetchCode, interpretTo, only });
  return { ...imports, only, fused, optimize, translate, translateStack, system, runTo };
}
