// Two rigs side by side: every architectural difference between them, and the first step that makes one.

import { PMP_ENTRIES } from "../../plugins/riscv/pmp.ts";
import { CSRS } from "../../plugins/riscv/csrs.ts";
import { SLOT } from "../../plugins/riscv/layout.ts";
import { F_NAMES, X_NAMES } from "../../plugins/riscv/registers.ts";
import { disassemble } from "./riscv_disassembler.ts";
import type { EngineRig, OracleRig, Rig } from "./riscv_rig.ts";

const hex = (value: bigint | number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

/** CSRs whose value is that of the machine's state, not of the moment. */
const COMPARED = CSRS.filter(({ name }) => !/^(hpm|mhpm|cycle|time|instret|mcycle|minstret)/.test(name));

/** The first thing in which the rigs differ, or `undefined`; RAM only if asked for. */
export function difference(a: Rig, b: Rig, { ram = false, csrs = false } = {}): string | undefined {
  const [h, g] = [a.hart, b.hart];
  const differ = (what: string, x: bigint | number, y: bigint | number) => `${what}: ${hex(x)}, expected ${hex(y)}`;
  const [p, q] = [a.memory.i64.subarray(h.base >> 3), b.memory.i64.subarray(g.base >> 3)];
  if (p[SLOT.pc >> 3] !== q[SLOT.pc >> 3]) return differ("pc", p[SLOT.pc >> 3], q[SLOT.pc >> 3]);
  for (let i = 1; i < 32; i++) if (p[i] !== q[i]) return differ(X_NAMES[i], p[i], q[i]);
  for (let i = SLOT.f >> 3, n = 0; n < 32; i++, n++) if (p[i] !== q[i]) return differ(F_NAMES[n], p[i], q[i]);
  if (h.mode !== g.mode) return differ("mode", h.mode, g.mode);
  if (h.fcsr !== g.fcsr) return differ("fcsr", h.fcsr, g.fcsr);
  const status = h.readStatus(-1, 0n), expected = g.readStatus(-1, 0n);
  if (status !== expected) return differ("mstatus", status, expected);
  for (let i = SLOT.csr >> 3; i < (SLOT.csr >> 3) + 10; i++) {
    if (p[i] !== q[i]) return differ("a stored CSR", p[i], q[i]);
  }
  const reservation = (rig: Rig) => {
    const host = rig.memory.i32[rig.hart.base + SLOT.reservation >> 2] >>> 0;
    return host && host - rig.memory.ramOffset + rig.memory.ramBase;
  };
  if (reservation(a) !== reservation(b)) return differ("reservation", reservation(a), reservation(b));
  for (const key of ["lines", "soft", "mie", "medeleg", "mideleg", "traps"] as const) {
    if (h[key] !== g[key]) return `${key}: ${h[key]}, expected ${g[key]}`;
  }
  for (const key of Object.keys(h.state) as (keyof typeof h.state)[]) {
    if (h.state[key] !== g.state[key]) return `${key}: ${h.state[key]}, expected ${g.state[key]}`;
  }
  if (h.mmu.satp !== g.mmu.satp) return differ("satp", h.mmu.satp, g.mmu.satp);
  if (a.bus.digest !== b.bus.digest) return "accesses to the device";
  if (csrs) {
    for (const csr of COMPARED) {
      const [x, y] = [csr.read(h), csr.read(g)];
      if (x !== y) return differ(csr.name, x, y);
    }
    for (let i = 0; i < PMP_ENTRIES; i++) if (h.pmp.cfg[i] !== g.pmp.cfg[i]) return `pmp${i}cfg`;
  }
  return ram ? ramDifference(a, b) : undefined;
}

function ramDifference(a: Rig, b: Rig): string | undefined {
  const [p, q] = [a, b].map(({ ram }) => new BigUint64Array(ram.buffer, ram.byteOffset, ram.length / 8));
  for (let i = 0; i < p.length; i++) {
    if (p[i] !== q[i]) return `RAM at ${hex(a.memory.ramBase + 8 * i)}: ${hex(p[i])}, expected ${hex(q[i])}`;
  }
}

/** Does the same to both rigs. */
export type Nudge = (rig: Rig) => void;

/** One leg of a comparison: changes from outside, then steps. */
export interface Leg {
  readonly nudges: readonly Nudge[];
  readonly steps: number;
}

/** What a hart does next, for people. */
export function describeNext({ hart, memory }: Rig): string {
  const translate = (pc: bigint) => {
    const fault = hart.mmu.translate(
      Number(BigInt.asIntN(32, pc)),
      Number(BigInt.asIntN(32, pc >> 32n)),
      2,
      0,
      hart.fetchRegime,
    );
    const host = fault < 0 ? memory.host(hart.mmu.physical, 2) : -1;
    return host < 0 ? undefined : memory.view.getUint16(host, true);
  };
  const first = translate(hart.pc);
  const where = `${"US?M"[hart.mode]} ${hex(hart.pc)}`;
  if (first === undefined) return `${where}: can not be fetched`;
  const bits = (first & 3) === 3 ? (first | (translate(hart.pc + 2n) ?? 0) << 16) >>> 0 : first;
  return `${where}: ${hex(bits)} ${disassemble(bits, hart.pc)}`;
}

/**
 * Runs the legs on both rigs, the engine in runs of `size` steps, comparing after each leg. Gives the first divergence
 * as text: the leg, the difference, and (if single steps show it too) the step that made it.
 */
export function lockstep(
  start: () => { engine: EngineRig; oracle: OracleRig },
  legs: readonly Leg[],
  size: number,
): string | undefined {
  const { engine, oracle } = start();
  for (const [number, { nudges, steps }] of legs.entries()) {
    for (const nudge of nudges) for (const rig of [engine, oracle]) nudge(rig);
    for (let left = steps; left > 0; left -= size) engine.run(Math.min(left, size));
    oracle.run(steps);
    settle(engine, oracle);
    const found = difference(engine, oracle, { csrs: true, ram: number % 8 === 7 || number === legs.length - 1 });
    if (found) return `leg ${number}, runs of ${size}: ${found}\n${firstStep(start, legs.slice(0, number + 1), size)}`;
  }
}

/** Interrupts are taken when a run begins: has both take what is due. */
function settle(...rigs: Rig[]): void {
  for (const { hart } of rigs) if (!hart.state.stopped) hart.takeInterrupt();
}

/** Repeats the legs, the last one (then all) in single steps. */
function firstStep(
  start: () => { engine: EngineRig; oracle: OracleRig },
  legs: readonly Leg[],
  size: number,
): string {
  for (const single of [legs.length - 1, 0]) {
    const { engine, oracle } = start();
    for (const [number, { nudges, steps }] of legs.entries()) {
      for (const nudge of nudges) for (const rig of [engine, oracle]) nudge(rig);
      if (number < single) {
        for (let left = steps; left > 0; left -= size) engine.run(Math.min(left, size));
        oracle.run(steps);
        settle(engine, oracle);
        continue;
      }
      const trace: string[] = [];
      for (let step = 0; step < steps; step++) {
        oracle.hart.takeInterrupt();
        trace.push(describeNext(oracle));
        engine.run(1);
        oracle.run(1);
        settle(engine, oracle);
        const found = difference(engine, oracle, { csrs: true, ram: true });
        if (found) return `leg ${number}, step ${step}: ${found}, after\n  ${trace.slice(-8).join("\n  ")}`;
      }
    }
  }
  return "single steps do not show it";
}
