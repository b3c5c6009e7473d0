// A hart with RAM, a toy device and a clock that counts steps, driven by the engine or by the oracle alike.

import { Alarms } from "../../core/clock.ts";
import type { Bytes, Clock, Engine, EngineBus, Plain, Width } from "../../core/plugin.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { putFields } from "../../plugins/riscv/encoding.ts";
import riscv from "../../plugins/riscv/engine.ts";
import { RiscvHart } from "../../plugins/riscv/hart.ts";
import { EngineMemory } from "../../plugins/riscv/memory.ts";
import { SLOT } from "../../plugins/riscv/layout.ts";
import type { Fields } from "../../plugins/riscv/rows/row.ts";
import { Oracle } from "./riscv_oracle.ts";

export const RAM_BASE = 0x8000_0000;
/** The toy device: 256 bytes of registers, the rest of its page faults. */
export const DEVICE_BASE = 0x1000_0000;
const DEVICE_BYTES = 0x100;
/** A write here raises and lowers the hart's interrupt inputs. */
export const DEVICE_LINES = 0x10;
const NANOS_PER_STEP = 10;
const TIMEBASE = 10_000_000;
const NANOS_PER_TICK = 1e9 / TIMEBASE;

/** An instruction's bits, by name and operands. */
export function encode(name: string, fields: Partial<Fields> = {}): number {
  return putFields(INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(name)], fields);
}

/** What a rig may be made with. */
export interface RigOptions {
  readonly ramSize?: number;
  readonly harts?: number;
  /** The engine's configuration. */
  readonly config?: { readonly [option: string]: Plain };
  readonly firmware?: (rig: Rig) => void;
  readonly shared?: boolean;
  readonly console?: (bytes: Bytes) => void;
}

/** Registers whose reading moves a counter, and an access log: what a hart does to the outside. */
class ToyBus implements EngineBus {
  /** A digest of all accesses, in order. */
  digest = 0;
  lines: (mask: number) => void = () => {};
  /** Called at each access, for tests. */
  seen: (at: number, value: number | undefined) => void = () => {};

  read(at: number, width: Width): number {
    if (!this.#takes(at, width)) return -1;
    this.seen(at, undefined);
    this.#note(at, width, 1);
    const value = Math.imul(this.digest, 0x9e3779b1) >>> 0;
    return width === 4 ? value : value & (1 << width * 8) - 1;
  }

  write(at: number, value: number, width: Width): boolean {
    if (!this.#takes(at, width)) return false;
    this.seen(at, value);
    this.#note(at, width, value);
    if (at === DEVICE_BASE + DEVICE_LINES) this.lines(value);
    return true;
  }

  #takes(at: number, width: Width): boolean {
    return at >= DEVICE_BASE && at < DEVICE_BASE + DEVICE_BYTES && at % width === 0;
  }

  #note(...values: number[]): void {
    for (const value of values) this.digest = Math.imul(this.digest ^ value, 0x01000193) + 0x5bd1e995 | 0;
  }
}

/** A hart under test and its surroundings. */
export abstract class Rig {
  abstract readonly hart: RiscvHart;
  readonly bus = new ToyBus();
  readonly alarms: Alarms;
  readonly clock: Clock;
  /** Every hart waits. */
  idle = false;

  constructor() {
    const failed = (_owner: string, _alarm: string, error: unknown) => {
      throw error;
    };
    const now = () => this.retired * NANOS_PER_STEP;
    const time = {
      get now() {
        return now();
      },
      start() {},
      stop() {},
    };
    this.alarms = new Alarms({ time, earlier: () => this.kick(), failed });
    this.clock = this.alarms.clock("engine");
    this.bus.lines = (mask) => {
      for (const line of [1, 3, 7, 9, 11]) this.hart.setInterrupt(line, (mask >> line & 1) !== 0);
    };
  }

  /** Steps made since the start. */
  protected abstract get retired(): number;
  /** Makes up to `steps`; gives those made. Comes back early after a kick, and when idle. */
  protected abstract execute(steps: number): number;
  protected abstract kick(): void;
  /** RAM was written from outside. */
  abstract invalidate(at: number, length: number): void;

  get memory(): EngineMemory {
    return this.hart.memory;
  }

  get ram(): Uint8Array {
    return this.memory.u8.subarray(this.memory.ramOffset, this.memory.ramOffset + this.memory.ramSize);
  }

