// Cases of traps: exceptions, interrupts, delegation, returns, and the bits of mstatus that make instructions trap.

import { CSR_NUMBERS } from "../../../plugins/riscv/assembly/syntax.ts";
import { MODE } from "../../../plugins/riscv/cause.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { pointer, Random } from "../body.ts";
import { type Case, type Instruction, instruction } from "../case.ts";
import { AT, MSIP, MTIMECMP } from "../runtime.ts";
import type { Made } from "./user.ts";

const [T0, NOWHERE, ODD, STATUS] = [5, 18, 19, 20];
/** The major opcode of system instructions. */
const SYSTEM = 0x73;
/** No board has anything there. */
const HOLE = 0x1800_0000n;

/** mstatus's bits that matter to traps: interrupts, SPP, and TVM, TW, TSR. */
function status(random: Random): bigint {
  return 0x6000n | random.some(0x1a2n) | (random.chance(3) ? random.some(0x70_0000n) : 0n);
}

/** What is pending, enabled and delegated. */
function interrupts(random: Random): Pick<Case, "csrs" | "stores"> {
  const timer = random.chance(4);
  return {
    csrs: [
      ["medeleg", random.chance(3) ? 0xb1ffn : random.some(0xb1ffn)],
      ["mideleg", random.chance(3) ? 0x222n : random.some(0x222n)],
      ["menvcfg", 1n << 61n | (timer ? 1n << 63n : 0n)],
      ["mcounteren", 7n],
      ["stvec", BigInt(AT.supervisor) + (random.chance(3) ? 1n : 0n)],
      ["mip", random.chance(2) ? 0n : random.some(0x222n)],
      ["mie", random.chance(2) ? 0n : random.some(0xaaan)],
      ...timer ? [["stimecmp", random.chance(2) ? 0n : -1n] as const] : [],
    ],
    stores: [
      ...random.chance(4) ? [{ at: MSIP, value: 1n, size: 4 as const }] : [],
      ...random.chance(4) ? [{ at: MTIMECMP, value: 0n, size: 8 as const }] : [],
    ],
  };
}

/** One or a few instructions that trap, or may. */
function piece(random: Random, may: Made["may"]): Instruction[] {
  const csr = (name: string) => CSR_NUMBERS.get(name)!;
  const plain = (name: string): Instruction[] => may(name) ? [instruction(name)] : [];
  const rd = 8 + random.below(8);
  const value = 21 + random.below(8);
  switch (random.below(16)) {
    case 0:
      return plain("ecall");
    case 1:
      return random.chance(2) ? plain("ebreak") : [{ bits: 0x9002, length: 2 }];
    case 2:
      return [random.pick<Instruction>([
        { bits: 0, length: 2 },
        { bits: 0xffff_ffff, length: 4 },
        { bits: 0x0000_2063 | random.below(2 ** 16) << 16, length: 4 }, // a branch with a reserved condition
        { bits: 0x2001, length: 2 }, // c.addiw to x0
        { bits: 0x8002, length: 2 }, // c.jr x0
        { bits: 0x0200_2073 | random.below(32) << 7, length: 4 }, // a CSR that is not there
      ])];
    case 3: // a return to the instruction behind it
    case 4: {
      const to = random.pick(["s", "m"]);
      return [
        instruction("auipc", { rd: T0 }),
        instruction("addi", { rd: T0, rs1: T0, imm: 16 }),
        instruction("csrrw", { rs1: T0, csr: csr(`${to}epc`) }),
        ...plain(`${to}ret`),
      ];
    }
    case 5:
      return plain(
        random.pick(["sfence.vma", "sinval.vma", "sfence.w.inval", "sfence.inval.ir", "fence", "fence.i", "pause"]),
      );
    case 6:
    case 7: {
      const name = random.pick(["sstatus", "sie", "sip", "sscratch", "mie", "mip", "mideleg", "mstatus"]);
      const immediate = /status$/.test(name) ? 31 : 10; // the interrupts there are
      const how = name === "mstatus" ? random.pick(["csrrsi", "csrrci"]) : random.pick(["csrrs", "csrrc", "csrrsi"]);
      return [
        instruction(how, {
          rd,
          csr: csr(name),
          rs1: how.endsWith("i") ? random.below(32) & immediate : name === "sstatus" ? STATUS : value,
        }),
      ];
    }
    case 8:
      return [
        instruction("csrrs", { rd, csr: csr(random.pick(["satp", "stvec", "mhartid", "sepc", "scause"])) }),
      ];
    case 9:
      return [
        instruction(random.pick(["lb", "lhu", "lw", "ld"]), {
          rd,
          rs1: NOWHERE,
        }),
      ];
    case 10:
      return [instruction(random.pick(["sb", "sh", "sw", "sd"]), { rs1: NOWHERE, rs2: rd })];
    case 11:
      return [instruction(random.pick(["lr.w", "lr.d", "amoadd.w", "amoswap.d"]), { rd, rs1: ODD })];
    case 12:
      return [instruction(random.pick(["lr.w", "amoor.d"]), { rd, rs1: NOWHERE })];
    case 13: // a jump to nothing
      return [instruction("jalr", { rd: 1, rs1: NOWHERE, imm: 4 * random.below(8) })];
    case 14: // a rounding mode that may be reserved, perhaps with FS off
      return [instruction("fadd.s", { fd: 1, fs1: 2, fs2: 3, rm: random.below(8) })];
    default:
      return [instruction("addi", { rd, rs1: rd, imm: 1 })];
  }
}

