// Programs of user level: one static executable that runs many, on QEMU's user-mode emulator and in U-mode here.

import { assemble } from "../../plugins/riscv/assembler.ts";
import { F_NAMES, X_NAMES } from "../../plugins/riscv/registers.ts";
import { encode, EngineRig } from "../support/riscv_rig.ts";
import type { Case } from "./case.ts";
import { Steps, stepsOf, type Way, WAYS } from "./machines.ts";
import type { Ask } from "./minimise.ts";
import { AT, COPY, DATA_BYTES, FILL } from "./runtime.ts";

/** The current descriptor's address, apart from the code. */
const CURRENT = AT.ram + 0x1000;
/** Where our hart goes from the system call that ends the programs. */
const TRAPPED = AT.ram + 0x2000;
const PROGRAMS = AT.ram + 0x3000;
const HEADER = 0x1000;
/** A link register: to the compiler a jump by another one may be one by a table, to any program. */
export const SCRATCH = 5;
const REGISTERS = Array.from({ length: 31 }, (_, i) => i + 1).filter((i) => i !== SCRATCH);
const FLOATS = Array.from({ length: 32 }, (_, i) => i);
/** Doublewords of a descriptor: record, entry, seed; then x, f and fcsr. */
const DESCRIPTOR = { record: 0, entry: 1, seed: 2, x: 3, f: 35, fcsr: 67, words: 68 } as const;
/** Doublewords of a record: x, f, fcsr, data. */
const RECORD = { f: 32, fcsr: 64, data: 65, words: 65 + DATA_BYTES / 8 } as const;
const [WRITE, EXIT] = [64, 93];

const source = (count: number, descriptors: number, records: number): string => `
        li      t0, ${CURRENT}
        li      t1, ${descriptors}
        sd      t1, 0(t0)
next:   li      t0, ${CURRENT}
        ld      s11, 0(t0)
        li      t0, ${descriptors + count * DESCRIPTOR.words * 8}
        beq     s11, t0, end
        ld      t2, ${8 * DESCRIPTOR.seed}(s11)
        ${FILL}
        mv      t0, s11
        ld      t1, ${8 * DESCRIPTOR.fcsr}(t0)
        csrw    fcsr, t1
        ${FLOATS.map((i) => `fld f${i}, ${8 * (DESCRIPTOR.f + i)}(t0)`).join("; ")}
        ${REGISTERS.map((i) => `ld x${i}, ${8 * (DESCRIPTOR.x + i)}(t0)`).join("; ")}
        ld      t0, ${8 * DESCRIPTOR.entry}(t0)
        jr      t0
        .balign 2048
done:   li      t0, ${CURRENT}
        ld      t0, 0(t0)
        ld      t0, 0(t0)
        ${REGISTERS.map((i) => `sd x${i}, ${8 * i}(t0)`).join("; ")}
        ${FLOATS.map((i) => `fsd f${i}, ${8 * (RECORD.f + i)}(t0)`).join("; ")}
        csrr    t1, fcsr
        sd      t1, ${8 * RECORD.fcsr}(t0)
        addi    t2, t0, ${8 * RECORD.data}
        ${COPY}
        li      t0, ${CURRENT}
        ld      t1, 0(t0)
        addi    t1, t1, ${8 * DESCRIPTOR.words}
        sd      t1, 0(t0)
        j       next
end:    li      a0, 1
        li      a1, ${records}
        li      a2, ${8 * RECORD.words * count}
1:      li      a7, ${WRITE}
        ecall
        blez    a0, 2f
        add     a1, a1, a0
        sub     a2, a2, a0
        li      a0, 1
        bnez    a2, 1b
2:      li      a0, 0
        li      a7, ${EXIT}
        ecall
`;
/** Many programs are made in a second or two, if nobody disturbs QEMU; one at once. */
const [LIMIT_SECONDS, ALONE_SECONDS] = [60, 5];

/** A machine does not end a program, or one of several. */
class Stuck extends Error {}

/** Where `done` is: the balance of the text before it. */
const DONE = AT.ram + 0x800;

