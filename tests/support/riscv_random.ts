// Random programs for the lockstep test: instructions of all extensions, pages of all kinds, changes from outside.

import { executeSystem } from "../../plugins/riscv/system.ts";
import { MODE } from "../../plugins/riscv/cause.ts";
import { CSRS } from "../../plugins/riscv/csrs.ts";
import { putFields } from "../../plugins/riscv/encoding.ts";
import type { RiscvHart } from "../../plugins/riscv/hart.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import type { Fields, Row } from "../../plugins/riscv/rows/row.ts";
import { Operands } from "../plugins/riscv/fp_operands.ts";
import type { Leg, Nudge } from "./riscv_lockstep.ts";
import { PageTables, PTE } from "./riscv_pages.ts";
import { DEVICE_BASE, encode, RAM_BASE, type Rig } from "./riscv_rig.ts";

export const RAM_SIZE = 4 * 2 ** 20;
const PAGE = 4096;
const CODE_PAGES = 8;
const DATA_PAGES = 8;
const DATA = RAM_BASE + CODE_PAGES * PAGE;
/** Far from what programs store to: an entry that changes without a fence may go either way. */
const TABLES = RAM_BASE + 3 * 2 ** 20;
const HANDLER = RAM_BASE + CODE_PAGES * PAGE - 64;
const HANDLER_FLAGS = PTE.V | PTE.R | PTE.X | PTE.A;
/** Where the same pages are seen again: by 4 KiB pages in the upper half, by superpages of 2 MiB and 1 GiB. */
const ALIAS = -(1n << 37n);
const MEGA = 0x4000_0000n;
const USER_MEGA = MEGA + 0x20_0000n;
const GIGA = 0x1_0000_0000n;
const SUPERPAGES = [MEGA, USER_MEGA, GIGA];

/** Registers that programs leave alone: two values for satp. */
const SATP_REGISTERS = [26, 27];
const POINTERS = [2, 16, 17, 18, 19, 20, 21];
const CODE_POINTERS = [22, 23, 24, 25];

const named = (pattern: RegExp): Row[] => INSTRUCTIONS.rows.filter((row) => pattern.test(row.name));
const GROUPS = {
  branches: named(/^(b(eq|ne|lt|ge)u?|jal)$/),
  accesses: named(/^(l[bhwd]u?|s[bhwd]|fl[wd]|fs[wd])$/),
  atomics: named(/^(amo|lr|sc)/),
  floats: INSTRUCTIONS.rows.filter((row) => row.float && !/^f[ls][wd]$/.test(row.name)),
  csrs: named(/^csr/),
  system: named(/^(ecall|ebreak|[ms]ret|wfi|pause|fence|fence\.i|sfence|sinval)/),
  integers: INSTRUCTIONS.rows.filter((row) =>
    !row.float && !/^(b(eq|ne|lt|ge)u?|jalr?|l[bhwd]u?|s[bhwd]|amo.*|lr.*|sc\..*|csr.*|.*ret|wfi)$/.test(row.name) &&
    !/0001111$|1110011$/.test(row.bits)
  ),
};

/** CSRs that programs write freely. The others decide on too much, or are written by `nudges` below. */
const WRITTEN = CSRS.filter(({ name }) => !/^(satp|mtvec|stvec|pmp|mhpm|hpm|medeleg)/.test(name)).map((c) => c.number);
const ALL_CSRS = CSRS.map(({ number }) => number);

/** SFENCE.VMA from machine mode, its operands in a0 and a1. */
function fence(hart: RiscvHart, address?: bigint, asid?: bigint): void {
  const { mode } = hart;
  const [a0, a1] = [hart.x(10), hart.x(11)];
  hart.mode = MODE.M;
  if (address !== undefined) hart.setX(10, address);
  if (asid !== undefined) hart.setX(11, asid);
  executeSystem(hart, "sfence.vma", (asid === undefined ? 0 : 11) << 13 | (address === undefined ? 0 : 10) << 23, 0, 4);
  hart.mode = mode;
  hart.setX(10, a0);
  hart.setX(11, a1);
}

/** A machine's worth of random. */
export class RandomProgram {
  readonly #random: Operands;
  /** Offsets of instructions that jumps go to, the last few of them, and of the one that is being made. */
  readonly #entries: number[] = [];
  #recent: number[] = [];
  #at = 0;
  /** Where the tables' entries are; the same in both rigs. */
  #tables!: PageTables;

