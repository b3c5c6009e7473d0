// The guest's registers within a region: which live in locals, and when a local is good.

import type { Fields } from "../rows/row.ts";
import { SLOT } from "../layout.ts";
import type { FunctionBuilder } from "../wasm/function.ts";
import { type F64, type I32, type I64, type Local, TYPE } from "../wasm/types.ts";

/**
 * A register that the region uses. One that is used much is `held` in its local: filled on entry, spilled on exit. Any
 * other is stored before the region can be left, and its local is a copy where it is known to be one.
 */
interface Register {
  readonly local: Local<typeof TYPE.i64 | typeof TYPE.f64>;
  readonly type: "i64" | "f64";
  readonly slot: number;
  readonly bit: bigint;
  readonly held: boolean;
  readonly written: boolean;
}

/** Registers are numbered through: x0…x31, then f0…f31. */
const FLOAT = 32;
const FIRST: Partial<Record<keyof Fields, number>> = {
  rd: 0,
  rs1: 0,
  rs2: 0,
  fd: FLOAT,
  fs1: FLOAT,
  fs2: FLOAT,
  fs3: FLOAT,
};

/** How often a region uses each register. */
export class RegisterUse {
  readonly used = new Set<number>();
  readonly looping = new Set<number>();
  readonly writes: number[] = Array(2 * FLOAT).fill(0);

  /** Counts an instruction's operands; `loops` where it stands in a loop that calls nothing. */
  count(names: Iterable<keyof Fields>, fields: Fields, loops: boolean): void {
    for (const name of names) {
      const first = FIRST[name];
      if (first === undefined) continue;
      const register = fields[name] + first;
      this.used.add(register);
      if (loops) this.looping.add(register);
      if (name === "rd" || name === "fd") this.writes[register]++;
    }
    this.used.delete(0);
  }
}

/** The registers of a region under construction; x0 is none of them. */
export class RegionRegisters {
  /** The registers whose locals are good now, as bits. */
  known = 0n;
  /** Those that are not stored yet. */
  #pending = new Set<Register>();
  readonly #registers: Register[] = [];

  /** Holds what loops use, or is written at least `worthHolding` times. */
  constructor(readonly f: FunctionBuilder, readonly hart: () => I32, use: RegisterUse, worthHolding: number) {
    for (const number of use.used) {
      const [type, slot] = number < FLOAT
        ? ["i64", SLOT.x + 8 * number] as const
        : ["f64", SLOT.f + 8 * (number - FLOAT)] as const;
      this.#registers[number] = {
        local: f.local(TYPE[type]),
        type,
        slot,
        bit: 1n << BigInt(number),
        held: use.looping.has(number) || use.writes[number] >= worthHolding,
        written: use.writes[number] > 0,
      };
    }
  }

  readX(number: number): I64 {
    return this.#read(this.#registers[number]);
  }
  writeX(number: number, value: I64): void {
    this.#write(this.#registers[number], value);
  }
  readF(number: number): I64 {
    return this.#read(this.#registers[FLOAT + number]);
  }
  writeF(number: number, value: I64): void {
    this.#write(this.#registers[FLOAT + number], value);
  }

  /** Loads the registers that are held. */
  fill(): void {
    for (const register of this.#held()) this.#load(register);
  }

  /** Stores the registers that are held. */
  spill(): void {
    const { f } = this;
    for (const { written, slot, type, local } of this.#held()) {
      if (written) f.store(type, this.hart(), f.get(local), slot);
    }
  }

  #held(): Register[] {
    return this.#registers.filter((register) => register?.held);
  }

  #load({ local, slot, type }: Register): void {
    const { f } = this;
    const value = f.load64(this.hart(), slot);
    f.set(local, type === "f64" ? f.f64.reinterpret(value) : value);
  }

  #read(register: Register): I64 {
    const { f } = this;
    if (!register.held && !(this.known & register.bit)) {
      this.#load(register);
      this.known |= register.bit;
    }
    const value = f.get(register.local);
    return register.type === "f64" ? f.i64.reinterpret(value as F64) : value as I64;
  }

  #write(register: Register, value: I64): void {
    const { f } = this;
    f.set(register.local, register.type === "f64" ? f.f64.reinterpret(value) : value);
    if (register.held) return;
    this.#pending.add(register);
    this.known |= register.bit;
  }

  /** Stores what was written: before anything that may leave the region, and at the end of each block. */
  flush(): void {
    const { f } = this;
    for (const { type, local, slot } of this.#pending) f.store(type, this.hart(), f.get(local), slot);
    this.#pending.clear();
  }
}
