// A vCPU's registers by name, and the states in which it is started (Intel SDM volume 3, chapters 2, 3 and 9).

import { KVM } from "./api.ts";
import type { Libc } from "./libc.ts";
import { setMsrs } from "./msrs.ts";
import { kvm_lapic_state, kvm_regs, kvm_sregs, kvm_translation, type SegmentField, Struct } from "./structures.ts";
import type { HostRam } from "./vm.ts";
import { bufferAt } from "./libc.ts";

const CR0 = { PE: 1n, ET: 1n << 4n, NE: 1n << 5n, PG: 1n << 31n } as const;
const CR4_PAE = 1n << 5n;
const EFER_LME_LMA = 1n << 8n | 1n << 10n;
const RFLAGS_FIXED = 2n;
/** Types of segment descriptors: execute/read and read/write, both accessed; a busy task. */
const TYPE = { CODE: 0xb, DATA: 3, TASK: 0xb } as const;
const DATA_SEGMENTS = ["ds", "es", "fs", "gs", "ss"] as const;
/** The selectors that Linux's boot protocols ask for. */
const SELECTOR = { CODE: 0x10, DATA: 0x18 } as const;
const MSR_IA32_MISC_ENABLE = 0x1a0;
const FAST_STRINGS = 1n;
/** The local APIC's two pins as a PC's firmware leaves them: the 8259's interrupts, and NMI. */
const LVT0 = { at: 0x350, value: 0x700 } as const;
const LVT1 = { at: 0x360, value: 0x400 } as const;
/** An instruction has at most so many bytes. */
const LONGEST = 15;
const PAGE = 4096;

type SegmentName = "cs" | "ds" | "es" | "fs" | "gs" | "ss" | "tr" | "ldt";
type Sregs = Struct<typeof kvm_sregs>;

/** How a vCPU may be started. */
export const MODES = ["real", "protected", "long"] as const;
/** One of them. */
export type Mode = typeof MODES[number];

/** The registers of one vCPU. None of it may be called while the vCPU runs. */
export class Registers {
  readonly #libc: Libc;
  readonly #fd: number;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  get general(): Struct<typeof kvm_regs> {
    const regs = new Struct(kvm_regs);
    this.#libc.ioctl("reading registers", this.#fd, KVM.GET_REGS, regs.bytes);
    return regs;
  }

  set general(regs: Struct<typeof kvm_regs>) {
    this.#libc.ioctl("setting registers", this.#fd, KVM.SET_REGS, regs.bytes);
  }

  get special(): Sregs {
    const sregs = new Struct(kvm_sregs);
    this.#libc.ioctl("reading special registers", this.#fd, KVM.GET_SREGS, sregs.bytes);
    return sregs;
  }

  set special(sregs: Sregs) {
    this.#libc.ioctl("setting special registers", this.#fd, KVM.SET_SREGS, sregs.bytes);
  }

  /** A register by name: a general one, or a special one such as `cr3` or `cs_base`. */
  get(name: string): bigint {
    if (isField(kvm_regs.fields, name)) return this.general.getBig(name);
    if (isField(kvm_sregs.fields, name)) return this.special.getBig(name);
    throw new RangeError(`Cannot read register ${name}: x86-64 has none of that name`);
  }

  /** Changes a register. */
  set(name: string, value: bigint): void {
    if (isField(kvm_regs.fields, name)) this.general = this.general.set(name, BigInt.asUintN(64, value));
    else if (isField(kvm_sregs.fields, name)) this.special = this.special.set(name, BigInt.asUintN(64, value));
    else throw new RangeError(`Cannot set register ${name}: x86-64 has none of that name`);
  }

  /**
   * The state of a start: in real mode with every segment at 0, in protected mode without paging, or in long mode
   * with the page tables that the register `cr3` names. Other registers are zero, or as given.
   */
  start(mode: Mode, pc: bigint, registers: Readonly<Record<string, bigint>>): void {
    const sregs = this.special;
    if (mode === "real") startReal(sregs, pc);
    else startFlat(sregs, mode);
    const regs = new Struct(kvm_regs).set("rip", mode === "real" ? pc & 0xffffn : pc).set("rflags", RFLAGS_FIXED);
    for (const [name, value] of Object.entries(registers)) {
      if (isField(kvm_regs.fields, name)) regs.set(name, value);
      else if (isField(kvm_sregs.fields, name)) sregs.set(name, value);
      else throw new RangeError(`Cannot set register ${name}: x86-64 has none of that name`);
    }
    this.special = sregs;
    this.general = regs;
  }

  /** What firmware would have left: fast string instructions on, the local APIC's pins in use. */
  prepare(): void {
    setMsrs(this.#libc, this.#fd, [[MSR_IA32_MISC_ENABLE, FAST_STRINGS]]);
    const lapic = new Struct(kvm_lapic_state);
    this.#libc.ioctl("reading the local APIC", this.#fd, KVM.GET_LAPIC, lapic.bytes);
    const view = new DataView(lapic.bytes.buffer);
    for (const { at, value } of [LVT0, LVT1]) view.setUint32(at, value, true);
    this.#libc.ioctl("setting the local APIC", this.#fd, KVM.SET_LAPIC, lapic.bytes);
  }

  /** The bytes of the instruction at `cs:rip`, as far as they lie in RAM. */
  instruction(ram: HostRam): Uint8Array {
    const linear = this.special.getBig("cs_base") + this.general.getBig("rip");
    const bytes: number[] = [];
    for (let i = 0; i < LONGEST;) {
      const question = new Struct(kvm_translation).set("linear_address", BigInt.asUintN(64, linear + BigInt(i)));
      this.#libc.ioctl("translating an address", this.#fd, KVM.TRANSLATE, question.bytes);
      const offset = question.get("physical_address") - ram.base;
      const length = Math.min(LONGEST - i, PAGE - offset % PAGE, ram.size - offset);
      if (!question.get("valid") || !(offset >= 0) || length <= 0) break;
      bytes.push(...new Uint8Array(bufferAt(ram.address + BigInt(offset), length)));
      i += length;
    }
    return Uint8Array.from(bytes);
  }

  /** All registers in one line, for a message. */
  describe(): string {
    const { general, special } = this;
    const hex = (value: bigint): string => value.toString(16);
    const names = Object.keys(kvm_regs.fields) as (keyof typeof kvm_regs.fields)[];
    const words = names.map((name) => `${name} ${hex(general.getBig(name))}`);
    for (const name of ["cr0", "cr2", "cr3", "cr4", "efer"] as const) {
      words.push(`${name} ${hex(special.getBig(name))}`);
    }
    return `${words.join(", ")}, cs ${hex(special.getBig("cs_selector"))}:${hex(special.getBig("cs_base"))}`;
  }
}

