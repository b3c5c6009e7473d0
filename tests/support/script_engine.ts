// An engine whose guest is a generator of the test's, and a plain board for it: machines without guest code.

import {
  type BoardDefinition,
  defineBoard,
  defineEngine,
  type Engine,
  type EngineContext,
  type EngineDefinition,
  type Exit,
  type Hart,
  type Plain,
} from "../../core/plugin.ts";
import { object } from "../../core/schema.ts";

/** What a script does next: nothing (one instruction), wait for an interrupt, end, fail. */
export type Step = void | "wfi" | { off: number } | { error: string };

/** The guest: every `yield` is an instruction. */
export type Script = (guest: ScriptEngine) => Generator<Step, void, void>;

/** Runs scripts. */
export class ScriptEngine implements Engine {
  readonly ram: Engine["ram"];
  readonly harts: readonly Hart[];
  readonly description: Record<string, Plain> = {};
  readonly context: EngineContext<unknown>;
  /** Raised interrupt lines of hart 0. */
  readonly interrupts = new Set<number>();
  /** What was invalidated, as `at+length`. */
  readonly invalidated: string[] = [];
  /** The budget of every `run`. */
  readonly budgets: number[] = [];
  retired = 0;
  disposed = false;
  /** How often it was told to prepare itself. */
  prepared = 0;
  /** Told before each instruction. */
  tick: () => void = () => {};
  #script: Script;
  #running: Generator<Step, void, void> | undefined;
  #waiting = false;
  #kicked = false;

  constructor(context: EngineContext<unknown>, script: Script) {
    const { base, size, shared } = context.ram;
    this.context = context;
    this.#script = script;
    this.ram = { buffer: shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size), offset: 0, base, size };
    this.harts = Array.from({ length: context.harts }, () => this.#hart());
  }

  prepare(): void {
    this.prepared++;
  }

  run(instructions: number): Exit {
    this.budgets.push(instructions);
    this.#kicked = false;
    for (let left = instructions; left > 0 && !this.#kicked; left--) {
      if (this.#waiting && this.interrupts.size === 0) return { reason: "idle" };
      this.#waiting = false;
      this.tick();
      // Counted before it runs: a device then sees its own access as done.
      this.retired++;
      const { value: step, done } = this.#running?.next() ?? { value: "wfi" };
      if (done) return { reason: "off", code: 0 };
      if (step === "wfi") this.#waiting = true;
      else if (typeof step === "object") {
        return "off" in step ? { reason: "off", code: step.off } : { reason: "error", message: step.error };
      }
    }
    return { reason: "budget" };
  }

  kick(): void {
    this.#kicked = true;
  }

  invalidate(at: number, length: number): void {
    this.invalidated.push(`0x${at.toString(16)}+${length}`);
  }

  collectDirty(): number[] {
    return [];
  }

  reset(): void {
    this.#running = undefined;
    this.#waiting = false;
    this.retired = 0;
    this.interrupts.clear();
  }

  save(): Plain {
    return { retired: this.retired, interrupts: [...this.interrupts] };
  }

  load(): void {}

  dispose(): void {
    this.disposed = true;
  }

  #hart(): Hart {
    const start = (): void => void (this.#running = this.#script(this));
    const interrupts = this.interrupts;
    return {
      get: () => 0n,
      set: () => {},
      start,
      stop: () => void (this.#running = undefined),
      get stopped() {
        return false;
      },
      setInterrupt: (line, level) => void (level ? interrupts.add(line) : interrupts.delete(line)),
      flushTranslations: () => {},
    };
  }
}

/** An engine that runs `script`, and what it opened last. */
export function scriptEngine(script: Script): EngineDefinition & { readonly opened: ScriptEngine[] } {
  const opened: ScriptEngine[] = [];
  const definition = defineEngine({
    name: "script",
    architectures: ["script"],
    defaultBoard: "plain",
    config: object({}),
    probe: () => Promise.resolve({ usable: true }),
    open: (context) => {
      const engine = new ScriptEngine(context, script);
      opened.push(engine);
      return engine;
    },
  });
  return { ...definition, opened };
}

/** Where {@linkcode plainBoard} puts the first device; the next follow every 4 KiB. */
export const DEVICES = 0x1000_0000;

/** Where its RAM begins. */
export const RAM = 0x8000_0000;

/** A board that places devices one after the other, without firmware. */
export const plainBoard: BoardDefinition = defineBoard({
  name: "plain",
  architecture: "script",
  config: object({}),
  create: () => ({
    ramBase: RAM,
    timebase: 10_000_000,
    defaultDevices: [],
    place: (devices) =>
      devices.map((device, i) => ({
        addresses: device.regions.map((_, j) => (device.at ?? DEVICES + i * 0x1000) + j * 0x100),
        irq: device.irq ? device.irqNumber ?? i + 1 : undefined,
      })),
    unassigned: () => -1,
    boot: ({ engine, files, write }) => {
      if (files.kernel) write(RAM, files.kernel);
      engine.harts[0].start({ pc: 0n, mode: "" });
    },
    describe: () => Uint8Array.of(0xd0, 0x0d),
  }),
});
