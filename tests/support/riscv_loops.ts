// Random programs of loops and calls for the lockstep test: code that gets hot, with little that traps.

import { putFields } from "../../plugins/riscv/encoding.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import type { Fields, Row } from "../../plugins/riscv/rows/row.ts";
import { Operands } from "../plugins/riscv/fp_operands.ts";
import type { Leg, Nudge } from "./riscv_lockstep.ts";
import { PageTables, PTE } from "./riscv_pages.ts";
import { DEVICE_BASE, encode, RAM_BASE } from "./riscv_rig.ts";

export const LOOPS_RAM_SIZE = 2 ** 20;
const PAGE = 4096;
const FUNCTIONS = 6;
const DATA = RAM_BASE + 0x1_0000;
const STACK = RAM_BASE + 0x2_0000;
const HANDLER = RAM_BASE + 0x3_0000;
/** Where U-mode makes a call, and where S-mode takes it. */
const USER = RAM_BASE + 0x3_1000;
const S_HANDLER = RAM_BASE + 0x3_2000;
const TABLES = RAM_BASE + 0x8_0000;

/** Where a superpage of the user's is, in schemes of translation. */
const USER_ALIAS = 0x4000_0000n;

// What registers are for. The others are the bodies' to write.
const [RA, SP] = [1, 2];
const POINTERS = [20, 21, 22];
/** Points to an instruction that programs overwrite with what the next one holds. */
const [PATCH, NEW] = [23, 27];
const [OUTER, INNER, TARGET] = [24, 25, 26];
/** Hold bits of sstatus: SPP; SUM, FS and a part of it, SIE; and the address of the user's code. */
const [SPP, BITS, USER_CODE] = [3, [16, 17, 18, 4], 19];
const FREE = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 28, 29, 30, 31];

const rows = (test: (row: Row) => boolean): Row[] => INSTRUCTIONS.rows.filter(test);
const INTEGERS = rows((row) =>
  !row.float && !/^(b(eq|ne|lt|ge)u?|jalr?|[ls][bhwd]u?|amo.*|lr.*|sc\..*|csr.*)$/.test(row.name) &&
  !/0001111$|1110011$/.test(row.bits)
);
const ACCESSES = rows((row) => /^([ls][bhwd]|l[bhw]u|f[ls][wd])$/.test(row.name));
const ATOMICS = rows((row) => /^(amo|lr|sc\.)/.test(row.name));
const FLOATS = rows((row) => row.float === true && !/^f[ls][wd]$/.test(row.name));
const BRANCHES = rows((row) => /^b(eq|ne|lt|ge)u?$/.test(row.name));

/** Programs that call functions with loops, over and over. */
export class RandomLoops {
  readonly #random: Operands;
  readonly #words: number[] = [];
  /** Where functions start, and where the instructions to be patched are: word numbers. */
  readonly #functions: number[] = [];
  readonly #patches: number[] = [];

  constructor(readonly seed: number, readonly legs: number, readonly stepsPerLeg: number) {
    this.#random = new Operands(seed);
  }

  make(): Leg[] {
    // The last function first: each calls only those behind it in number.
    for (let i = FUNCTIONS - 1; i >= 0; i--) this.#function(i);
    const start = this.#words.length;
    for (let i = 0; i < FUNCTIONS; i++) this.#call(i);
    this.#emit("jal", { rd: 0, imm: 4 * (start - this.#words.length) });
    const legs: Leg[] = [{ nudges: [this.#setUp(RAM_BASE + 4 * start)], steps: 0 }];
    for (let i = 0; i < this.legs; i++) {
      legs.push({ nudges: this.#disturb(), steps: 1 + this.#below(this.stepsPerLeg) });
    }
    return legs;
  }

  #below(limit: number): number {
    return this.#random.below(limit);
  }
  #chance(one: number): boolean {
    return this.#below(one) === 0;
  }
  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)];
  }

