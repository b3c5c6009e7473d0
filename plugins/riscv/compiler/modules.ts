// Modules of compiled regions: what they import, a function for each region, and their instances.

import { ACCESS } from "../cause.ts";
import type { Crossing } from "../code.ts";
import type { EngineMemory } from "../memory.ts";
import { FP_OPS, type FpOp } from "../softfloat.ts";
import type { Callee } from "../wasm/function.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { TYPE } from "../wasm/types.ts";
import { TRANSLATION } from "../wasm_hart.ts";
import { addRunTo, REGION_SIGNATURE } from "../wasm_runtime.ts";
import { INTEGER_HELPERS } from "../wasm_values.ts";
import { RegionCompiler, type RegionImports } from "./compiler.ts";
import type { Block, Region } from "./region.ts";

/** The form of compiled code: raise it with every change of what a region's code is, or of what it asks of its imports. */
const FORM = 2;

/** What the code of all regions depends on. */
export interface ModuleOptions {
  /** See {@linkcode hartBlock}. */
  readonly only: number | undefined;
  /** Whether the host's multiply-add rounds once. */
  readonly fused: boolean;
}

/** A region that becomes a function of a module. */
export interface ModuleRegion {
  /** Tells pages apart: regions of one page call each other directly. */
  readonly page: number;
  /** Where it starts in its page. */
  readonly offset: number;
  readonly region: Region;
  readonly optimized: boolean;
  /** Its index in the table. */
  readonly index: number;
  /** See {@linkcode RegionOptions}. */
  readonly grouped: boolean;
  readonly crossing?: Crossing;
}

/** Writes modules, and makes instances of them. */
export class RegionModules {
  /** What a module fits: one that was written where this is the same. */
  readonly form: string;

  constructor(
    readonly memory: EngineMemory,
    /** What regions import. */
    readonly functions: WebAssembly.ModuleImports,
    readonly options: ModuleOptions,
    /** The address of a region's count of turns. */
    readonly turnsAt: (index: number) => number,
  ) {
    const { pages, shared, turnsOffset } = memory;
    this.form = JSON.stringify({ FORM, pages, shared, turnsOffset, ...options });
  }

  /** Writes a module with a function for each region, in this order. */
  write(regions: readonly ModuleRegion[]): Uint8Array<ArrayBuffer> {
    const { pages, shared } = this.memory;
    const module = new ModuleBuilder({ pages, shared, table: true });
    const floats = regions.some(({ region }) => [...region.values()].some(computesFloats));
    const imports = importAll(module, this.options, floats ? FP_OPS : []);
    const { params, results } = REGION_SIGNATURE;
    const functions = regions.map((_, i) => module.function([...params], [...results], nameOf(i)));
    regions.forEach(({ page, region, optimized, index, grouped, crossing }, i) => {
      const neighbour = (offset: number) =>
        functions[regions.findIndex((other) => other.page === page && other.offset === offset)]?.callee;
      const turns = optimized ? undefined : this.turnsAt(index);
      new RegionCompiler(functions[i].body, region, imports, { index, turns, grouped, crossing, neighbour }).write();
    });
    return module.bytes();
  }

  /** The functions of a module's regions. Throws what the host throws if it is none, or lacks some. */
  functionsOf(module: Uint8Array<ArrayBuffer>, count: number): CallableFunction[] {
    const env = { ...this.functions, memory: this.memory.wasm };
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env });
    return Array.from({ length: count }, (_, i) => {
      const each = exports[nameOf(i)];
      if (typeof each !== "function") throw new TypeError(`a module has no ${nameOf(i)}`);
      return each;
    });
  }
}

const nameOf = (number: number): string => `r${number}`;

/** Whether a block may call a function of floating point. */
const computesFloats = ({ instructions }: Block): boolean => instructions.some(({ row }) => row.float);

/** Imports what regions share with the interpreter, and adds what each module has of its own. */
function importAll(module: ModuleBuilder, { only, fused }: ModuleOptions, floats: readonly FpOp[]): RegionImports {
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
  const jumped = module.import("jumped", [i32, i32], []);
  const fetchCode = module.import("fetchCode", [i32, i64], [i32]);
  const interpretTo = module.import("interpretTo", [...REGION_SIGNATURE.params, i64], [...REGION_SIGNATURE.results]);
  const system = {
    accessCsr: module.import("accessCsr", [i32, i32, i32, i64], [i32]),
    enterSupervisor: module.import("enterSupervisor", [i32, i64], [i32]),
    leaveSupervisor: module.import("leaveSupervisor", [i32], [i32]),
  };
  const runTo = addRunTo(module, { fetchCode, interpretTo, only });
  return { ...imports, only, fused, optimize, straddle, jumped, translate, translateStack, system, runTo };
}