function isField<F extends object>(fields: F, name: string): name is keyof F & string {
  return Object.hasOwn(fields, name);
}

function setSegment(
  sregs: Sregs,
  name: SegmentName,
  fields: Partial<Record<SegmentField, number>>,
): void {
  const none: Record<SegmentField, number> = {
    base: 0,
    limit: 0,
    selector: 0,
    type: 0,
    present: 1,
    dpl: 0,
    db: 0,
    s: 1,
    l: 0,
    g: 0,
    avl: 0,
    unusable: 0,
  };
  for (const [field, value] of Object.entries({ ...none, ...fields })) {
    sregs.set(`${name}_${field as SegmentField}`, value);
  }
}

function startReal(sregs: Sregs, pc: bigint): void {
  const base = Number(pc) & ~0xffff;
  setSegment(sregs, "cs", { base, selector: base >>> 4, limit: 0xffff, type: TYPE.CODE });
  for (const name of DATA_SEGMENTS) setSegment(sregs, name, { limit: 0xffff, type: TYPE.DATA });
}

function startFlat(sregs: Sregs, mode: "protected" | "long"): void {
  const long = mode === "long";
  const flat = { limit: 0xffff_ffff, g: 1 };
  const width = long ? { l: 1 } : { db: 1 };
  setSegment(sregs, "cs", { ...flat, ...width, selector: SELECTOR.CODE, type: TYPE.CODE });
  for (const name of DATA_SEGMENTS) {
    setSegment(sregs, name, { ...flat, db: 1, selector: SELECTOR.DATA, type: TYPE.DATA });
  }
  setSegment(sregs, "tr", { limit: 0x67, type: TYPE.TASK, s: 0 });
  sregs.set("cr0", CR0.PE | CR0.ET | CR0.NE | (long ? CR0.PG : 0n));
  sregs.set("cr4", long ? CR4_PAE : 0n);
  sregs.set("efer", long ? EFER_LME_LMA : 0n);
}
