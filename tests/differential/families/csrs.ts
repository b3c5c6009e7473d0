// Cases of CSRs: which accesses are legal, for every number, and what fields hold of what is written to them.

import { CSR_NUMBERS } from "../../../plugins/riscv/assembly/syntax.ts";
import { MODE } from "../../../plugins/riscv/cause.ts";
import { Random } from "../body.ts";
import { type Case, type Instruction, instruction } from "../case.ts";

const PER_CASE = 64;
const MODES = [MODE.U, MODE.S, MODE.M] as const;
/** Reads; writes nothing but counts as a write; writes. The last one only where it can not succeed. */
const ACCESSES = ["csrrs", "csrrc", "csrrw"] as const;
/** How many cases try every number in every mode. */
export const SWEEP = 4096 / PER_CASE * MODES.length * ACCESSES.length;

const [ZERO, NOTHING] = [0, 5]; // x0, and a register that holds zero

/** Case `index` of {@linkcode SWEEP}: some numbers, one kind of access, one mode; what else decides is random. */
export function csrSweep(index: number, random: Random): Case {
  const first = index % (4096 / PER_CASE) * PER_CASE;
  const mode = MODES[Math.floor(index / (4096 / PER_CASE)) % MODES.length];
  const access = ACCESSES[Math.floor(index * PER_CASE / 4096 / MODES.length)];
  const code: Instruction[] = [];
  for (let csr = first; csr < first + PER_CASE; csr++) {
    // Unprivileged, Zihpm: “Accessing an unimplemented or ill-configured counter may cause an illegal-instruction exception
    // or may return a constant value.”
    if (csr > 0xc02 && csr < 0xc20) continue;
    // Privileged, 3.1.10: “All counters should be implemented, but a legal implementation is to make both the counter and
    // its corresponding event selector be read-only 0.” To QEMU without counters they are illegal.
    if (csr > 0xb02 && csr < 0xb20) continue;
    // vstimecmp, which QEMU has even without a hypervisor's mode. 2.1: “Instructions that access a non-existent CSR are
    // reserved.”
    if (csr === 0x24d) continue;
    // Of a zero, which QEMU takes for no write at all. Unprivileged, 7.1: “Note that if rs1 specifies a register other
    // than x0, and that register holds a zero value, the instruction will not action any attendant per-field side effects,
    // but will action any side effects caused by writing to the entire CSR.”
    if (access === "csrrc" && csr >> 10 === 3) continue;
    if (access === "csrrw" && csr >> 10 !== 3) continue; // not a read-only one
    code.push(instruction(access, { csr, rs1: access === "csrrs" ? ZERO : NOTHING }));
  }
  return {
    family: "every CSR number",
    seed: index,
    mode,
    // FS, TVM
    status: BigInt(random.pick([0, 0x6000])) | BigInt(random.pick([0, 1 << 20])),
    csrs: [
      ["mcounteren", random.bits(32)],
      ["scounteren", random.bits(32)],
      ["menvcfg", 1n << 61n | BigInt(random.below(2)) << 63n],
    ],
    code,
    traps: PER_CASE + 2,
  };
}

/** CSRs whose values are the machine's own, or the moment's. */
const OWN = /^(m?cycle|m?instret|time|marchid|mimpid|mvendorid|m?hpm.*)$/;
const READABLE = [...CSR_NUMBERS.keys()].filter((name) => !OWN.test(name));

/** Reads of the CSRs that are there. */
export function csrValues(seed: number): Case {
  const random = new Random(seed);
  const code = Array.from({ length: 24 }, (_, i) => {
    const csr = CSR_NUMBERS.get(random.pick(READABLE))!;
    return instruction(random.pick(["csrrs", "csrrsi", "csrrc", "csrrci"]), { csr, rd: 6 + i });
  });
  return { family: "CSR values", seed, mode: random.pick(MODES), ...surroundings(random), code, traps: 32 };
}

/** What decides on the values of others. */
function surroundings(random: Random): Pick<Case, "status" | "csrs"> {
  return {
    status: 0x6000n | random.some(0xc_0122n), // SUM, MXR, SPP, SPIE, SIE
    csrs: [
      ["medeleg", random.some(0xb1ffn)],
      ["mideleg", random.some(0x222n)],
      ["mcounteren", random.bits(32)],
      ["scounteren", random.bits(32)],
      ["menvcfg", 1n << 61n | BigInt(random.below(2)) << 63n | BigInt(random.below(2))],
      ["mip", random.some(0x222n)],
      ["mie", random.some(0xaaan)],
    ],
  };
}