/** The executable's memory, from `AT.ram` on, and where it leaves its records. */
interface Executable {
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly records: number;
  readonly bytes: number;
}

function link(cases: readonly Case[]): Executable {
  const memory = new Uint8Array(AT.data - AT.ram);
  const view = new DataView(memory.buffer);
  const descriptors = PROGRAMS;
  let free = descriptors + cases.length * DESCRIPTOR.words * 8;
  const text = assemble(source(cases.length, descriptors, AT.records), { base: AT.ram });
  if (text.length > CURRENT - AT.ram) throw new RangeError(`The programs' runtime has ${text.length} bytes: too many`);
  memory.set(text);
  const put = (bits: number, length: number) => {
    view.setUint16(free - AT.ram, bits, true);
    if (length === 4) view.setUint16(free + 2 - AT.ram, bits >>> 16, true);
    free += length;
  };
  cases.forEach((it, i) => {
    const dword = (index: number, value: bigint) =>
      view.setBigUint64(descriptors - AT.ram + 8 * (i * DESCRIPTOR.words + index), BigInt.asUintN(64, value), true);
    dword(DESCRIPTOR.record, BigInt(AT.records + 8 * RECORD.words * i));
    dword(DESCRIPTOR.entry, BigInt(free));
    dword(DESCRIPTOR.seed, BigInt(it.seed));
    for (let r = 0; r < 32; r++) {
      dword(DESCRIPTOR.x + r, it.x?.[r] ?? 0n);
      dword(DESCRIPTOR.f + r, it.f?.[r] ?? 0n);
    }
    dword(DESCRIPTOR.fcsr, BigInt(it.fcsr ?? 0));
    for (const { bits, length } of it.code) put(bits, length);
    const distance = DONE - free;
    const high = distance + 0x800 >> 12;
    put(encode("auipc", { rd: SCRATCH, imm: high << 12 }), 4);
    put(encode("jalr", { rs1: SCRATCH, imm: distance - (high << 12) }), 4);
    free = (free + 3 & -4) >>> 0;
  });
  return { memory, records: AT.records, bytes: 8 * RECORD.words * cases.length };
}

/** An ELF64 executable of one segment that may do everything. */
function elf({ memory, records, bytes }: Executable): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(HEADER + memory.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(AT.ram), true);
  view.setBigUint64(32, 64n, true);
  view.setUint32(48, 5, true); // compressed instructions, double floats
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  view.setBigUint64(72, BigInt(HEADER), true);
  view.setBigUint64(80, BigInt(AT.ram), true);
  view.setBigUint64(88, BigInt(AT.ram), true);
  view.setBigUint64(96, BigInt(memory.length), true);
  view.setBigUint64(104, BigInt(records + bytes - AT.ram), true);
  view.setBigUint64(112, 4096n, true);
  file.set(memory, HEADER);
  return file;
}

