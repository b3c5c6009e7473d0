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
  /** In the table, if it is compiled again. */
  readonly index?: number;
}
interface Work extends Candidate {
  readonly region: Region;
}

/** The compiler's manager: it replaces entries of predecoded pages by calls of compiled regions. */
export class Jit {
  regions = 0;
  modules = 0;
  compiledBytes = 0;
  evictions = 0;
  readonly #reader = new PageReader(INSTRUCTIONS);
  readonly #queue: Candidate[] = [];
  readonly #queued = new Set<number>();
  readonly #free: number[] = [];
  /** The entry that each region replaced, by table index. */
  readonly #entries: number[] = [];
  /** Table indices of the regions in each predecoded page. */
  readonly #byPage = new Map<number, number[]>();
  /** Table indices of the regions with jump tables in each predecoded page, and how often each was compiled. */
  readonly #switches = new Map<number, Map<number, number>>();
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
    code.onPageDrop = (page) => this.#forget(page);
  }

  /** An entry has become hot. If it has for the second time, it has waited for too long. */
  hot(entry: number): void {
    const page = this.code.pageAt(entry);
    if (this.code.isCompiled(entry)) return;
    if (this.#queued.has(entry)) return this.compile();
    this.#queued.add(entry);
    this.#queue.push({ entry, page });
    if (this.#queue.length >= BATCH) this.compile();
  }

  /** A run of the engine ended: what is hot need not wait for ever. */
  tick(): void {
    if (this.#queue.length && ++this.#waited >= Math.min(PATIENCE, this.options.threshold)) this.compile();
  }

  /** Compiles what has become hot. */
  compile(): void {
    this.#waited = 0;
    const fresh = this.#queue.splice(0).filter(({ entry }) => !this.code.isCompiled(entry));
    this.#queued.clear();
    let work = [...this.#apart(this.#regions(fresh, fresh)), ...this.#regions(this.#outgrown(fresh), fresh)];
    if (!work.length) return;
    if (this.#free.length < work.length || this.#liveBytes > this.options.codeBytes) {
      this.#evictAll();
      work = work.map((each) => ({ ...each, index: undefined }));
    }
    const module = new ModuleBuilder({ pages: this.memory.pages, shared: this.memory.shared, table: true });
    const imports = importAll(module, this.options);
    const { params, results } = REGION_SIGNATURE;
    const functions = work.map((_, i) => module.function([...params], [...results], `r${i}`));
    work.forEach(({ page, region }, i) => {
      const neighbour = (offset: number) =>
        functions[work.findIndex((other) => other.page === page && other.entry === page + offset * 4)]?.callee;
      new RegionCompiler(functions[i].body, region, imports, neighbour).write();
    });
    const bytes = module.bytes();
    this.modules++;
    this.compiledBytes += bytes.length;
    this.#liveBytes += bytes.length;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { ...this.functions, memory: this.memory.wasm, table: this.table },
    });
    work.forEach((each, i) => this.#install(each, instance.exports[`r${i}`] as CallableFunction));
  }

  #install({ entry, page, region, index: old }: Work, compiled: CallableFunction): void {
    const index = old ?? this.#free.pop()!;
    this.table.set(index, compiled);
    this.regions++;
    if ([...region.values()].some(({ end }) => end.kind === "switch")) {
      const switches = entryOf(this.#switches, page, () => new Map());
      switches.set(index, (switches.get(index) ?? 0) + 1);
    }
    if (old !== undefined) return;
    this.#entries[index] = entry;
    this.code.replace(entry, index);
    entryOf(this.#byPage, page, () => []).push(index);
  }

  /** Regions whose jump tables may lead to what has become hot now. */
  #outgrown(fresh: readonly Candidate[]): Candidate[] {
    return [...new Set(fresh.map(({ page }) => page))].flatMap((page) =>
      [...this.#switches.get(page) ?? []].flatMap(([index, times]) =>
        times < MAX_TIMES ? [{ entry: this.#entries[index], page, index }] : []
      )
    );
  }

  #regions(candidates: readonly Candidate[], fresh: readonly Candidate[]): Work[] {
    return candidates.map((each) => ({ ...each, region: this.#region(each, fresh) })).filter((each) =>
      each.region.size
    );
  }

  /**
   * Those without the ones whose entries stand in others' regions: what became hot with a function became hot by it,
   * most likely. What is entered from elsewhere, too, becomes hot again.
   */
  #apart(work: readonly Work[]): Work[] {
    const apart: Work[] = [];
    for (const each of work.toSorted((a, b) => b.region.size - a.region.size)) {
      const offset = (each.entry - each.page) / 4;
      if (!apart.some(({ page, region }) => page === each.page && region.has(offset))) apart.push(each);
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
  const fetchCode = module.import("fetchCode", [i32, i64], [i32]);
  const interpretTo = module.import("interpretTo", [...REGION_SIGNATURE.params, i64], [...REGION_SIGNATURE.results]);
  const system = {
    accessCsr: module.import("accessCsr", [i32, i32, i32, i64], [i32]),
    enterSupervisor: module.import("enterSupervisor", [i32, i64], [i32]),
    leaveSupervisor: module.import("leaveSupervisor", [i32], [i32]),
  };
  return {
    ...imports,
    only,
    fused,
    translate,
    translateStack,
    system,
    runTo: addRunTo(module, { fetchCode, interpretTo, only }),
  };
}