  #emit(name: string, fields: Partial<Fields>): void {
    this.#words.push(encode(name, fields));
  }

  #call(callee: number): void {
    const offset = 4 * (this.#functions[callee] - this.#words.length);
    if (offset < -2048 || this.#chance(2)) return this.#emit("jal", { rd: RA, imm: offset });
    this.#emit("auipc", { rd: TARGET, imm: 0 });
    if (this.#chance(2)) return this.#emit("jalr", { rd: RA, rs1: TARGET, imm: offset });
    this.#emit("addi", { rd: TARGET, rs1: TARGET, imm: offset });
    this.#emit("jalr", { rd: RA, rs1: TARGET, imm: 0 });
  }

  #function(number: number): void {
    // Some start on a page of their own, some in the middle of a cache line of another's.
    if (this.#chance(3)) { while (this.#words.length % (PAGE / 4) < PAGE / 4 - 12) this.#words.push(0); }
    this.#functions[number] = this.#words.length;
    this.#emit("addi", { rd: SP, rs1: SP, imm: -16 });
    this.#emit("sd", { rs1: SP, rs2: RA, imm: 0 });
    this.#emit("sd", { rs1: SP, rs2: OUTER, imm: 8 });
    this.#loop(OUTER, 1 + this.#below(3), () => {
      this.#body(3 + this.#below(12));
      if (this.#chance(2)) this.#loop(INNER, 1 + this.#below(10), () => this.#body(1 + this.#below(10)));
      for (let callee = number + 1; callee < FUNCTIONS; callee++) {
        if (this.#chance(4)) this.#call(callee);
      }
      this.#body(this.#below(6));
    });
    this.#emit("ld", { rd: OUTER, rs1: SP, imm: 8 });
    this.#emit("ld", { rd: RA, rs1: SP, imm: 0 });
    this.#emit("addi", { rd: SP, rs1: SP, imm: 16 });
    this.#emit("jalr", { rd: 0, rs1: RA, imm: 0 });
  }

  #loop(counter: number, times: number, body: () => void): void {
    this.#emit("addi", { rd: counter, rs1: 0, imm: times });
    const start = this.#words.length;
    body();
    this.#emit("addi", { rd: counter, rs1: counter, imm: -1 });
    this.#emit("bne", { rs1: counter, rs2: 0, imm: 4 * (start - this.#words.length) });
  }

  #body(length: number): void {
    for (let i = 0; i < length; i++) {
      const kind = this.#below(40);
      if (kind < 4) {
        const skipped = 1 + this.#below(4);
        this.#any(this.#pick(BRANCHES), { imm: 4 * (skipped + 1) });
        for (let n = 0; n < skipped; n++) this.#any(this.#pick(INTEGERS));
      } else if (kind < 16) this.#any(this.#pick(ACCESSES), { rs1: this.#pick(POINTERS) });
      else if (kind < 18) this.#any(this.#pick(ATOMICS), { rs1: this.#pick(POINTERS) });
      else if (kind < 23) this.#any(this.#pick(FLOATS));
      else if (kind === 23) {
        this.#patches.push(this.#words.length);
        this.#emit("addi", { rd: 6, rs1: 6, imm: this.#below(100) });
      } else if (kind === 24 && this.#chance(3)) {
        this.#emit("sw", { rs1: PATCH, rs2: NEW, imm: 0 });
        if (this.#chance(2)) this.#emit("fence.i", { rd: 0, rs1: 0, imm: 0 });
      } else if (kind === 25 && this.#chance(2)) {
        this.#emit("csrrs", { rd: this.#pick(FREE), rs1: 0, csr: this.#pick([3, 0xc00, 0xc02]) });
      } else if (kind === 25) this.#visitUser();
      else if (kind === 26) this.#short();
      else if (kind < 29) this.#csr();
      else if (kind === 29) this.#jumpTable();
      else this.#any(this.#pick(INTEGERS));
    }
  }

  /** An access to a CSR that kernels use much. */
  #csr(): void {
    const bits = this.#chance(2);
    const csr = bits ? 0x100 : 0x140 + this.#below(4);
    const name = this.#pick(bits ? ["csrrs", "csrrc"] : ["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"]);
    const rs1 = bits ? this.#pick(BITS) : this.#pick([0, ...FREE]);
    this.#emit(name, { rd: this.#pick([0, ...FREE]), rs1, csr });
  }

  /** Goes to U-mode, which calls; S-mode comes back here. */
  #visitUser(): void {
    this.#emit("auipc", { rd: TARGET, imm: 0 });
    this.#emit("addi", { rd: TARGET, rs1: TARGET, imm: 24 });
    this.#emit("csrrw", { rd: 0, rs1: TARGET, csr: 0x140 });
    this.#emit("csrrw", { rd: 0, rs1: USER_CODE, csr: 0x141 });
    this.#emit("csrrc", { rd: 0, rs1: SPP, csr: 0x100 });
    this.#emit("sret", {});
  }

  /** Goes to one of four cases, and on behind them all. */
  #jumpTable(): void {
    const [cases, instructions] = [4, 3];
    const index = this.#pick(FREE);
    this.#emit("auipc", { rd: TARGET, imm: 0 });
    this.#emit("andi", { rd: index, rs1: this.#pick(FREE), imm: cases - 1 });
    this.#emit("slli", { rd: index, rs1: index, imm: 4 });
    this.#emit("add", { rd: TARGET, rs1: TARGET, rs2: index });
    this.#emit("jalr", { rd: 0, rs1: TARGET, imm: 20 });
    for (let i = cases; i > 0; i--) {
      for (let n = 0; n < instructions; n++) this.#any(this.#pick(INTEGERS));
      this.#emit("jal", { rd: 0, imm: 4 * (1 + (i - 1) * (instructions + 1)) });
    }
  }

  /** Two compressed instructions in a word. */
  #short(): void {
    const half = (): number => {
      while (true) {
        const bits = this.#below(2 ** 16);
        const decoded = INSTRUCTIONS.decode(bits);
        if (decoded?.length !== 2 || !INTEGERS.includes(decoded.row)) continue;
        if (FREE.includes(decoded.fields.rd)) return bits;
      }
    };
    this.#words.push((half() | half() << 16) >>> 0);
  }

  #any(row: Row, given: Partial<Fields> = {}): void {
    const encoding = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(row.name)];
    const fields: Partial<Fields> = {};
    const source = () => this.#pick(this.#chance(6) ? [0, ...POINTERS, OUTER, INNER] : FREE);
    for (const field of encoding.fields) {
      if (field === "rd") fields.rd = this.#chance(20) ? 0 : this.#pick(FREE);
      else if (field === "rs1" || field === "rs2") fields[field] = source();
      else if (field === "rm") fields.rm = this.#pick([0, 7, 7, this.#below(5)]);
      else if (field === "imm") fields.imm = this.#immediate(encoding, row);
      else fields[field] = this.#below(12);
    }
    this.#words.push(putFields(encoding, { ...fields, ...given }));
  }

  #immediate({ slices, signedBits }: typeof INSTRUCTIONS.encodings[number], row: Row): number {
    if (ACCESSES.includes(row)) return this.#chance(2) ? 8 * this.#below(16) : this.#below(256) - 64;
    const parts = slices.filter((slice) => slice.field === "imm");
    const low = Math.min(...parts.map((slice) => slice.low));
    const bits = Number(this.#random.bits(32));
    if (signedBits) return bits << 32 - signedBits >> 32 - signedBits >> low << low;
    return bits >>> 0 & 2 ** Math.max(...parts.map((slice) => slice.low + slice.width)) - 1;
  }

  #setUp(pc: number): Nudge {
    const words = this.#words;
    const handler = [
      encode("csrrw", { rd: 31, csr: 0x340, rs1: 31 }),
      encode("csrrs", { rd: 31, csr: 0x342, rs1: 0 }),
      encode("blt", { rs1: 31, rs2: 0, imm: 16 }), // an interrupt
      encode("csrrs", { rd: 31, csr: 0x341, rs1: 0 }),
      encode("addi", { rd: 31, rs1: 31, imm: 4 }),
      encode("csrrw", { rd: 0, csr: 0x341, rs1: 31 }),
      encode("addi", { rd: 31, rs1: 0, imm: -1 }),
      encode("csrrw", { rd: 0, csr: 0x14d, rs1: 31 }), // stimecmp: no more of these
      encode("csrrw", { rd: 0, csr: 0x344, rs1: 0 }),
      encode("csrrw", { rd: 31, csr: 0x340, rs1: 31 }),
      encode("mret"),
    ];
    const user = [encode("addi", { rd: 6, rs1: 6, imm: 1 }), encode("ecall")];
    const sHandler = [encode("csrrs", { rd: TARGET, rs1: 0, csr: 0x140 }), encode("jalr", { rs1: TARGET })];
    const scheme = this.#pick([0, 8, 9, 10] as const);
    const superpage = this.#chance(2);
    const values = Array.from({ length: 32 }, () => this.#random.operand("l"));
    const data = Array.from({ length: 2048 }, () => this.#random.operand("d"));
    return (rig) => {
      const { hart } = rig;
      hart.start({ pc: BigInt(pc), mode: "M" });
      rig.program(RAM_BASE, words);
      rig.program(HANDLER, handler);
      rig.program(USER, user);
      rig.program(S_HANDLER, sHandler);
      data.forEach((value, i) => rig.poke(DATA + 8 * i, value));
      hart.set("mtvec", BigInt(HANDLER));
      hart.set("mcounteren", 7n);
      hart.set("pmpaddr0", -1n);
      hart.set("pmpcfg0", 0x1fn);
      hart.set("menvcfg", 1n << 63n | 1n << 61n);
      hart.set("mie", 0x2an | 0x800n);
      hart.set("mstatus", 0x6008n);
      for (const n of FREE) hart.set(`x${n}`, values[n]);
      hart.set("sp", BigInt(STACK));
      hart.set("medeleg", 1n << 8n);
      hart.set("stvec", BigInt(S_HANDLER));
      hart.set(`x${SPP}`, 0x100n);
      hart.set(`x${USER_CODE}`, BigInt(USER));
      [1n << 18n, 0x6000n, 0x2000n, 2n].forEach((bits, i) => hart.set(`x${BITS[i]}`, bits));
      if (!scheme) return;
      const tables = new PageTables(rig, TABLES);
      const flags = PTE.V | PTE.R | PTE.W | PTE.X;
      if (superpage) {
        tables.map(BigInt(RAM_BASE), RAM_BASE, flags, 1);
        tables.map(USER_ALIAS, RAM_BASE, flags | PTE.U, 1);
        hart.set(`x${USER_CODE}`, USER_ALIAS + BigInt(USER - RAM_BASE));
      } else {
        // A page of data that S-mode needs SUM for, and the user's code.
        const users = [DATA + PAGE, USER];
        for (let at = RAM_BASE; at < RAM_BASE + 0x4_0000; at += PAGE) {
          tables.map(BigInt(at), at, users.includes(at) ? flags | PTE.U : flags);
        }
      }
      tables.map(BigInt(DEVICE_BASE), DEVICE_BASE, flags);
      hart.set("satp", tables.satp(scheme));
      hart.mode = 1;
      hart.contextChanged();
    };
  }

  #disturb(): Nudge[] {
    const nudges: Nudge[] = [];
    const set = (name: string, value: bigint) => nudges.push(({ hart }) => hart.set(name, value));
    for (const pointer of POINTERS) {
      const offset = 256 + this.#below(3) * PAGE + this.#pick([0, 0, 4, 3840 - 4, this.#below(2048)]);
      set(`x${pointer}`, BigInt(this.#chance(40) ? DEVICE_BASE : DATA + offset));
    }
    if (this.#chance(20)) set(`x${this.#pick(POINTERS)}`, this.#chance(2) ? 0n : this.#random.bits(64));
    set(`x${PATCH}`, BigInt(RAM_BASE + 4 * this.#pick([...this.#patches, (DATA - RAM_BASE) / 4])));
    set(`x${NEW}`, BigInt(encode("addi", { rd: 6, rs1: 6, imm: this.#below(2048) })));
    if (this.#chance(8)) {
      const [at, imm] = [this.#pick([...this.#patches, (DATA - RAM_BASE) / 4]), this.#below(2048)];
      nudges.push((rig) => rig.program(RAM_BASE + 4 * at, [encode("addi", { rd: 7, rs1: 6, imm })]));
    }
    if (this.#chance(6)) set("fcsr", BigInt(this.#below(this.#chance(4) ? 8 : 5) << 5));
    if (this.#chance(10)) nudges.push(({ hart }) => hart.setInterrupt(1, true));
    if (this.#chance(4)) {
      const ticks = BigInt(this.#below(Math.ceil(this.stepsPerLeg / 10)));
      nudges.push(({ hart }) => hart.set("stimecmp", hart.time + ticks));
    }
    if (this.#chance(20)) nudges.push(({ hart }) => hart.flushTranslations());
    return nudges;
  }
}
