// Cases of address translation and PMP: all permissions, kinds of access, modes, levels; pages side by side; physical regions.

import { MODE } from "../../../plugins/riscv/cause.ts";
import { PTE } from "../../support/riscv_pages.ts";
import { Random } from "../body.ts";
import { type Case, type Instruction, instruction } from "../case.ts";
import { AT } from "../runtime.ts";

const PAGE = 4096;
const STATUS = { FS: 0x6000n, MPRV: 1n << 17n, SUM: 1n << 18n, MXR: 1n << 19n } as const;
const SCHEMES = [8, 9, 10] as const;
type Scheme = typeof SCHEMES[number];
const levelsOf = (scheme: Scheme): number => scheme - 5;

/** An entry: a physical address and flags. */
const entry = (physical: number, flags: number): bigint => BigInt(Math.floor(physical / PAGE)) << 10n | BigInt(flags);

/** Page tables as a case's list of writes. */
class Tables {
  readonly #writes = new Map<number, bigint>();
  readonly #tables = new Map<string, number>();
  #next: number = AT.tables;

  constructor(readonly scheme: Scheme) {
    this.#table(levelsOf(scheme) - 1, 0n);
    const all = PTE.V | PTE.R | PTE.W | PTE.X | PTE.A | PTE.D;
    this.map(0x8000_0000n, entry(AT.ram, all | PTE.U), 2); // the user's window
    this.map(0x1_0000_0000n, entry(AT.ram, all), 2); // the supervisor's
  }

  satp(asid = 0): bigint {
    return BigInt(this.scheme) << 60n | BigInt(asid) << 44n | BigInt(AT.tables / PAGE);
  }