  constructor(readonly seed: number, readonly legs: number, readonly stepsPerLeg: number) {
    this.#random = new Operands(seed);
  }

  /** The legs of a run; the first builds everything. */
  make(): Leg[] {
    const legs: Leg[] = [{ nudges: this.#setUp(), steps: 0 }];
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

  // ------------------------------------------------------------ building

  #setUp(): Nudge[] {
    const code = Array.from({ length: CODE_PAGES * PAGE / 4 }, () => 0);
    const halves = new Uint16Array(code.length * 2);
    for (let at = 0; at < halves.length;) {
      if (this.#chance(80)) this.#entries.push(2 * at);
      if (this.#chance(4)) this.#recent = [...this.#recent.slice(-7), 2 * at];
      this.#at = 2 * at;
      const { bits, length } = this.#instruction();
      halves[at++] = bits;
      if (length === 4 && at < halves.length) halves[at++] = bits >>> 16;
    }
    new Uint32Array(halves.buffer).forEach((word, i) => code[i] = word);
    // Handlers go on elsewhere, a little further at each trap.
    const skip = [
      ...[encode("addi", { rd: 24, rs1: 24, imm: 10 }), encode("csrrw", { csr: 0x341, rs1: 24 }), encode("mret"), 0],
      ...[encode("addi", { rd: 25, rs1: 25, imm: 10 }), encode("csrrw", { csr: 0x141, rs1: 25 }), encode("sret"), 0],
    ];
    const data = Array.from({ length: DATA_PAGES * PAGE / 8 }, () => this.#random.bits(64));
    const flags = Array.from({ length: 64 }, (_, i) => this.#leafFlags(i > 15 && i < 32 || i > 41));
    const scrambled = Array.from({ length: 64 }, () => this.#chance(12) ? this.#below(CODE_PAGES + DATA_PAGES) : -1);
    const pmp = this.#pmp();
    return [
      (rig) => {
        rig.hart.start({ pc: BigInt(RAM_BASE), mode: "M" });
        rig.program(RAM_BASE, code);
        rig.program(HANDLER, skip);
        data.forEach((value, i) => rig.poke(DATA + 8 * i, value));
        this.#tables = this.#map(rig, flags, scrambled);
        rig.hart.set("mtvec", BigInt(HANDLER));
        rig.hart.set("stvec", BigInt(HANDLER + 16));
      },
      ...pmp,
    ];
  }

  /** Of a page for users (or for the supervisor), mostly with all permissions. */
  #leafFlags(user: boolean): number {
    const { V, R, W, X, U, G, A, D } = PTE;
    const usual = V | R | W | X | A | D | (user === this.#chance(12) ? 0 : U) | (this.#chance(3) ? G : 0);
    if (!this.#chance(4)) return usual;
    return usual & ~this.#pick([W, W | D, X, D, A, A | D, R | W, V, R, V | X]);
  }

  #map(rig: Rig, flags: number[], scrambled: number[]): PageTables {
    const tables = new PageTables(rig, TABLES);
    for (let i = 0; i < CODE_PAGES + DATA_PAGES; i++) {
      for (const [window, base] of [BigInt(RAM_BASE), ALIAS].entries()) {
        const at = window * 16 + i;
        const page = scrambled[at] < 0 ? i : scrambled[at];
        if (at === CODE_PAGES - 1) tables.map(base + BigInt(i * PAGE), RAM_BASE + i * PAGE, HANDLER_FLAGS);
        else tables.map(base + BigInt(i * PAGE), RAM_BASE + page * PAGE, flags[at]);
      }
    }
    tables.map(MEGA, RAM_BASE, flags[40], 1);
    tables.map(USER_MEGA, RAM_BASE + (flags[41] & PTE.A ? 0 : PAGE), flags[42], 1);
    tables.map(GIGA, RAM_BASE, flags[43], 2);
    tables.map(BigInt(DEVICE_BASE), DEVICE_BASE, flags[44]);
    return tables;
  }

  #pmp(): Nudge[] {
    const set = (name: string, value: bigint): Nudge => (rig) => rig.hart.set(name, value);
    const everything = [set("pmpaddr15", -1n), set("pmpcfg2", 0x1fn << 56n)];
    if (this.#chance(2)) return everything;
    const nudges: Nudge[] = [];
    let cfg = 0n;
    for (let i = 0; i < 8; i++) {
      // Not where the handlers are.
      const page = this.#pick([0, 1, 2, 3, 4, CODE_PAGES, CODE_PAGES + 1, CODE_PAGES + 2, CODE_PAGES + 4]);
      const at = RAM_BASE + page * PAGE + this.#below(PAGE / 8) * 8;
      const size = this.#pick([0, 1, 3, 7, 511]); // of NAPOT: trailing ones
      nudges.push(set(`pmpaddr${i}`, BigInt(at) >> 2n | BigInt(size)));
      const lock = this.#chance(40) ? 0x80 : 0;
      const permissions = this.#pick([7, 7, 5, 3, 1, 4, 0]);
      cfg |= BigInt(lock | this.#below(4) << 3 | permissions) << BigInt(8 * i);
    }
    return [...nudges, set("pmpcfg0", cfg), ...everything];
  }

  // ------------------------------------------------------------ instructions

  #instruction(): { bits: number; length: number } {
    const kind = this.#below(100);
    if (kind < 34) return this.#of(this.#pick(GROUPS.integers));
    if (kind < 54) return this.#of(this.#pick(GROUPS.accesses));
    if (kind < 59) return this.#of(this.#pick(GROUPS.atomics));
    if (kind < 67) return this.#of(this.#pick(GROUPS.branches));
    if (kind < 68) return this.#of(INSTRUCTIONS.rows[INSTRUCTIONS.indexOf("jalr")]);
    if (kind < 76) return this.#of(this.#pick(GROUPS.floats));
    if (kind < 80) return this.#of(this.#pick(GROUPS.csrs));
    if (kind < 82) return this.#of(this.#pick(GROUPS.system));
    if (kind < 99) return this.#compressed();
    return { bits: this.#random.below(2 ** 32), length: 4 };
  }

  #compressed(): { bits: number; length: number } {
    while (true) {
      const bits = this.#below(2 ** 16);
      const decoded = INSTRUCTIONS.decode(bits);
      if (decoded?.length !== 2) continue;
      const { name } = decoded.row;
      if (SATP_REGISTERS.includes(decoded.fields.rd) || name === "ebreak") continue;
      if (name === "jalr" && !this.#chance(8)) continue;
      return { bits, length: 2 };
    }
  }

  #of(row: Row): { bits: number; length: number } {
    const encoding = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(row.name)];
    const fields: Partial<Fields> = {};
    const touchesMemory = GROUPS.accesses.includes(row) || GROUPS.atomics.includes(row);
    const register = () => this.#below(16);
    for (const field of encoding.fields) {
      if (field === "rd") fields.rd = this.#chance(12) ? this.#below(26) : register();
      else if (field === "rs1") fields.rs1 = touchesMemory && !this.#chance(20) ? this.#pick(POINTERS) : register();
      else if (field === "rs2") fields.rs2 = register();
      else if (field === "rm") fields.rm = this.#chance(8) ? this.#below(8) : this.#pick([0, 7]);
      else if (field === "csr") fields.csr = this.#chance(10) ? this.#below(4096) : this.#pick(WRITTEN);
      else if (field !== "imm") fields[field] = this.#below(32);
    }
    if (row.name === "jalr") fields.rs1 = this.#pick([...CODE_POINTERS, 1, 1, 5]);
    if (/^jalr?$/.test(row.name) && this.#chance(2)) fields.rd = this.#pick([0, 1]);
    if (row.name.startsWith("csr")) this.#csrOperands(row, fields);
    if (row.name.endsWith(".vma")) {
      fields.rs1 = this.#pick([0, ...POINTERS]);
      fields.rs2 = this.#pick([0, 0, 5]);
    }
    if (encoding.fields.has("imm")) fields.imm = this.#immediate(row);
    return { bits: putFields(encoding, fields), length: 4 };
  }

  /** What the CSR decides upon says what it is written with. */
  #csrOperands(row: Row, fields: Partial<Fields>): void {
    if (this.#chance(8)) fields.csr = this.#pick(ALL_CSRS);
    const csr = fields.csr!;
    if (csr === 0x180) { // satp
      if (row.name === "csrrw") fields.rs1 = this.#pick(SATP_REGISTERS);
      else fields.rs1 = 0;
    } else if (csr === 0x305 || csr === 0x105 || csr >= 0x3a0 && csr < 0x3c0 && !this.#chance(6)) {
      fields.rs1 = 0;
      fields.csr = row.name.startsWith("csrrw") ? 0x340 : csr;
    }
  }

  #immediate(row: Row): number {
    const { signedBits, slices } = INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(row.name)];
    if (GROUPS.branches.includes(row)) {
      // Back to an instruction, for loops; or ahead, to whatever is there.
      return this.#recent.length && this.#chance(3) ? this.#pick(this.#recent) - this.#at : 2 * this.#below(24);
    }
    if (row.name === "jalr") return this.#chance(3) ? 2 * this.#below(32) : 0;
    if (GROUPS.accesses.includes(row)) return this.#chance(4) ? this.#below(4096) - 2048 : this.#below(32) - 8;
    const parts = slices.filter((slice) => slice.field === "imm");
    const low = Math.min(...parts.map((slice) => slice.low));
    const bits = Number(this.#random.bits(32));
    if (signedBits) return bits << 32 - signedBits >> 32 - signedBits >> low << low;
    return bits >>> 0 & (2 ** Math.max(...parts.map((slice) => slice.low + slice.width)) - 1);
  }

  // ------------------------------------------------------------ changes from outside

  /** An address that is likely to be accessible in `mode`. */
  #address(base: number, pages: number, mode: number): bigint {
    const offset = this.#below(pages) * PAGE + this.#pick([0, 8, 4092, 4094, 4095, 4088, this.#below(PAGE)]);
    const odd = this.#below(48);
    if (odd === 0) return this.#random.bits(64);
    if (odd < 3) return BigInt(DEVICE_BASE + this.#below(72) * 4);
    const windows = odd < 8
      ? [BigInt(RAM_BASE), ALIAS, MEGA, USER_MEGA, GIGA]
      : [[ALIAS, ALIAS, USER_MEGA, GIGA], [BigInt(RAM_BASE), BigInt(RAM_BASE), MEGA], [], [BigInt(RAM_BASE)]][mode];
    return this.#pick(windows) + BigInt(base - RAM_BASE + offset);
  }

  /** Where code may go on: mostly at one of few instructions. */
  #entry(mode: number): bigint {
    const address = this.#address(RAM_BASE, CODE_PAGES, mode);
    if (this.#chance(6)) return address & -2n;
    return (address & -(1n << 21n)) + BigInt(this.#pick(this.#entries));
  }

  #disturb(): Nudge[] {
    const nudges: Nudge[] = [this.#repair()];
    const set = (name: string, value: bigint) => nudges.push(({ hart }) => hart.set(name, value));
    const mode = this.#pick([0, 0, 0, 1, 1, 1, 1, 3] as const);
    for (let i = 1; i < 32; i++) {
      if (SATP_REGISTERS.includes(i)) continue;
      if (POINTERS.includes(i)) set(`x${i}`, this.#address(this.#chance(8) ? RAM_BASE : DATA, CODE_PAGES, mode));
      else if (CODE_POINTERS.includes(i)) set(`x${i}`, this.#entry(mode));
      else if (this.#chance(2)) set(`x${i}`, this.#random.operand("l"));
    }
    for (let i = 0; i < 32; i++) {
      const value = this.#chance(3) ? this.#random.operand("s") | 0xffffffff00000000n : this.#random.operand("d");
      if (this.#chance(4)) set(`f${i}`, value);
    }
    const satps = SATP_REGISTERS.map((register) => {
      const [mode, asid] = [this.#pick([8, 8, 9, 10] as const), this.#below(4)];
      const odd = this.#pick([0n, 0n, 0n, 0n, 0n, 0n, 2n << 60n, -1n]);
      const give: Nudge = (rig) => rig.hart.set(`x${register}`, odd || this.#tables.satp(mode, asid));
      nudges.push(give);
      return give;
    });
    if (this.#chance(3)) nudges.push(satps[0], (rig) => rig.hart.set("satp", rig.hart.get("x26")));
    if (this.#chance(2)) this.#changeControl(set);
    this.#changeLines(nudges);
    if (this.#chance(3)) nudges.push(this.#changeTables());
    if (this.#chance(6)) nudges.push(this.#changeCode());
    if (this.#chance(30)) nudges.push((rig) => rig.hart.flushTranslations());
    nudges.push(({ hart }) => {
      hart.state.waiting = false;
      hart.mode = mode;
      hart.contextChanged();
    });
    set("pc", this.#entry(mode));
    return nudges;
  }

  #changeControl(set: (name: string, value: bigint) => void): void {
    // FS on; MPRV, TVM, TW and TSR now and then.
    const status = (this.#random.bits(23) | 0x6000n) & ~(this.#random.bits(23) | this.#random.bits(23)) | 0x2000n;
    if (this.#chance(2)) set("mstatus", status);
    if (this.#chance(3)) set("medeleg", this.#random.bits(16) | this.#random.bits(16));
    if (this.#chance(3)) set("mideleg", this.#random.bits(12));
    if (this.#chance(3)) set("mie", this.#random.bits(12));
    if (this.#chance(4)) set("menvcfg", this.#random.bits(64));
    if (this.#chance(4)) set("mcounteren", this.#random.bits(32));
    if (this.#chance(4)) set("stimecmp", this.#chance(2) ? -1n : BigInt(this.#below(500)));
    const odd = this.#chance(10) ? this.#below(64) : 0;
    set("mtvec", BigInt(HANDLER + odd + (this.#chance(4) ? 1 : 0)));
    set("stvec", BigInt(HANDLER + 16 + odd + (this.#chance(4) ? 1 : 0)));
  }

  #changeLines(nudges: Nudge[]): void {
    const [line, raised] = [this.#pick([1, 3, 7, 9, 11]), this.#chance(4)];
    nudges.push(({ hart }) => {
      hart.set("mip", 0n);
      for (const each of [1, 3, 7, 9, 11]) hart.setInterrupt(each, raised && each === line);
    });
  }

  /** Changes a page table's entry, then fences as little as is right. */
  #changeTables(): Nudge {
    const [which, page] = [this.#below(1000), this.#below(CODE_PAGES + DATA_PAGES)];
    const flagsOf = [this.#leafFlags(false), this.#leafFlags(true)];
    const kind = this.#below(8);
    const reserved = this.#chance(12) ? 1n << BigInt(54 + this.#below(10)) : 0n;
    return (rig) => {
      const { hart } = rig;
      const { leaves, pointers } = this.#tables;
      if (kind === 0) {
        const { at, value } = pointers[which % pointers.length];
        rig.poke(at, which & 1 ? value ^ BigInt(page << 4) : value ^ reserved);
        return fence(hart);
      }
      const { at, address } = leaves[which % leaves.length];
      if (rig.peek(at) % 1024n === BigInt(HANDLER_FLAGS)) return;
      const flags = flagsOf[Number(address < 0n || address === USER_MEGA)];
      const physical = SUPERPAGES.includes(address) ? which % 16 === 1 ? page : 0 : which & 1 ? page : undefined;
      const ppn = physical === undefined ? rig.peek(at) & ~0x3ffn : BigInt(RAM_BASE / PAGE + physical) << 10n;
      rig.poke(at, ppn | BigInt(flags) | reserved);
      if (kind < 4) return fence(hart, address + BigInt(which % 8));
      for (let asid = 0n; asid < 4n; asid++) {
        fence(hart, kind < 6 ? address : undefined, flags & PTE.G ? undefined : asid);
      }
    };
  }

  /** Puts the pointers of the tables right. */
  #repair(): Nudge {
    return (rig) => {
      const broken = this.#tables.pointers.filter(({ at, value }) => rig.peek(at) !== value);
      for (const { at, value } of broken) rig.poke(at, value);
      if (broken.length) fence(rig.hart);
    };
  }

  /** A device writes to code. */
  #changeCode(): Nudge {
    const at = RAM_BASE + this.#below(CODE_PAGES * PAGE / 4 - 32) * 4;
    const { bits } = this.#of(this.#pick(GROUPS.integers));
    return (rig) => rig.program(at, [bits]);
  }
}
