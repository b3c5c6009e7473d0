// What cases really execute: the same images once more, on an engine that makes single steps within the cases' code.

import { createMachine, defineEngine } from "../../mod.ts";
import type { Engine } from "../../core/plugin.ts";
import riscv from "../../plugins/riscv/engine.ts";
import type { RiscvHart } from "../../plugins/riscv/hart.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { CSR_NAMES } from "../support/riscv_disassembler.ts";
import { type Case, Image } from "./case.ts";
import { AT, RAM_BYTES } from "./runtime.ts";

/** An image is made in seconds; one with an endless loop is ended. */
const LIMIT_SECONDS = 30;
/** They do what they are for by a trap; all others do it only if they retire. */
const CALLS = /^(c\.)?e(call|break)$/;
const T1 = 6;

type Families = Map<string, Set<string>>;

/** An instruction of a case. */
interface Watched {
  readonly family: string;
  readonly name: string;
  /** The CSR that it accesses, and whether the value comes into a register. */
  readonly csr?: string;
  readonly reads?: boolean;
}

/** What was executed, by families of cases. */
export class Trace {
  /** Instructions that did what they are for. */
  readonly instructions: Families = new Map();
  /** CSRs whose value came into a register. */
  readonly values: Families = new Map();
  /** CSRs that were accessed, be it illegally. */
  readonly accesses: Families = new Map();

  /** Runs cases, and adds what they execute. */
  async run(cases: readonly Case[]): Promise<void> {
    for (const image of Image.of(cases.filter((each) => watchedIn(each).some(Boolean)))) await this.#run(image);
  }

  async #run(image: Image): Promise<void> {
    const watched = watchedBy(image);
    const stepper = defineEngine({
      ...riscv,
      name: "stepper",
      open: async (context) => stepwise(await riscv.open(context), watched, (...of) => this.#executed(...of)),
    });
    await using machine = await createMachine({
      memory: `${RAM_BYTES / 2 ** 20}M`,
      engine: { use: "stepper", config: { mmu: "sv57", compiler: false } },
      boot: { bios: image.bytes(1) },
      devices: [{ use: "serial_16550" }],
    }, { plugins: { stepper }, base: import.meta.url });
    const late = setTimeout(() => machine.powerOff(1), LIMIT_SECONDS * 1000);
    await machine.run();
    clearTimeout(late);
  }

  #executed({ family, name, csr, reads }: Watched, retired: boolean): void {
    if (retired || CALLS.test(name)) note(this.instructions, name, family);
    if (csr) note(this.accesses, csr, family);
    if (csr && reads && retired) note(this.values, csr, family);
  }
}

function note(families: Families, key: string, family: string): void {
  families.set(key, (families.get(key) ?? new Set()).add(family));
}

/** A case's instructions; `undefined` for what is none, and for accesses to CSRs that are not there. */
function watchedIn({ family, code }: Case): (Watched | undefined)[] {
  return code.map(({ bits }) => {
    const decoded = INSTRUCTIONS.decode(bits);
    if (!decoded) return undefined;
    const { compressed, row, fields } = decoded;
    const csr = CSR_NAMES.get(fields.csr);
    if (!row.name.startsWith("csr")) return { family, name: (compressed ?? row).name };
    return csr ? { family, name: row.name, csr, reads: fields.rd !== 0 } : undefined;
  });
}

/** The instructions of an image's cases, by address. */
function watchedBy(image: Image): ReadonlyMap<number, Watched> {
  const watched = new Map<number, Watched>();
  for (const { case: it, start } of image.cases) {
    let pc = Number(start);
    watchedIn(it).forEach((each, i) => {
      if (each) watched.set(pc, each);
      pc += it.code[i].length;
    });
  }
  return watched;
}

/** Has an engine of one hart tell of the instructions that are watched, and whether they retired. */
function stepwise(
  engine: Engine,
  watched: ReadonlyMap<number, Watched>,
  told: (of: Watched, retired: boolean) => void,
): Engine {
  const hart = engine.harts[0] as RiscvHart;
  const { run, kick } = engine;
  let kicked = false;
  engine.kick = () => {
    kicked = true;
    kick.call(engine);
  };
  engine.run = (instructions) => {
    kicked = false;
    for (let left = instructions; left > 0 && !kicked;) {
      hart.takeInterrupt();
      const pc = Number(BigInt.asUintN(64, hart.pc));
      const of = watched.get(pc);
      const steps = of ? 1 : Math.min(left, stepsOfLoop(hart, pc));
      const before = hart.instret;
      const exit = run.call(engine, steps) as Exclude<ReturnType<Engine["run"]>, Promise<unknown>>;
      if (of) told(of, hart.instret !== before);
      if (exit.reason !== "budget") return exit;
      left -= steps;
    }
    return { reason: "budget" };
  };
  return engine;
}

/** The steps that are left of a loop of the runtime, which counts t1 down and ends here; elsewhere 1. */
function stepsOfLoop(hart: RiscvHart, pc: number): number {
  if (pc < AT.ram || pc >= AT.supervisor) return 1;
  const { row, fields } = INSTRUCTIONS.decode(hart.memory.view.getUint32(hart.memory.host(pc, 4), true)) ?? {};
  if (row?.name !== "bne" || fields!.rs1 !== T1 || fields!.rs2 !== 0 || fields!.imm >= 0) return 1;
  return Number(hart.x(T1)) * (1 - fields!.imm / 4) || 1;
}