  map(address: bigint, leaf: bigint, level: number): void {
    let table = this.#table(levelsOf(this.scheme) - 1, 0n);
    for (let at = levelsOf(this.scheme) - 1; at > level; at--) {
      const slot = table + 8 * index(address, at);
      table = this.#table(at - 1, address);
      if (!this.#writes.has(slot)) this.#writes.set(slot, entry(table, PTE.V));
    }
    this.#writes.set(table + 8 * index(address, level), leaf);
  }

  get writes(): [number, bigint][] {
    return [...this.#writes];
  }

  #table(level: number, address: bigint): number {
    const key = `${level} ${address >> BigInt(12 + 9 * (level + 1))}`;
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    this.#tables.set(key, this.#next);
    return (this.#next += PAGE) - PAGE;
  }
}

function index(address: bigint, level: number): number {
  return Number(address >> BigInt(12 + 9 * level) & 511n);
}

const [RESULT, VALUE, SUM, BASE, STRIDE, CONTROL, LEFT] = [10, 11, 12, 18, 19, 20, 21];
const load = instruction("ld", { rd: RESULT, rs1: BASE });
const store = instruction("sd", { rs2: VALUE, rs1: BASE });
const reserve = instruction("lr.d", { rd: RESULT, rs1: BASE });
// QEMU faults only where it has a reservation: elsewhere the store shows where a fault is right.
const conditional = [instruction("sc.d", { rd: RESULT, rs1: BASE, rs2: VALUE }), store];
/** Kinds of accesses: instructions one after the other. */
const ACCESSES: Readonly<Record<string, readonly Instruction[]>> = {
  load: [load],
  store: [store],
  atomic: [instruction("amoadd.d", { rd: RESULT, rs1: BASE, rs2: VALUE })],
  reserve: [reserve],
  conditional,
  pair: [reserve, ...conditional],
  fetch: [instruction("jalr", { rd: 1, rs1: BASE })],
};
const KINDS = Object.keys(ACCESSES);

/** The whole matrix of permissions, in cases of 64 entries. */
const BLOCKS = 4;
export const MATRIX = SCHEMES.length * BLOCKS * KINDS.length * 4 * 4;

/**
 * Case `index` of {@linkcode MATRIX}: in one scheme, entries with 64 of the 256 combinations of an entry's low bits, one
 * kind of access, one mode (M with MPRV twice), SUM and MXR; the level is random, and some entries' other bits.
 */
export function permissions(number: number, random: Random): Case {
  let rest = number;
  const next = (limit: number) => {
    const value = rest % limit;
    rest = Math.floor(rest / limit);
    return value;
  };
  const scheme = SCHEMES[next(SCHEMES.length)];
  const block = next(BLOCKS);
  const kind = KINDS[next(KINDS.length)];
  const mode = [MODE.S, MODE.U, MODE.S, MODE.U][rest % 4];
  const borrowed = next(4) > 1 && kind !== "fetch"; // by M-mode, with MPRV
  const control = STATUS.FS | (next(2) ? STATUS.SUM : 0n) | (next(2) ? STATUS.MXR : 0n);

  const level = random.below(levelsOf(scheme));
  const size = 1n << BigInt(12 + 9 * level);
  const first = level === 0 ? 8n << 30n | 3n << 21n | 64n << 12n : level === 1 ? 8n << 30n | 64n << 21n : 64n * size;
  const target: number = kind === "fetch" ? AT.returns : AT.data;
  const frame = target - Number(BigInt(target) % size);
  const tables = new Tables(scheme);
  for (let i = 0; i < 64; i++) {
    let leaf = entry(frame, block * 64 + i);
    if (random.chance(24)) leaf |= 1n << BigInt(54 + random.below(10)); // reserved, or of extensions that are not there
    // Where nothing is, or a superpage that is not aligned; no table, to be found in other cases' records. (An AMO is made
    // of a load and a store by QEMU, which sets only A where nothing is.)
    const isLeaf = (i & (PTE.R | PTE.W | PTE.X)) !== 0;
    const stray = level > 0 && isLeaf && random.chance(2) ? random.below(9 * level) : 24 + random.below(20);
    if (kind !== "atomic" && random.chance(24)) leaf ^= 1n << BigInt(10 + stray);
    else if (random.chance(8)) leaf |= 3n << 8n; // for software
    tables.map(first + BigInt(i) * size, leaf, level);
  }
  const code = [
    instruction("addi", { rd: RESULT, imm: 1 }),
    ...ACCESSES[kind].flatMap((access) => [
      ...borrowed ? [instruction("csrrw", { rs1: CONTROL, csr: 0x300 })] : [],
      access,
      instruction("add", { rd: SUM, rs1: SUM, rs2: RESULT }),
    ]),
    instruction("add", { rd: BASE, rs1: BASE, rs2: STRIDE }),
    instruction("addi", { rd: LEFT, rs1: LEFT, imm: -1 }),
  ];
  code.push(instruction("bne", { rs1: LEFT, imm: -4 * code.length }));
  const x = Array(32).fill(0n);
  x[BASE] = first + BigInt(target - frame);
  x[STRIDE] = size;
  x[LEFT] = 64n;
  x[VALUE] = 0x123456788n; // no valid entry: what has no permissions points to a table, which the data are then
  x[CONTROL] = control | STATUS.MPRV | BigInt(mode) << 11n;
  return {
    family: "page permissions",
    seed: number,
    mode: borrowed ? MODE.M : mode,
    window: borrowed ? "physical" : mode === MODE.U ? "user" : "supervisor",
    status: control,
    csrs: [["satp", tables.satp(random.below(16))], ["medeleg", random.pick([0n, 0xb1ffn])]],
    writes: tables.writes,
    x,
    code,
    traps: 64 * ACCESSES[kind].length + 2,
  };
}

const ALL = PTE.V | PTE.R | PTE.W | PTE.X | PTE.U | PTE.A | PTE.D;

/** Accesses and instructions across the border of two pages that need not have anything in common. */
export function borders(seed: number): Case {
  const random = new Random(seed);
  const mode = random.pick([MODE.S, MODE.U]);
  const scheme = random.pick(SCHEMES);
  const tables = new Tables(scheme);
  const first = 8n << 30n | 3n << 21n | 64n << 12n;
  const flags = () => {
    const usual = mode === MODE.U ? ALL : ALL & ~PTE.U;
    return random.chance(2) ? usual : usual ^ random.pick([PTE.V, PTE.R | PTE.W, PTE.W, PTE.X, PTE.U, PTE.A, PTE.D]);
  };
  // Swapped, both the same frame, or in order.
  const frames = random.pick([[1, 0], [0, 0], [0, 1], [1, 1]]);
  frames.forEach((frame, i) => tables.map(first + BigInt(i * PAGE), entry(AT.data + frame * PAGE, flags()), 0));
  const code: Instruction[] = [];
  const x = Array.from({ length: 32 }, () => random.bits(64));
  for (let i = 0; i < 12; i++) {
    const at = 16 + i;
    x[at] = first + BigInt(PAGE - 8 + random.below(10));
    const memory = ["lb", "lh", "lhu", "lw", "lwu", "ld", "sb", "sh", "sw", "sd", "ld", "sd"];
    const [rd, name] = [5 + i % 8, random.pick(memory)];
    code.push(name[0] === "l" ? instruction(name, { rd, rs1: at }) : instruction(name, { rs1: at, rs2: rd }));
    if (random.chance(8)) code.push(instruction("fld", { fd: 1, rs1: at }), instruction("fsd", { fs2: 1, rs1: at }));
  }
  // `addi a4, a4, 1` across the border, then `c.jr ra`.
  const border = instruction("addi", { rd: 14, rs1: 14, imm: 1 }).bits;
  const [before, behind] = frames.map((frame) => AT.data + frame * PAGE);
  const writes: [number, bigint][] = [
    ...tables.writes,
    [before + PAGE - 8, BigInt(border & 0xffff) << 48n | 0x0001_0001_0001n],
    [behind, 0x8082_0000n | BigInt(border >>> 16)],
  ];
  x[28] = first + BigInt(PAGE - random.pick([2, 2, 4, 6]));
  code.unshift(instruction("jalr", { rd: 1, rs1: 28 })); // before stores make something else of it
  return {
    family: "page borders",
    seed,
    mode,
    window: mode === MODE.U ? "user" : "supervisor",
    status: STATUS.FS | (random.chance(4) ? STATUS.SUM : 0n) | (random.chance(4) ? STATUS.MXR : 0n),
    csrs: [["satp", tables.satp()], ["medeleg", random.pick([0n, 0xb1ffn])]],
    writes,
    x,
    code,
  };
}

/** Addresses whose upper bits are no copy of the highest translated one, and such that are. */
export function canonical(seed: number): Case {
  const random = new Random(seed);
  const mode = random.pick([MODE.S, MODE.U]);
  const scheme = random.pick(SCHEMES);
  const tables = new Tables(scheme);
  const top = BigInt(12 + 9 * levelsOf(scheme));
  const flags = mode === MODE.U ? ALL : ALL & ~PTE.U;
  // The highest page of all, and the lowest of the upper half.
  const high = (1n << top) - 4096n, half = 1n << top - 1n;
  for (const address of [high, half]) tables.map(address, entry(AT.data, flags), 0);
  const x = Array<bigint>(32).fill(0n);
  const code: Instruction[] = [];
  for (let at = 16; at < 28; at++) {
    const address = random.pick([high, half, half - 4096n]);
    const extended = random.chance(2) ? BigInt.asIntN(Number(top), address) : address ^ random.bits(64) << top;
    x[at] = extended;
    const [load, offset] = [random.pick(["lb", "lw", "ld", "lbu"]), random.pick([0, 8, -8, 2040])];
    code.push(
      random.chance(4)
        ? instruction("jalr", { rd: 1, rs1: at })
        : random.chance(3)
        ? instruction("sd", { rs1: at, rs2: at, imm: offset })
        : instruction(load, { rd: 10, rs1: at, imm: offset }),
    );
  }
  return {
    family: "canonical addresses",
    seed,
    mode,
    window: mode === MODE.U ? "user" : "supervisor",
    csrs: [["satp", tables.satp()]],
    writes: tables.writes,
    x,
    code,
  };
}

const PLAIN = ["lb", "lhu", "lw", "ld", "sb", "sh", "sw", "sd", "flw", "fld", "fsw", "fsd", "ld", "sd"];
const ATOMIC = ["amoadd.w", "amoadd.d", "lr.w", "lr.d"];

/** PMP: regions of all kinds over the data, the code fetched there and (where there are some) the page tables. */
export function protection(seed: number): Case {
  const random = new Random(seed);
  const translated = random.chance(3);
  const mode = random.pick(translated ? [MODE.S, MODE.U] : [MODE.S, MODE.U, MODE.M]);
  const tables = new Tables(random.pick(SCHEMES));
  const first = 8n << 30n | 3n << 21n | 64n << 12n;
  const flags = mode === MODE.U ? ALL & ~PTE.D : ALL & ~(PTE.U | PTE.D);
  for (let i = 0; i < 3; i++) tables.map(first + BigInt(i * PAGE), entry(AT.data + i * PAGE, flags), 0);
  const leafTable = tables.writes.at(-1)![0];

  // All entries but the last one, which allows everything; some are off.
  const csrs: [string, bigint][] = [];
  let cfg = 0x1fn << 120n;
  let last = BigInt(AT.data) >> 2n;
  for (let i = 0; i < 15; i++) {
    const kind = random.chance(2) ? 0 : i === 0 ? random.pick([2, 3]) : 1 + random.below(3);
    const span = 3 * PAGE / 4;
    let address = BigInt(AT.data) / 4n + BigInt(random.chance(2) ? PAGE / 4 - 3 + random.below(6) : random.below(span));
    if (kind === 3) address = address & -8n | BigInt(random.pick([0, 1, 3, 7]));
    if (kind === 3 && random.chance(3)) address = BigInt(AT.data) / 4n + 511n + BigInt(random.below(3) * 1024);
    if (translated && kind === 3 && random.chance(4)) address = BigInt(leafTable - leafTable % PAGE) / 4n + 511n;
    if (kind === 1 && address < last) address = last;
    last = address;
    csrs.push([`pmpaddr${i}`, address]);
    cfg |= BigInt(kind << 3 | random.pick([0, 1, 3, 4, 5, 7])) << BigInt(8 * i);
  }
  const borders = csrs.map(([, address]) => Number((address << 2n) - BigInt(AT.data)));
  csrs.push(["pmpcfg0", BigInt.asUintN(64, cfg)], ["pmpcfg2", cfg >> 64n]);
  if (translated) csrs.push(["satp", tables.satp()]);
  csrs.push(["medeleg", random.pick([0n, 0xb1ffn])]);

  const x = Array.from({ length: 32 }, () => random.bits(64));
  const window = translated ? first : BigInt(AT.data);
  const code: Instruction[] = [];
  const push = (access: Instruction) => {
    if (mode === MODE.M) code.push(instruction("csrrw", { rs1: 15, csr: 0x300 }));
    code.push(access);
  };
  for (let at = 16; at < 28; at++) {
    const border = random.pick(borders); // of a region, as often as not
    const near = border >= 0 && border < 2 * PAGE - 24 && random.chance(2);
    const offset = near ? Math.max(0, border - 8 + random.below(16)) : random.below(2 * PAGE - 8);
    x[at] = window + BigInt(offset);
    const rd = 5 + at % 8;
    const name = random.pick([...PLAIN, ...ATOMIC, "jalr"]);
    if (name === "jalr") {
      x[at] = window + BigInt(2 * PAGE + 4 * random.below(1024));
      code.push(instruction("jalr", { rd: 1, rs1: at }));
      continue;
    }
    // Aligned: what is not may be made in pieces, and each judged by itself.
    x[at] &= name.endsWith("d") ? -8n : name.endsWith("w") ? -4n : /^.h/.test(name) ? -2n : -1n;
    const float = name[0] === "f";
    const operand = name.replace(/^f/, "")[0] === "s" ? { [float ? "fs2" : "rs2"]: rd } : { [float ? "fd" : "rd"]: rd };
    push(instruction(name, { rs1: at, ...operand, ...name.startsWith("amo") ? { rs2: rd } : {} }));
    if (!name.startsWith("lr.")) continue;
    const size = name.at(-1);
    push(instruction(`sc.${size}`, { rd: 13, rs1: at, rs2: rd }));
    // Without a reservation QEMU does not fault: the store shows where a fault is right.
    push(instruction(`s${size}`, { rs1: at, rs2: rd }));
    code.push(instruction("addi", { rd: 13 }));
  }
  x[15] = STATUS.FS | (random.chance(2) ? STATUS.MPRV : 0n) | BigInt(random.pick([0, 1, 3]) << 11);
  return {
    family: "protection",
    seed,
    mode,
    window: !translated ? "physical" : mode === MODE.U ? "user" : "supervisor",
    csrs,
    writes: translated ? tables.writes : [],
    x,
    code,
    traps: 32,
  };
}
