// Control and status registers, one row each (privileged specification 20240411, chapters 2, 3 and 10; Sstc).

import { STATUS } from "./cause.ts";
import { SLOT } from "./layout.ts";
import { PMP_ENTRIES } from "./pmp.ts";
import type { RiscvHart } from "./hart.ts";

/** One CSR. Privilege and read-only-ness are in its number. */
export interface Csr {
  readonly number: number;
  readonly name: string;
  read(h: RiscvHart): bigint;
  /** Absent: what is written is ignored (WARL). */
  write?(h: RiscvHart, value: bigint): void;
  /** Whether it is there now, beyond what its number says. */
  accessible?(h: RiscvHart): boolean;
}

/** CSRs that are plain 64-bit storage in the hart's block, and the bits that can be written. */
const STORED = [
  ["sscratch", 0x140, -1n],
  ["sepc", 0x141, -2n],
  ["scause", 0x142, -1n],
  ["stval", 0x143, -1n],
  ["stvec", 0x105, -3n],
  ["mscratch", 0x340, -1n],
  ["mepc", 0x341, -2n],
  ["mcause", 0x342, -1n],
  ["mtval", 0x343, -1n],
  ["mtvec", 0x305, -3n],
] as const;
export type StoredCsr = typeof STORED[number][0];

/** Offsets of the stored CSRs in a hart's block. */
export const STORED_SLOT = Object.fromEntries(STORED.map(([name], i) => [name, SLOT.csr + 8 * i])) as Record<
  StoredCsr,
  number
>;

/** The stored CSRs by number: where each stands, and the bits of its low half that can be written. */
export const STORED_BY_NUMBER: readonly ({ readonly slot: number; readonly mask: number } | undefined)[] = STORED
  .reduce<
    ({ slot: number; mask: number } | undefined)[]
  >((table, [name, number, mask]) => {
    table[number] = { slot: STORED_SLOT[name], mask: Number(mask) };
    return table;
  }, Array(0x1000).fill(undefined));

/** The CSRs of floating point, by number. */
export const CSR = { fflags: 0x001, frm: 0x002, fcsr: 0x003 } as const;
export const TIME_NUMBER = 0xc01;

export const SSTATUS_NUMBER = 0x100;
/** The bits of mstatus that sstatus shows. */
export const SSTATUS = STATUS.SIE | STATUS.SPIE | STATUS.SPP | STATUS.FS | STATUS.SUM | STATUS.MXR;
export const UXL = 2n << 32n;
const SXL = 2n << 34n;
/** What may be delegated to S-mode. */
const EXCEPTIONS = 0xb3ff;
export const S_INTERRUPTS = 0x222;
const ALL_INTERRUPTS = 0xaaa;
export const ENVCFG = { FIOM: 1n, ADUE: 1n << 61n, STCE: 1n << 63n } as const;
export const COUNTER = { cycle: 0, time: 1, instret: 2 } as const;
/** RV64 with A, B, C, D, F, I, M, S, U. */
const MISA = 2n << 62n | BigInt("ABCDFIMSU".split("").reduce((bits, c) => bits | 1 << c.charCodeAt(0) - 65, 0));

const low = (value: bigint): number => Number(BigInt.asIntN(32, value));

function constant(number: number, name: string, value: bigint): Csr {
  return { number, name, read: () => value };
}

function counter(number: number, name: string, which: number, read: (h: RiscvHart) => bigint): Csr {
  return { number, name, read, accessible: (h) => h.mayCount(which) };
}

const numbered = (from: number, to: number, row: (i: number) => Csr): Csr[] =>
  Array.from({ length: to - from + 1 }, (_, i) => row(from + i));

