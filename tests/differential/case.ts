// A test case of differential testing: a hart's state, the code it runs in some mode, and the image that many of them make.

import { CSR_NUMBERS } from "../../plugins/riscv/assembly/syntax.ts";
import type { Mode } from "../../plugins/riscv/cause.ts";
import { F_NAMES, X_NAMES } from "../../plugins/riscv/registers.ts";
import { disassemble } from "../support/riscv_disassembler.ts";
import { encode } from "../support/riscv_rig.ts";
import {
  AT,
  DATA_BYTES,
  DESCRIPTOR,
  OWN,
  RECORD,
  RECORD_LOG,
  RECORDED,
  RECORDS_END,
  recordWords,
  runtime,
  TRAP_WORDS,
} from "./runtime.ts";

/** An instruction as it stands in memory. */
export interface Instruction {
  readonly bits: number;
  readonly length: 2 | 4;
}

/** Where a case's code is seen: at its physical address, or at an address that page tables must map. */
export const WINDOW = { physical: 0n, user: 0n, supervisor: 0x8000_0000n } as const;

/** A test case. What it does not say is zero, or as the runtime's baseline has it. */
export interface Case {
  /** What it tests, for reports and for the coverage table. */
  readonly family: string;
  /** Repeats it, with the family's name. */
  readonly seed: number;
  readonly mode: Mode;
  readonly window?: keyof typeof WINDOW;
  /** mstatus when it is entered, MPP apart; default: FS dirty. */
  readonly status?: bigint;
  /** Written in this order by M-mode. */
  readonly csrs?: readonly (readonly [name: string, value: bigint])[];
  /** Words and doublewords stored to devices by M-mode, then. */
  readonly stores?: readonly { readonly at: number; readonly value: bigint; readonly size: 4 | 8 }[];
  /** Doublewords of RAM that are set before, recorded after, and zero for other cases. */
  readonly writes?: readonly (readonly [at: number, value: bigint])[];
  readonly x?: readonly bigint[];
  readonly f?: readonly bigint[];
  readonly fcsr?: number;
  readonly code: readonly Instruction[];
  /** The most traps that it takes, its end included; it ends with the last one. Default: 24. */
  readonly traps?: number;
}

const TRAPS = 24;
/** Ends a case. */
const ECALL = encode("ecall");

/** An instruction of 4 bytes, by name. */
export function instruction(...of: Parameters<typeof encode>): Instruction {
  return { bits: encode(...of), length: 4 };
}

/** What a case's place in an image is. */
export interface Placed {
  readonly case: Case;
  readonly start: bigint;
  readonly record: number;
  readonly words: number;
  /** The halfword of the image that no case writes at a physical address, if one is there. */
  codeAt(at: bigint): number | undefined;
}

/** Cases that run one after the other in one machine. */
export class Image {
  readonly cases: Placed[] = [];
  readonly #bytes = new Uint8Array(AT.data + DATA_BYTES + 4096 - AT.ram);
  readonly #view = new DataView(this.#bytes.buffer);
  #descriptor: number = AT.cases;
  #free: number;
  #record: number = AT.records;

  constructor(most: number) {
    this.#bytes.set(runtime());
    this.#free = AT.cases + (most + 1) * DESCRIPTOR.length * 8;
    for (let at = AT.returns; at < AT.returns + 4096; at += 4) this.#word(at, encode("jalr", { rs1: 1 }));
  }

  /** Puts as many cases as there is room for into images. */
  static of(cases: readonly Case[]): Image[] {
    const images: Image[] = [];
    for (const each of cases) {
      if (!images.at(-1)?.add(each)) {
        images.push(new Image(Math.min(cases.length, 8192)));
        if (!images.at(-1)!.add(each)) throw new RangeError(`A case of ${each.family} does not fit into an image`);
      }
    }
    return images;
  }

  /** The image's bytes, for a machine that makes all cases so often. */
  bytes(passes: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes.slice();
    bytes[AT.own + OWN.passes - AT.ram] = passes;
    return bytes;
  }

  /** Where the records end. */
  get end(): number {
    return this.#record;
  }

