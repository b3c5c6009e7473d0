// The processor of the installed QEMU that is most like ours: its properties, and what it lacks, found by asking and by trying.

import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { type Case, Image, type Instruction, instruction, recordOf } from "./case.ts";
import { WRONG_INSTRUCTIONS } from "./exceptions.ts";
import { qemuPeer } from "./machines.ts";
import { RECORD_LOG, TRAP_WORDS } from "./runtime.ts";

/** What a processor's properties shall be, where QEMU knows them. */
const WANTED: Readonly<Record<string, string>> = {
  ...{ h: "false", v: "false", debug: "false", sscofpmf: "false", "pmu-num": "0", "pmu-mask": "0", zawrs: "false" },
  ...{ zicbom: "false", zicboz: "false", zfa: "false", Zfh: "false", zfh: "false", svadu: "true", svinval: "true" },
  ...{
    zicond: "true",
    sstc: "true",
    zba: "true",
    zbb: "true",
    zbc: "true",
    zbs: "true",
    b: "true",
    smstateen: "false",
  },
};

/** What was found. */
export interface QemuCpu {
  readonly version: string;
  /** For -cpu. */
  readonly cpu: string;
  /** Instructions that it has, and gets right. */
  readonly has: (name: string) => boolean;
  /** Those that are left to the oracle. */
  readonly lacks: readonly string[];
}

async function output(...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("qemu-system-riscv64", { args, stderr: "null" }).output();
  return new TextDecoder().decode(stdout);
}

/** Asks QEMU what it has, and tries every instruction; `undefined` without QEMU. */
export async function findQemuCpu(): Promise<QemuCpu | undefined> {
  let version: string;
  try {
    version = /version (\S+)/.exec(await output("--version"))![1];
    await new Deno.Command("qemu-riscv64", { args: ["--version"], stdout: "null" }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const properties = await output("-M", "virt", "-device", "rv64-riscv-cpu,help");
  const known = Object.entries(WANTED).filter(([name]) => new RegExp(`^ *${name}=`, "m").test(properties));
  const cpu = ["rv64", ...known.map(([name, value]) => `${name}=${value}`)].join(",");

  // One of each, in M-mode: what it does not know is illegal.
  const cases = INSTRUCTIONS.rows.map((row, seed): Case => ({
    family: "probe",
    seed,
    mode: 3,
    code: [sample(row.name)],
  }));
  const [image] = Image.of(cases);
  const records = await qemuPeer(cpu)(image);
  const cause = RECORD_LOG + TRAP_WORDS.indexOf("cause");
  const lacks = INSTRUCTIONS.rows.filter(({ name }, i) =>
    recordOf(image.cases[i], records)[cause] === 2n || name in WRONG_INSTRUCTIONS
  ).map(({ name }) => name);
  const missing = new Set(lacks);
  return { version, cpu, has: (name) => !missing.has(name), lacks };
}

/** An instruction of a row, with harmless operands. */
function sample(name: string): Instruction {
  const encoding = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(name)];
  if (/^(wfi|jalr|[ms]ret)$/.test(name)) return { bits: 0x13, length: 4 }; // leads away from here; QEMU has them
  if (encoding.fields.has("csr")) return instruction(name, { csr: 0x140, rd: 5 });
  return instruction(name, /^(jal|b(eq|ne|lt|ge)u?)$/.test(name) ? { imm: 4 } : {});
}
