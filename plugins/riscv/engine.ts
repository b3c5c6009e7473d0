// The riscv engine: RV64GC harts in WebAssembly made at run time, taking turns on one thread.

import {
  type Bytes,
  defineEngine,
  type Engine,
  type EngineContext,
  type EngineDefinition,
  type Exit,
  type Plain,
  type Ram,
} from "../../core/plugin.ts";
import { boolean, byteSize, integer, object, oneOf, optional } from "../../core/schema.ts";
import { CodeCache } from "./code.ts";
import { Heat } from "./compiler/heat.ts";
import { Jit } from "./compiler/jit.ts";
import { MAX_REGIONS } from "./compiler/residents.ts";
import { EntryEncoder } from "./entries.ts";
import { hostFuses } from "./fp_probe.ts";
import { floatSlowPath } from "./fp_wasm.ts";
import { type HartContext, RiscvHart } from "./hart.ts";
import { Htif } from "./htif.ts";
import { INSTRUCTIONS, ISA } from "./instructions.ts";
import { Handlers, interpreterModule } from "./interpreter.ts";
import { CODE, hartBase, SLOT } from "./layout.ts";
import { EngineMemory } from "./memory.ts";
import { SCHEMES } from "./mmu.ts";
import { SlowMemory } from "./slow_paths.ts";
import { NOWHERE } from "./wasm_runtime.ts";

/** Steps a hart makes before the next one has its turn; an only one has no turns, each of which would leave its loops. */
export const SLICE = 50_000;
/** Entries and turns of loops that make compiled code worth optimizing, if not said otherwise: so many thresholds. */
const OPTIMIZE = 250;
/** What the count of them holds. */
const MOST_TURNS = 2 ** 30;
/** One page of code, and the one for pages that PMP divides. */
const LEAST_CODE_BYTES = 2 * CODE.pageBytes;

interface Config {
  /** Memory for predecoded code. */
  codeCache: number;
  /** The largest scheme of translation: one with fewer levels of page tables is walked faster. */
  mmu: keyof typeof SCHEMES;
  /** Whether hot code is compiled, after how many entries, after how many more anew, and how much WebAssembly is kept. */
  compiler: boolean;
  threshold: number;
  optimize: number | undefined;
  compiledCode: number;
}

class RiscvEngine implements Engine {
  readonly ram: Ram;
  readonly harts: readonly RiscvHart[];
  readonly description: Readonly<Record<string, Plain>>;
  readonly #memory: EngineMemory;
  readonly #code: CodeCache;
  readonly #slow: SlowMemory;
  readonly #handlers = new Handlers(INSTRUCTIONS);
  /** Made by {@linkcode prepare}. */
  #run!: (hart: number, address: bigint, depth: number) => number;
  #jit?: Jit;
  readonly #context: EngineContext<Config>;
  /** What an earlier machine left, until {@linkcode prepare}. */
  #kept?: Bytes;
  #retired = 0;
  #current = 0;
  #slice = SLICE;
  #kicked = false;
  #running = false;
  #htif?: Htif;