/** All CSRs. */
export const CSRS: readonly Csr[] = [
  ...STORED.map(([name, number, mask]): Csr => ({
    number,
    name,
    read: (h) => h.stored(name),
    write: (h, value) => h.store(name, value & mask),
  })),

  // floating point
  {
    number: CSR.fflags,
    name: "fflags",
    accessible: (h) => h.floatOn,
    read: (h) => BigInt(h.fcsr & 31),
    write: (h, value) => h.fcsr = h.fcsr & ~31 | low(value) & 31,
  },
  {
    number: CSR.frm,
    name: "frm",
    accessible: (h) => h.floatOn,
    read: (h) => BigInt(h.fcsr >> 5),
    write: (h, value) => h.fcsr = h.fcsr & 31 | (low(value) & 7) << 5,
  },
  {
    number: CSR.fcsr,
    name: "fcsr",
    accessible: (h) => h.floatOn,
    read: (h) => BigInt(h.fcsr),
    write: (h, value) => h.fcsr = low(value) & 0xff,
  },

  // counters
  counter(0xc00, "cycle", COUNTER.cycle, (h) => h.cycle),
  counter(TIME_NUMBER, "time", COUNTER.time, (h) => h.time),
  counter(0xc02, "instret", COUNTER.instret, (h) => h.instret),
  ...numbered(3, 31, (i) => counter(0xc00 + i, `hpmcounter${i}`, i, () => 0n)),

  // supervisor
  {
    number: SSTATUS_NUMBER,
    name: "sstatus",
    read: (h) => h.readStatus(SSTATUS, UXL),
    write: (h, value) => h.writeStatus(low(value), SSTATUS),
  },
  {
    number: 0x104,
    name: "sie",
    read: (h) => BigInt(h.mie & h.mideleg),
    write: (h, value) => h.mie = h.mie & ~h.mideleg | low(value) & h.mideleg,
  },
  {
    number: 0x106,
    name: "scounteren",
    read: (h) => BigInt(h.state.scounteren >>> 0),
    write: (h, value) => h.state.scounteren = low(value),
  },
  {
    number: 0x10a,
    name: "senvcfg",
    read: (h) => h.state.senvcfg,
    write: (h, value) => h.state.senvcfg = value & ENVCFG.FIOM,
  },
  {
    number: 0x144,
    name: "sip",
    read: (h) => BigInt(h.pending & h.mideleg),
    write: (h, value) => h.writePending(low(value), h.mideleg & 2),
  },
  {
    number: 0x14d,
    name: "stimecmp",
    accessible: (h) => h.mayCompareTime,
    read: (h) => h.state.stimecmp,
    write: (h, value) => h.setTimeCompare(value),
  },
  {
    number: 0x180,
    name: "satp",
    accessible: (h) => h.mayManageMemory,
    read: (h) => h.mmu.satp,
    write: (h, value) => h.writeSatp(value),
  },

  // machine
  constant(0xf11, "mvendorid", 0n),
  constant(0xf12, "marchid", 0n),
  constant(0xf13, "mimpid", 0n),
  { number: 0xf14, name: "mhartid", read: (h) => BigInt(h.index) },
  constant(0xf15, "mconfigptr", 0n),
  {
    number: 0x300,
    name: "mstatus",
    read: (h) => h.readStatus(-1, UXL | SXL),
    write: (h, value) => h.writeStatus(low(value), -1),
  },
  { ...constant(0x301, "misa", MISA) },
  {
    number: 0x302,
    name: "medeleg",
    read: (h) => BigInt(h.medeleg),
    write: (h, value) => h.medeleg = low(value) & EXCEPTIONS,
  },
  {
    number: 0x303,
    name: "mideleg",
    read: (h) => BigInt(h.mideleg),
    write: (h, value) => h.mideleg = low(value) & S_INTERRUPTS,
  },
  {
    number: 0x304,
    name: "mie",
    read: (h) => BigInt(h.mie),
    write: (h, value) => h.mie = low(value) & ALL_INTERRUPTS,
  },
  {
    number: 0x306,
    name: "mcounteren",
    read: (h) => BigInt(h.state.mcounteren >>> 0),
    write: (h, value) => h.state.mcounteren = low(value),
  },
  {
    number: 0x30a,
    name: "menvcfg",
    read: (h) => h.state.menvcfg,
    write: (h, value) => h.writeEnvironment(value & (ENVCFG.FIOM | ENVCFG.ADUE | ENVCFG.STCE)),
  },
  constant(0x320, "mcountinhibit", 0n),
  ...numbered(3, 31, (i) => constant(0x320 + i, `mhpmevent${i}`, 0n)),
  {
    number: 0x344,
    name: "mip",
    read: (h) => BigInt(h.pending),
    write: (h, value) => h.writePending(low(value), S_INTERRUPTS),
  },
  ...[0, 1].map((half): Csr => ({
    number: 0x3a0 + half * 2,
    name: `pmpcfg${half * 2}`,
    read: (h) => new DataView(h.pmp.cfg.buffer).getBigUint64(half * 8, true),
    write: (h, value) => {
      for (let i = 0; i < 8; i++) h.pmp.writeCfg(half * 8 + i, Number(value >> BigInt(8 * i) & 0xffn));
      h.protectionChanged();
    },
  })),
  ...numbered(0, PMP_ENTRIES - 1, (i): Csr => ({
    number: 0x3b0 + i,
    name: `pmpaddr${i}`,
    read: (h) => h.pmp.address[i],
    write: (h, value) => {
      h.pmp.writeAddress(i, value);
      h.protectionChanged();
    },
  })),
  { number: 0xb00, name: "mcycle", read: (h) => h.cycle, write: (h, value) => h.cycle = value },
  { number: 0xb02, name: "minstret", read: (h) => h.instret, write: (h, value) => h.instret = value },
  ...numbered(3, 31, (i) => constant(0xb00 + i, `mhpmcounter${i}`, 0n)),
];