  /** Runs for `steps`, alarms fired in between, or until the hart waits. */
  run(steps: number): void {
    this.idle = false;
    for (let left = steps; left > 0 && !this.idle;) {
      const toAlarm = Math.ceil((this.alarms.next - this.clock.now) / NANOS_PER_STEP);
      left -= this.execute(Math.max(1, Math.min(left, toAlarm)));
      this.alarms.fire(this.clock.now);
    }
  }

  /** Writes instructions (or other 32-bit words) to RAM. */
  program(at: number, words: readonly number[]): void {
    words.forEach((word, i) => this.memory.view.setUint32(this.#host(at + 4 * i), word, true));
    this.invalidate(at, words.length * 4);
  }

  poke(at: number, value: bigint): void {
    this.memory.view.setBigUint64(this.#host(at), BigInt.asUintN(64, value), true);
    this.invalidate(at, 8);
  }

  peek(at: number): bigint {
    return this.memory.view.getBigUint64(this.#host(at), true);
  }

  #host(at: number): number {
    const host = this.memory.host(at, 4);
    if (host < 0) throw new RangeError(`0x${at.toString(16)} is not RAM`);
    return host;
  }

  /** What the engine would tell its harts. */
  protected hartContext(clock: Clock, firmware?: (rig: Rig) => void): RiscvHart["context"] {
    return {
      ticks: () => Math.floor(clock.now / NANOS_PER_TICK),
      alarm: clock.alarm("stimecmp0", () => this.hart.timeReached()),
      deadline: (ticks) => {
        const nanos = Math.ceil(Number(ticks) * NANOS_PER_TICK);
        return Number.isSafeInteger(nanos) ? nanos : undefined;
      },
      pageTableLevels: 5,
      firmware: firmware && (() => firmware(this)),
    };
  }
}

/** The engine as it is. */
export class EngineRig extends Rig {
  readonly engine: Engine;
  readonly hart: RiscvHart;

  constructor(options: RigOptions = {}) {
    super();
    const { ramSize = 2 ** 20, harts = 1, config, firmware, shared = false, console = () => {} } = options;
    this.engine = riscv.open({
      config: riscv.config.parse({ codeCache: 2 ** 20, mmu: "sv57", ...config }, "engine"),
      ram: { base: RAM_BASE, size: ramSize, shared },
      harts,
      bus: this.bus,
      clock: this.clock,
      timebase: TIMEBASE,
      deterministic: true,
      console,
      firmware: firmware && { call: () => firmware(this) },
      power: () => {},
    }) as Engine;
    this.hart = this.engine.harts[0] as RiscvHart;
  }

  protected get retired(): number {
    return this.engine?.retired ?? 0;
  }

  protected execute(steps: number): number {
    const before = this.engine.retired;
    const exit = this.engine.run(steps);
    if ("reason" in exit && exit.reason === "idle") this.idle = true;
    return this.engine.retired - before;
  }

  protected kick(): void {
    this.engine?.kick();
  }

  invalidate(at: number, length: number): void {
    this.engine.invalidate(at, length);
  }
}

/** The oracle. */
export class OracleRig extends Rig {
  readonly hart: RiscvHart;
  readonly oracle: Oracle;
  /** What was executed last. */
  last: ReturnType<Oracle["step"]>;
  #kicked = false;

  constructor({ ramSize = 2 ** 20, firmware }: RigOptions = {}) {
    super();
    const memory = new EngineMemory(RAM_BASE, ramSize, 1, 0, false, 0);
    const nothingCached = { isWatched: () => false, written: () => {}, invalidate: () => {} };
    this.hart = new RiscvHart(0, memory, this.hartContext(this.clock, firmware), nothingCached);
    this.oracle = new Oracle(this.hart, this.bus);
  }

  protected get retired(): number {
    return this.hart?.steps ?? 0;
  }

  protected execute(steps: number): number {
    const { hart } = this;
    this.#kicked = false;
    for (let made = 0; made < steps; made++) {
      if (!hart.hasWork) {
        this.idle = true;
        return made;
      }
      this.last = this.oracle.step();
      hart.yielded = false; // to nobody
      if (this.#kicked) return made + 1;
    }
    return steps;
  }

  protected kick(): void {
    this.#kicked = true;
  }

  invalidate(): void {
    this.memory.i32[this.hart.base + SLOT.reservation >> 2] = 0;
  }
}
