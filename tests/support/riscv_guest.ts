// Small guest programs in assembly for tests of the specification: each runs in the engine and in the oracle at once.

import { assertEquals } from "@std/assert";
import { assemble } from "../../plugins/riscv/assembler.ts";
import { MODE } from "../../plugins/riscv/cause.ts";
import { difference, type Nudge } from "./riscv_lockstep.ts";
import { encode, EngineRig, OracleRig, RAM_BASE, type RigOptions } from "./riscv_rig.ts";

/** Where traps to M-mode and to S-mode go. */
export const M_HANDLER = RAM_BASE + 0xe000;
export const S_HANDLER = RAM_BASE + 0xf000;

export interface GuestOptions extends RigOptions {
  readonly mode?: keyof typeof MODE;
  /** Registers and CSRs, set in this order. */
  readonly registers?: Readonly<Record<string, bigint | number>>;
  /** Done to each rig before the start, e.g. to build page tables. */
  readonly prepare?: Nudge;
  /** Where the program stands; default: where RAM begins. */
  readonly base?: number;
}

/** A trap as the handler finds it. */
export interface TakenTrap {
  readonly to: "M" | "S";
  /** The code; negative for interrupts. */
  readonly cause: number;
  readonly value: bigint;
  readonly epc: bigint;
}

/** A guest program, at its first instruction. */
export class Guest {
  readonly engine: EngineRig;
  readonly oracle: OracleRig;

  constructor(source: string, { mode = "M", registers, prepare, base = RAM_BASE, ...rig }: GuestOptions = {}) {
    this.engine = new EngineRig({ ramSize: 2 ** 18, ...rig });
    this.oracle = new OracleRig({ ramSize: 2 ** 18, ...rig });
    this.each((rig) => {
      const { hart } = rig;
      for (const handler of [M_HANDLER, S_HANDLER]) rig.program(handler, Array(64).fill(encode("jal"))); // loop there
      hart.start({ pc: 0n, mode: "M" });
      hart.set("mtvec", BigInt(M_HANDLER));
      hart.set("stvec", BigInt(S_HANDLER));
      // As in most programs: PMP allows everything, floating point is on.
      hart.set("pmpaddr15", -1n);
      hart.set("pmpcfg2", 0x1fn << 56n);
      hart.set("mstatus", 0x6000n);
      prepare?.(rig);
      for (const [name, value] of Object.entries(registers ?? {})) hart.set(name, BigInt(value));
    });
    this.load(source, mode, base);
  }

  /** Puts a program in memory and the hart at its first instruction. */
  load(source: string, mode: keyof typeof MODE = "M", base = RAM_BASE): this {
    const program = assemble(source, { base });
    return this.each((rig) => {
      const { hart, ram, memory } = rig;
      ram.set(program, base - memory.ramBase);
      rig.invalidate(base, program.length);
      hart.pc = BigInt(base);
      hart.mode = MODE[mode];
      hart.contextChanged();
    });
  }

  /** Does the same to the engine's machine and to the oracle's. */
  each(change: Nudge): this {
    change(this.engine);
    change(this.oracle);
    return this;
  }

  /** Makes steps in both, which must agree. */
  run(steps: number): this {
    this.each((rig) => rig.run(steps));
    // Interrupts are taken when a run begins.
    this.each(({ hart }) => hart.takeInterrupt());
    assertEquals(difference(this.engine, this.oracle, { csrs: true, ram: true }), undefined);
    return this;
  }

  /** A register or CSR. */
  get(name: string): bigint {
    return this.engine.hart.get(name);
  }

  get mode(): "M" | "S" | "U" {
    return (["U", "S", "U", "M"] as const)[this.engine.hart.mode];
  }

  /** Runs until a handler is entered, 100 steps at the most. */
  trap(): TakenTrap {
    const pages = [M_HANDLER, S_HANDLER];
    this.run(0);
    for (let step = 0; step < 100; step++) {
      const page = Number(this.get("pc")) & ~0xfff;
      if (!pages.includes(page >>> 0)) {
        this.run(1);
        continue;
      }
      const to = this.mode === "M" ? "M" : "S";
      const x = to.toLowerCase();
      const cause = BigInt.asIntN(64, this.get(`${x}cause`));
      return {
        to,
        cause: cause < 0n ? -Number(BigInt.asUintN(63, cause)) : Number(cause),
        value: this.get(`${x}tval`),
        epc: this.get(`${x}epc`),
      };
    }
    throw new Error(`no trap within 100 steps; pc is 0x${this.get("pc").toString(16)}`);
  }
}