  /** Adds a case; false if there is no room. */
  add(it: Case): boolean {
    const { mode, code, traps = TRAPS, writes = [], csrs = [], stores = [], window = "physical" } = it;
    const words = recordWords(traps, writes.length);
    const bytes = 8 * (65 + 2 * writes.length + csrs.length + 2 * stores.length) + 16 * (csrs.length + stores.length) +
      4 * code.length + 256;
    if (this.#record + 8 * words > RECORDS_END || this.#free + bytes > AT.data) return false;

    const registers = this.#take(65);
    for (let i = 1; i < 32; i++) this.#dword(registers + 8 * i, it.x?.[i] ?? 0n);
    for (let i = 0; i < 32; i++) this.#dword(registers + 256 + 8 * i, it.f?.[i] ?? 0n);
    this.#dword(registers + 512, BigInt(it.fcsr ?? 0));
    const list = this.#take(2 * writes.length);
    writes.forEach(([at, value], i) => {
      this.#dword(list + 16 * i, BigInt(at));
      this.#dword(list + 16 * i + 8, value);
    });
    const prologue = this.#prologue(csrs, stores);
    const physical = this.#free;
    for (const { bits, length } of [...code, { bits: ECALL, length: 4 }]) this.#code(bits, length);
    const end = this.#free - 4;
    this.#free = (this.#free + 7 & -8) >>> 0;

    const start = BigInt(physical) + WINDOW[window];
    const descriptor: Record<string, number | bigint> = {
      record: this.#record,
      entry: start,
      start,
      end: BigInt(end) + WINDOW[window],
      physical,
      prologue,
      registers,
      writes: list,
      count: writes.length,
      logSize: traps,
      supervisor: BigInt(AT.supervisor) + (window === "physical" ? 0n : WINDOW.supervisor),
      status: (it.status ?? 0x6000n) | BigInt(mode) << 11n,
      seed: it.seed,
    };
    for (const name of DESCRIPTOR) {
      this.#dword(this.#descriptor, BigInt(descriptor[name]));
      this.#descriptor += 8;
    }
    this.cases.push({ case: it, start, record: this.#record, words, codeAt: this.#codeAt });
    this.#record += 8 * words;
    return true;
  }

  #prologue(csrs: Case["csrs"] & object, stores: Case["stores"] & object): number {
    const values = [...csrs.map(([, value]) => value), ...stores.flatMap(({ at, value }) => [BigInt(at), value])];
    const pool = this.#take(values.length);
    values.forEach((value, i) => this.#dword(pool + 8 * i, value));
    const at = this.#free;
    const [t0, t1, t2, ra] = [5, 6, 7, 1];
    const put = (...of: Parameters<typeof encode>) => this.#code(encode(...of), 4);
    let next = pool;
    const load = (rd: number) => {
      put("auipc", { rd });
      put("ld", { rd, rs1: rd, imm: next - (this.#free - 4) });
      next += 8;
    };
    for (const [name] of csrs) {
      load(t0);
      put("csrrw", { rs1: t0, csr: CSR_NUMBERS.get(name)! });
    }
    for (const { size } of stores) {
      load(t1);
      load(t2);
      put(size === 4 ? "sw" : "sd", { rs1: t1, rs2: t2 });
    }
    put("sfence.vma"); // PMP entries hold from here on
    put("jalr", { rs1: ra });
    return at;
  }

  readonly #codeAt = (at: bigint): number | undefined => {
    const offset = Number(at) - AT.ram;
    return offset >= 0 && offset < AT.data - AT.ram ? this.#view.getUint16(offset, true) : undefined;
  };

  #take(doublewords: number): number {
    this.#free = (this.#free + 7 & -8) >>> 0;
    this.#free += 8 * doublewords;
    return this.#free - 8 * doublewords;
  }
  #dword(at: number, value: bigint): void {
    this.#view.setBigUint64(at - AT.ram, BigInt.asUintN(64, value), true);
  }
  #word(at: number, value: number): void {
    this.#view.setUint32(at - AT.ram, value, true);
  }
  #code(bits: number, length: number): void {
    this.#view.setUint16(this.#free - AT.ram, bits, true);
    if (length === 4) this.#view.setUint16(this.#free + 2 - AT.ram, bits >>> 16, true);
    this.#free += length;
  }
}

/** A record's doublewords, out of what a machine left from `AT.records` on. */
export function recordOf({ record, words }: Placed, memory: Uint8Array): BigUint64Array {
  const at = record - AT.records;
  return new BigUint64Array(memory.buffer, memory.byteOffset + at, words);
}

/** What a doubleword of a case's record is called. */
export function nameOf({ case: it }: Placed, index: number): string {
  if (index === 0) return "traps";
  if (index < RECORD.f) return X_NAMES[index];
  if (index < RECORD.fcsr) return F_NAMES[index - RECORD.f];
  if (index === RECORD.fcsr) return "fcsr";
  if (index < RECORD.data) return RECORDED[index - RECORD.csrs];
  if (index < RECORD_LOG) return `memory at 0x${(AT.data + 8 * (index - RECORD.data)).toString(16)}`;
  const inLog = index - RECORD_LOG;
  const logged = (it.traps ?? TRAPS) * TRAP_WORDS.length;
  if (inLog < logged) return `trap ${Math.floor(inLog / TRAP_WORDS.length)} ${TRAP_WORDS[inLog % TRAP_WORDS.length]}`;
  return `memory at 0x${it.writes![inLog - logged][0].toString(16)}`;
}

const hex = (value: bigint | number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

/** A case as text, to be read and repeated. */
export function describe({ case: it, start }: Placed): string {
  const { family, seed, mode, csrs = [], stores = [], writes = [], x = [], f = [] } = it;
  let pc = start;
  const code = it.code.map(({ bits, length }) => {
    const text = `  ${hex(pc)}: ${hex(bits).padEnd(10)} ${disassemble(bits, pc)}`;
    pc += BigInt(length);
    return text;
  });
  const given = (names: readonly string[], values: readonly bigint[]) =>
    names.map((name, i) => values[i] ? ` ${name}=${hex(values[i])}` : "").join("");
  return [
    `${family}, seed ${seed}: in ${"US?M"[mode]}-mode, mstatus=${hex(it.status ?? 0x6000n)}, fcsr=${hex(it.fcsr ?? 0)}`,
    ...csrs.map(([name, value]) => `  ${name} = ${hex(value)}`),
    ...stores.map(({ at, value, size }) => `  ${size} bytes at ${hex(at)} = ${hex(value)}`),
    ...writes.slice(0, 12).map(([at, value]) => `  memory at ${hex(at)} = ${hex(value)}`),
    ...writes.length > 12 ? [`  … ${writes.length} doublewords`] : [],
    ` ${given(X_NAMES, x)}${given(F_NAMES, f)}`,
    ...code,
  ].join("\n");
}