/** Programs that trap and return between the modes. */
export function traps(seed: number, { may }: Made): Case {
  const random = new Random(seed);
  const code = Array.from({ length: 16 }, () => piece(random, may)).flat();
  const x = Array.from({ length: 32 }, () => random.operand("l"));
  x[NOWHERE] = HOLE;
  x[ODD] = BigInt(AT.data + 1 + random.below(3));
  x[STATUS] = random.some(0xc_0122n); // SUM, MXR, SPP, SPIE, SIE
  for (let i = 21; i < 29; i++) x[i] = random.some(0xaaan);
  const mode = random.pick([MODE.U, MODE.S, MODE.S, MODE.M]);
  return { family: "traps", seed, mode, status: status(random), ...interrupts(random), x, code, traps: 40 };
}

/** WFI with something pending that the mode does not take, in the modes that may wait and those that may not. */
export function waits(seed: number): Case {
  const random = new Random(seed);
  const mode = random.pick([MODE.U, MODE.S, MODE.M]);
  const line = random.pick([1n, 5n, 9n]);
  const delegated = mode !== MODE.M;
  return {
    family: "waits",
    seed,
    mode,
    status: 0x6000n | (random.chance(2) ? 1n << 21n : 0n), // TW
    csrs: [["mideleg", delegated ? 0x222n : 0n], ["mip", 1n << line], ["mie", 1n << line]],
    code: [instruction("wfi"), instruction("addi", { rd: 10, rs1: 10, imm: 1 })],
  };
}

/** Random words, and halfwords: what they are called matters less than that both machines agree on it. */
export function words(seed: number, { may }: Made): Case {
  const random = new Random(seed);
  const major = random.pick(
    [0x03, 0x07, 0x0f, 0x13, 0x17, 0x1b, 0x23, 0x27, 0x2f, 0x33, 0x37, 0x3b, 0x43, 0x47]
      .concat([0x4b, 0x4f, 0x53, 0x63, 0x67, 0x6f, 0x57, 0x77, 0x0b, 0x2b, 0x5b, 0x7b, 0x6b, 0x1f, 0x3f, 0x5f, 0x7f])
      .concat([SYSTEM, SYSTEM]),
  );
  // Of the system instructions only those that are none: the runtime may not survive the others' effects. No jumps by an
  // offset: many of those that leave the case's code never come back. And no store-conditional, which checks nothing in
  // QEMU without a reservation.
  const usable = (bits: number): boolean => {
    const name = INSTRUCTIONS.decode(bits)?.row.name;
    if (name === undefined) return true;
    return major !== SYSTEM && !/^(jal|beq|bne|blt|bge|bltu|bgeu|sc\..)$/.test(name) && may(name);
  };
  const code = Array.from({ length: 12 }, (): Instruction => {
    for (;;) {
      const half = random.chance(3);
      const bits = half ? random.below(2 ** 16) : (random.below(2 ** 25) << 7 | major) >>> 0;
      if (half === ((bits & 3) === 3) || !usable(bits)) continue;
      return { bits, length: half ? 2 : 4 };
    }
  });
  const x = Array.from(
    { length: 32 },
    () => random.pick([random.operand("l"), pointer(random), HOLE + BigInt(random.below(4096))]),
  );
  // The code can be read and executed, the data behind it read and written (to execute what was written takes a FENCE.I),
  // and what there is elsewhere can not be reached.
  const [read, write, execute, range] = [1, 2, 4, 3 << 3];
  const half = BigInt(AT.data - AT.ram) / 8n - 1n;
  const csrs = [
    ["pmpaddr0", BigInt(AT.ram) >> 2n | half],
    ["pmpaddr1", BigInt(AT.data) >> 2n | half],
    ["pmpcfg0", BigInt(range | read | execute | (range | read | write) << 8)],
    ["pmpcfg2", 0n],
  ] as const;
  return { family: "random words", seed, mode: MODE.U, csrs, x, code, traps: 16 };
}