/** Runs the programs on QEMU's user-mode emulator. */
async function programsOnQemu(cases: readonly Case[], cpu: string, seconds: number): Promise<Uint8Array<ArrayBuffer>> {
  const folder = await Deno.makeTempDir({ prefix: "denovisor_differential_" });
  try {
    await Deno.writeFile(`${folder}/programs`, elf(link(cases)), { mode: 0o755 });
    const late = AbortSignal.timeout(seconds * 1000);
    const { success, signal, stdout, stderr } = await new Deno.Command("qemu-riscv64", {
      args: ["-cpu", cpu, `${folder}/programs`],
      stdin: "null",
      signal: late,
    }).output();
    if (late.aborted) throw new Stuck("QEMU does not come to the end in time");
    if (signal) throw new Stuck(`QEMU ends the program with ${signal}`);
    if (!success) throw new Error(`qemu-riscv64: ${new TextDecoder().decode(stderr)}`);
    return stdout.slice();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs the programs in U-mode of the engine, up to their first call of a system; gives the steps of the last pass, too. */
function programsHere(cases: readonly Case[], way: Way): { left: Uint8Array<ArrayBuffer>; steps: Steps } {
  const { memory, records, bytes } = link(cases);
  const { config, passes } = WAYS[way];
  const ramSize = records + bytes - AT.ram + 2 ** 16 & -(2 ** 16);
  const rig = new EngineRig({ ramSize, config });
  const { hart } = rig;
  rig.ram.set(memory);
  rig.program(TRAPPED, [encode("wfi")]);
  hart.start({ pc: BigInt(AT.ram), mode: "M", registers: { mtvec: BigInt(TRAPPED), mstatus: 0x6000n } });
  hart.set("pmpaddr15", -1n);
  hart.set("pmpcfg2", 0x1fn << 56n);
  let before = new Steps();
  for (let pass = 0; pass < passes; pass++) {
    before = stepsOf(hart);
    hart.state.waiting = false;
    hart.pc = BigInt(AT.ram);
    hart.mode = 0;
    hart.contextChanged();
    for (let rounds = 0; hart.mode === 0; rounds++) {
      if (rounds > 20 + cases.length) throw new Stuck("denovisor does not come to the end");
      rig.run(1_000_000);
    }
    if (hart.get("mcause") !== 8n) {
      throw new Stuck(`A program trapped with cause ${hart.get("mcause")} at 0x${hart.get("mepc").toString(16)}`);
    }
  }
  return { left: rig.ram.slice(records - AT.ram, records - AT.ram + bytes), steps: stepsOf(hart).less(before) };
}

/** A program that differs. */
export interface ProgramDifference {
  readonly program: Case;
  /** Whether it came to its end here and on QEMU. */
  readonly ended: boolean;
  readonly how: string;
}

/** Runs programs here and on QEMU, and gives those that differ: also by not coming to their end. */
export async function* programDifferences(
  cases: readonly Case[],
  cpu: string,
  way: Way,
  seconds = LIMIT_SECONDS,
  made?: Steps,
): AsyncGenerator<ProgramDifference> {
  try {
    const theirs = await programsOnQemu(cases, cpu, seconds);
    const { left: ours, steps } = programsHere(cases, way);
    // What is not the programs', they make without code, too.
    made?.add(steps.less(programsHere(cases.map((each) => ({ ...each, code: [] })), way).steps));
    for (const [i, each] of cases.entries()) {
      const how = programDifference(i, ours, theirs);
      if (how) yield { program: each, ended: true, how };
    }
  } catch (error) {
    if (!(error instanceof Stuck)) throw error;
    const stuck = (how: string) => ({ program: cases[0], ended: false, how });
    if (cases.length === 1) return yield stuck(error.message);
    const alone: ProgramDifference[] = [];
    for (const each of cases) {
      const limit = Math.min(seconds, ALONE_SECONDS);
      alone.push(...await Array.fromAsync(programDifferences([each], cpu, way, limit)));
    }
    if (!alone.length) {
      alone.push(stuck(`${error.message}: of ${cases.length} programs from this one on, of none alone`));
    }
    yield* alone;
  }
}

/** Asks our engine and QEMU which of some programs differ. */
export function askPrograms(cpu: string, way: Way, seconds: number): Ask<ProgramDifference> {
  return async (cases) => {
    const all = await Array.fromAsync(programDifferences(cases, cpu, way, seconds));
    return cases.map((it) => all.find(({ program }) => program === it));
  };
}

/** The first item in which a program's records differ. */
function programDifference(index: number, ours: Uint8Array, theirs: Uint8Array): string | undefined {
  const at = 8 * RECORD.words * index;
  const [a, b] = [ours, theirs].map((all) => new BigUint64Array(all.slice(at, at + 8 * RECORD.words).buffer));
  const i = a.findIndex((value, n) => value !== b[n]);
  if (i < 0) return undefined;
  const name = i < RECORD.f
    ? X_NAMES[i]
    : i < RECORD.fcsr
    ? F_NAMES[i - RECORD.f]
    : i === RECORD.fcsr
    ? "fcsr"
    : `memory at 0x${(AT.data + 8 * (i - RECORD.data)).toString(16)}`;
  return `${name}: 0x${a[i].toString(16)}, by QEMU 0x${b[i].toString(16)}`;
}