  /** `kept`: what an earlier machine left. */
  constructor(context: EngineContext<Config>, kept: Bytes | undefined) {
    this.#context = context;
    this.#kept = kept;
    const { ram, harts, config } = context;
    this.description = { isa: ISA, mmu: `riscv,${config.mmu}` };
    const codeBytes = Math.max(config.codeCache, LEAST_CODE_BYTES);
    const memory = this.#memory = new EngineMemory(ram.base, ram.size, harts, codeBytes, ram.shared, MAX_REGIONS);
    this.ram = { buffer: memory.wasm.buffer, offset: memory.ramOffset, base: ram.base, size: ram.size };
    const code = this.#code = new CodeCache(memory, new EntryEncoder(INSTRUCTIONS, this.#handlers), codeBytes);
    const list: RiscvHart[] = this.harts = [];
    for (let i = 0; i < harts; i++) list.push(new RiscvHart(i, memory, this.#hartContext(i), code));
    code.onCode = (host) => list.forEach((hart) => hart.mmu.dropWrites(host));
    code.onDrop = () => {
      for (const hart of list) hart.mmu.flushFetch();
      list[this.#current].interrupt();
    };
    this.#slow = new SlowMemory(memory, list, code, context.bus);
  }

  /** Makes the interpreter, and the compiler that goes with it. */
  prepare(): void {
    if (this.#jit) return;
    const memory = this.#memory;
    const { harts, config } = this.#context;
    const { pages, shared, countersOffset, originalsOffset } = memory;
    const heat = new Heat(config.threshold);
    const fused = hostFuses();
    const only = harts === 1 ? hartBase(0) : undefined;
    const module = new WebAssembly.Module(interpreterModule(this.#handlers, {
      ...{ pages, shared, countersOffset, originalsOffset, warm: heat.part, only, fused, ram: memory },
    }));
    const table = new WebAssembly.Table({ element: "anyfunc", initial: MAX_REGIONS });
    const { fetch, decode, warm, crossing, refill, load, store, loadReserved, storeConditional, amo, system } =
      this.#slow;
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory: memory.wasm,
        table,
        float: floatSlowPath(memory.wasm),
        ...{ fetch, decode, warm, crossing, refill, load, store, loadReserved, storeConditional, amo, system },
      },
    });
    const jit = this.#jit = new Jit(memory, this.#code, table, instance.exports as WebAssembly.ModuleImports, {
      heat,
      optimize: config.optimize ?? Math.min(config.threshold * OPTIMIZE, MOST_TURNS),
      codeBytes: config.compiledCode,
      only,
      fused,
      keeps: config.compiler && this.#context.keep !== undefined,
      kept: this.#kept,
    });
    this.#kept = undefined;
    if (config.compiler) this.#slow.onWarm = (entry) => jit.warm(entry);
    this.#run = instance.exports.run as (hart: number, address: bigint, depth: number) => number;
  }

  get retired(): number {
    return this.#retired + (this.#running ? this.harts[this.#current].steps - this.#stepsBefore : 0);
  }
  #stepsBefore = 0;

  run(instructions: number): Exit {
    this.prepare();
    this.#kicked = false;
    let left = instructions;
    let idle = 0;
    while (left > 0) {
      const hart = this.harts[this.#current];
      const works = hart.hasWork;
      if (works) left -= this.#turn(hart, this.#takesTurns ? Math.min(left, this.#slice) : left);
      idle = works ? 0 : idle + 1;
      if (this.#slice === 0 || !hart.hasWork || hart.yielded) this.#nextHart();
      // Once around: as if nobody had been asked.
      if (idle === this.harts.length) return { reason: "idle" };
      if (this.#htif?.exit) return this.#htif.exit;
      if (this.#kicked) break;
    }
    this.#jit!.tick();
    return { reason: "budget" };
  }

  kick(): void {
    this.#kicked = true;
    this.harts[this.#current].interrupt();
  }

  invalidate(at: number, length: number): void {
    const host = this.#memory.host(at, length);
    if (host < 0) return;
    this.#code.invalidate(host, length);
    for (const hart of this.harts) this.#memory.i32[hart.base + SLOT.reservation >> 2] = 0;
  }

  collectDirty(): number[] {
    const dirty = this.#code.collectDirty();
    for (const hart of this.harts) hart.mmu.dropAllWrites();
    return dirty;
  }

  reset(): void {
    this.#code.dropAll();
    this.#code.onDrop();
    for (const hart of this.harts) hart.reset();
    this.#current = 0;
    this.#slice = SLICE;
    this.#htif = this.#slow.watch = undefined;
  }

  htif(tohost: number, fromhost?: number): void {
    const host = this.#memory.host(tohost, 8);
    if (host < 0) throw new RangeError(`Cannot watch tohost at 0x${tohost.toString(16)}: it is not in RAM`);
    this.#code.pin(host);
    const htif = this.#htif = new Htif(this.#memory, tohost, fromhost, this.#context.console);
    this.#slow.watch = {
      at: tohost,
      stored: () => {
        htif.stored();
        if (htif.exit) this.kick();
      },
    };
  }

  save(): Plain {
    return {
      retired: this.#retired,
      current: this.#current,
      slice: this.#slice,
      htif: this.#htif?.save(),
      harts: this.harts.map((hart) => hart.save()),
    };
  }

  load(state: Plain): void {
    const saved = state as { retired: number; current: number; slice: number; htif?: Plain; harts: Plain[] };
    this.reset();
    this.#retired = saved.retired;
    this.#current = saved.current;
    this.#slice = saved.slice;
    if (saved.htif) {
      const { tohost, fromhost } = saved.htif as { tohost: number; fromhost?: number };
      this.htif(tohost, fromhost);
    }
    this.harts.forEach((hart, i) => hart.load(saved.harts[i]));
  }

  stats(): Record<string, number> {
    const sum = (count: (hart: RiscvHart) => number) => this.harts.reduce((sum, hart) => sum + count(hart), 0);
    const calls = Object.entries(this.#slow.calls).map(([name, count]) => [`exitsTo${capital(name)}`, count]);
    const compiled = sum((hart) => hart.compiled.steps);
    return {
      instructions: this.retired,
      interpretedPercent: this.retired ? Math.round((1 - compiled / this.retired) * 1000) / 10 : 0,
      compiledRuns: sum((hart) => hart.compiled.runs),
      traps: sum((hart) => hart.traps),
      pageWalks: sum((hart) => hart.mmu.walks),
      decoded: this.#code.decoded,
      codeFlushes: this.#code.flushes,
      adopted: this.#jit?.adopted ?? 0,
      regions: this.#jit?.regions ?? 0,
      optimized: this.#jit?.optimized ?? 0,
      modules: this.#jit?.modules ?? 0,
      compiledBytes: this.#jit?.compiledBytes ?? 0,
      residentBytes: this.#jit?.residentBytes ?? 0,
      evictions: this.#jit?.evictions ?? 0,
      ...Object.fromEntries(calls),
    };
  }

  async dispose(): Promise<void> {
    const { keep } = this.#context;
    const bytes = keep && this.#jit?.keep();
    if (bytes) await keep.save(bytes);
  }

  /** Runs one hart for at most `steps`; gives the steps it made. */
  #turn(hart: RiscvHart, steps: number): number {
    this.#stepsBefore = hart.steps;
    this.#running = true;
    hart.yielded = false;
    hart.begin(steps);
    do {
      hart.takeInterrupt();
      if (!hart.hasWork) break;
      this.#run(hart.base, NOWHERE, 0);
    } while (!this.#kicked && !hart.yielded && hart.proceed());
    const made = hart.end();
    this.#running = false;
    this.#retired += made;
    if (this.#takesTurns) this.#slice -= made;
    return made;
  }

  get #takesTurns(): boolean {
    return this.harts.length > 1;
  }

  #nextHart(): void {
    const hart = this.harts[this.#current];
    // A reservation does not outlive the turn if others may store now.
    if (this.#takesTurns) this.#memory.i32[hart.base + SLOT.reservation >> 2] = 0;
    hart.yielded = false;
    this.#current = (this.#current + 1) % this.harts.length;
    this.#slice = SLICE;
  }

  #hartContext(index: number): HartContext {
    const { clock, timebase, firmware, config } = this.#context;
    const nanosPerTick = 1e9 / timebase;
    return {
      ticks: () => Math.floor(clock.now / nanosPerTick),
      alarm: clock.alarm(`stimecmp${index}`, () => this.harts[index].timeReached()),
      deadline: (ticks) => {
        const nanos = Math.ceil(Number(ticks) * nanosPerTick);
        return Number.isSafeInteger(nanos) ? nanos : undefined;
      },
      pageTableLevels: SCHEMES[config.mmu],
      firmware: firmware && ((hart) => firmware.call(hart)),
    };
  }
}

const capital = (name: string): string => name[0].toUpperCase() + name.slice(1);

/** The portable engine: it needs no permission and no hardware support. */
const riscv: EngineDefinition<Config> = defineEngine({
  name: "riscv",
  architectures: ["riscv64"],
  defaultBoard: "riscv_virt",
  counts: true,
  config: object({
    codeCache: optional(byteSize, 40 * 2 ** 20),
    mmu: optional(oneOf("sv39", "sv48", "sv57"), "sv39"),
    compiler: optional(boolean, true),
    threshold: optional(integer({ min: 1, max: 2 ** 25 }), 3000),
    optimize: optional(integer({ min: 1, max: MOST_TURNS })),
    compiledCode: optional(byteSize, 32 * 2 ** 20),
  }),
  probe: () => Promise.resolve({ usable: true, note: "needs no permission" }),
  open: (context) =>
    context.keep
      ? context.keep.load().then((kept) => new RiscvEngine(context, kept))
      : new RiscvEngine(context, undefined),
});
export default riscv;