const FREE_IN_M = ["mstatus", "sstatus", "medeleg", "mideleg", "mie", "sie", "mip", "sip", "mepc", "sepc", "mcause"]
  .concat(["scause", "mtval", "stval", "sscratch", "mcounteren", "scounteren", "menvcfg", "senvcfg", "stimecmp"])
  .concat(["fcsr", "frm", "fflags", "misa", "pmpaddr0", "pmpaddr7", "pmpaddr14"]);
const BORROWED = ["mtvec", "mscratch", "stvec", "satp", "pmpcfg0"];
const FREE_IN_S = ["sstatus", "sie", "sip", "sepc", "scause", "stval", "sscratch", "scounteren", "senvcfg", "fcsr"]
  .concat(["stimecmp", "frm", "fflags"]);
/** What is written and read back; what the runtime stands on is put back by the next instruction. */
const BY_MODE = {
  M: { free: FREE_IN_M, borrowed: BORROWED },
  S: { free: FREE_IN_S, borrowed: ["stvec"] },
} as const;
/**
 * The bits that cases write. Others would stop a case (locks, delegation of the supervisor's call), or QEMU holds them
 * though they are of extensions that it does not have: csr_test.ts holds that they are zero here.
 */
const KEPT: readonly (readonly [RegExp, bigint])[] = [
  [/^medeleg$/, 0xb1ffn],
  [/^(mideleg|mie|mip|sie|sip)$/, 0xaaan],
  [/^pmpcfg/, 0x1d1d_1d1d_1d1d_1d1dn], // not W, which needs R
  [/^[ms]status$/, 0x7e_61aan], // not MPP, which has a reserved value
  [/counteren$/, 0xffff_ffffn],
  [/^[ms]tvec$/, ~2n], // of a reserved mode either may make what it likes
  [/^[ms]epc$/, ~1n],
  [/envcfg$/, 0xa000_0000_0000_0001n],
];

/** Writes of any values, whole or by bits, and what is left of them. */
export function csrFields(seed: number): Case {
  const random = new Random(seed);
  const mode = random.pick([MODE.M, MODE.M, MODE.S]);
  const code: Instruction[] = [];
  const x = Array.from({ length: 32 }, () => 0n);
  for (let rd = 8; rd < 30; rd += 2) {
    x[rd] = random.pick([random.bits(64), random.bits(32), -1n, 1n << BigInt(random.below(64)), random.operand("l")]);
    const borrowed = random.chance(3);
    const name = random.pick(BY_MODE[mode === MODE.M ? "M" : "S"][borrowed ? "borrowed" : "free"]);
    const kept = KEPT.find(([pattern]) => pattern.test(name))?.[1] ?? -1n;
    x[rd] &= kept;
    const csr = CSR_NUMBERS.get(name)!;
    if (borrowed) {
      code.push(instruction("csrrw", { rd: rd + 1, csr, rs1: rd }), instruction("csrrw", { rd, csr, rs1: rd + 1 }));
      continue;
    }
    // A time that comes while the case runs would be another one each time.
    if (name === "stimecmp") x[rd] = random.pick([0n, -1n, random.bits(64) | 1n << 62n]);
    // QEMU lets stimecmp move STIP without STCE, too. Sstc: “…STIP in mip and sip reverts to its defined behavior as if
    // this extension is not implemented.”
    const how = name === "stimecmp"
      ? "csrrw"
      : name === "menvcfg"
      ? "csrrs"
      : random.pick(["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"]);
    code.push(
      instruction(how, { rd: rd + 1, csr, rs1: how.endsWith("i") ? random.below(32) & Number(kept & 31n) : rd }),
    );
    code.push(instruction("csrrs", { rd, csr }));
  }
  const around = surroundings(random);
  return {
    family: "CSR fields",
    seed,
    mode,
    ...around,
    // STIP is the timer's from the beginning; no interrupts while a CSR is borrowed.
    csrs: [
      ["menvcfg", 0xa000_0000_0000_0000n],
      ...around.csrs!.filter(([name]) => name !== "menvcfg"),
      ...mode === MODE.M ? [["mie", 0n] as const] : [],
    ],
    x,
    code,
  };
}
