// Where denovisor and QEMU 7.2 may differ, and why: the sentence of the specification stands beside each exception.

import { CSR_NUMBERS } from "../../plugins/riscv/assembly/syntax.ts";
import { ACCESS_FAULT, CAUSE, INTERRUPT, MODE, PAGE_FAULT } from "../../plugins/riscv/cause.ts";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { X_NAMES } from "../../plugins/riscv/registers.ts";
import type { Placed } from "./case.ts";
import { executedAt, type Walk, walk } from "./executed.ts";

/** A doubleword of a record on both sides. */
export interface Differing {
  readonly name: string;
  readonly ours: bigint;
  readonly theirs: bigint;
  readonly placed: Placed;
  /** Another doubleword of our record, by name. */
  readonly other: (name: string) => bigint;
  /** The same of theirs. */
  readonly theirOther: (name: string) => bigint;
}

/** A difference that is none of denovisor's faults. */
export interface Exception {
  readonly name: string;
  /** `wrong`: QEMU contradicts the specification; `free`: both are allowed; `newer`: QEMU lacks the extension. */
  readonly kind: "wrong" | "free" | "newer";
  /** What the specification says: the privileged one, 20240411, unless another is named. */
  readonly quote: string;
  /** What comes behind it can not be compared. */
  readonly ends?: true;
  /** Our trap is one that QEMU does not take; what comes behind it is compared. */
  readonly isExtra?: true;
  explains(it: Differing): boolean;
}

const ADUE = 1n << 61n;
const MISA_B = 2n;
/** Of a page table's entry. */
const [X, U, A, D] = [8n, 16n, 0x40n, 0x80n];
const FS = 0x6000n;
const SUM = 1n << 18n;
const DIRTY = 1n << 63n | FS;
/** Of stores and atomic operations, and the same of loads. */
const STORE_FAULTS: readonly number[] = [CAUSE.storeMisaligned, CAUSE.storeAccess, CAUSE.storePage];
const LOAD_FAULTS: readonly number[] = [CAUSE.loadMisaligned, CAUSE.loadAccess, CAUSE.loadPage];
const FAULTS: readonly number[] = [...ACCESS_FAULT, ...PAGE_FAULT];
const { mei, msi, mti, sei, ssi, sti } = INTERRUPT;
/** Interrupts, the most urgent first. */
const PRIORITY: readonly number[] = [mei, msi, mti, sei, ssi, sti];
const INTERRUPTS = 1n << 63n;

/** The bits of the instruction that a trap is of, if they are known. */
function bitsOf(trap: string, { placed, other, theirOther }: Differing): number | undefined {
  return executedAt(placed, other(`${trap} epc`), modeOf(trap, other), [other, theirOther]);
}

/** The mode that a trap is from. */
function modeOf(trap: string, other: Differing["other"]): number {
  const status = other(`${trap} status`);
  return Number(other(`${trap} to`) === 1n ? status >> 8n & 1n : status >> 11n & 3n);
}

/** The instruction that a trap is of, and the size of what it accesses, if it accesses something. */
function instructionOf(trap: string, it: Differing): { name: string; size: number } {
  const bits = bitsOf(trap, it);
  const name = bits === undefined ? "" : INSTRUCTIONS.decode(bits)?.row.name ?? "";
  const letter = /^(?:amo\w+|lr|sc)\.([wd])$/.exec(name)?.[1] ?? /^f?[ls]([bhwd])u?$/.exec(name)?.[1] ?? "b";
  return { name, size: { b: 1, h: 2, w: 4, d: 8 }[letter]! };
}

/** The number of the trap that an item of the log is of, and which item it is. */
function inLog(name: string): [trap: string, item: string] | undefined {
  const [, trap, item] = /^(trap \d+) (.+)$/.exec(name) ?? [];
  return trap ? [trap, item] : undefined;
}

/** The trap that an item tells of: of the log, or of the supervisor's CSRs, which tell of the last one to S-mode. */
function trapOf({ name, other }: Differing): string | undefined {
  const trap = inLog(name)?.[0];
  if (trap || !/^s(cause|tval)$/.test(name)) return trap;
  for (let i = Number(other("traps")) - 1; i >= 0; i--) if (other(`trap ${i} to`) === 1n) return `trap ${i}`;
}

/** The names of all traps in our log. */
function trapsOf({ other }: Differing): string[] {
  return Array.from({ length: Number(other("traps")) }, (_, i) => `trap ${i}`);
}

/** Where the walk for the address of one of our traps ended, if the case has page tables. */
function walkOf(trap: string, { placed, other, theirOther }: Differing): Walk | undefined {
  return walk(placed.case, other(`${trap} tval`), [other, theirOther]);
}

/** Our traps that tell of an access through the page table's entry that an item is; none if it is something else. */
function faultsThrough(it: Differing): string[] {
  return trapsOf(it).filter((trap) => {
    const leaf = FAULTS.includes(Number(it.other(`${trap} cause`))) ? walkOf(trap, it)?.leaf : undefined;
    return leaf !== undefined && it.name === `memory at 0x${leaf.at.toString(16)}`;
  });
}

/** Whether an item is what a trap handler finds in a CSR. */
const isItem = ({ name }: Differing, what: "cause" | "tval") => name === `s${what}` || inLog(name)?.[1] === what;

/** Whether an atomic memory operation faulted, as a load does for QEMU. */
function atomicFault(it: Differing): boolean {
  const trap = trapOf(it);
  if (!trap || !instructionOf(trap, it).name.startsWith("amo")) return false;
  const [ours, theirs] = [it.other, it.theirOther].map((of) => Number(of(`${trap} cause`)));
  return STORE_FAULTS.includes(ours) && LOAD_FAULTS.includes(theirs);
}

/** Whether a case touches a CSR, and the item is a register that may have its value. */
function readOf(csr: string, { name, placed }: Differing): boolean {
  const number = CSR_NUMBERS.get(csr)!;
  const touches = placed.case.code.some(({ bits }) => (bits & 0x7f) === 0x73 && bits >>> 20 === number);
  return name === csr || touches && X_NAMES.includes(name);
}

/** Registers that may hold what a case computes from a CSR: which instructions it executes, traps decide. */
function derivedFrom(csr: string, { case: { code } }: Placed): ReadonlySet<number> {
  const number = CSR_NUMBERS.get(csr)!;
  const derived = new Set<number>();
  for (const { bits } of code) {
    const decoded = INSTRUCTIONS.decode(bits);
    if (!decoded) continue;
    const { index, fields } = decoded;
    const has = INSTRUCTIONS.encodings[index].fields;
    const from = has.has("csr")
      ? fields.csr === number
      : [fields.rs1, fields.rs2].some((source, i) => has.has(i ? "rs2" : "rs1") && derived.has(source));
    if (from && has.has("rd") && fields.rd !== 0) derived.add(fields.rd);
  }
  return derived;
}

/** Instructions that QEMU 7.2 has and gets wrong: they are left to the oracle. */
export const WRONG_INSTRUCTIONS: Readonly<Record<string, string>> = {
  ctzw: "Unprivileged, Zbb: “This instruction counts the number of 0's before the first 1, starting at the " +
    "least-significant bit (i.e., 0) and progressing to the most-significant bit of the least-significant word " +
    "(i.e., 31). Accordingly, if the least-significant word is 0, the output is 32”; QEMU counts on in the upper word.",
};

export const EXCEPTIONS: readonly Exception[] = [
  {
    name: "menvcfg.ADUE is not there: pages' A and D bits are always set by hardware",
    kind: "newer",
    quote: "Svadu 1.0: “If the Svadu extension is implemented, the menvcfg.ADUE field is writable.”",
    explains: (it) => readOf("menvcfg", it) && it.ours === (it.theirs | ADUE),
  },
  {
    name: "misa.B is not there",
    kind: "newer",
    quote: "Unprivileged, B 1.0: “The B standard extension comprises instructions provided by the Zba, Zbb, and Zbs " +
      "extensions.”",
    explains: (it) => readOf("misa", it) && it.ours === (it.theirs | MISA_B),
  },
  {
    name: "pmpaddr has more than 54 bits",
    kind: "wrong",
    quote: "3.7.1: “For RV64, each PMP address register encodes bits 55–2 of a 56-bit physical address”",
    explains: (it) => {
      const pmp = Array.from({ length: 16 }, (_, i) => `pmpaddr${i}`).some((csr) => readOf(csr, it));
      return pmp && it.ours === BigInt.asUintN(54, it.theirs);
    },
  },
  {
    name: "atomic memory operations fault as loads",
    kind: "wrong",
    quote:
      "Table 14: “6 Store/AMO address misaligned; 7 Store/AMO access fault; 15 Store/AMO page fault”; 10.3.1: “AMOs " +
      "never raise load page-fault exceptions.”",
    explains: (it) => {
      if (isItem(it, "cause")) return atomicFault(it);
      return readOf("scause", it) && STORE_FAULTS.includes(Number(it.ours)) && LOAD_FAULTS.includes(Number(it.theirs));
    },
  },
  {
    name: "atomic memory operations fault as loads, whose faults are delegated otherwise",
    kind: "wrong",
    quote: "Table 14: “7 Store/AMO access fault”",
    ends: true,
    explains: (it) => inLog(it.name)?.[1] === "to" && atomicFault(it),
  },
  {
    name: "what a case computes from scause after an atomic memory operation that faulted as a load",
    kind: "wrong",
    quote: "Table 14: “7 Store/AMO access fault”",
    explains: (it) => {
      if (!derivedFrom("scause", it.placed).has(X_NAMES.indexOf(it.name))) return false;
      return trapsOf(it).some((trap) => it.other(`${trap} to`) === 1n && atomicFault({ ...it, name: `${trap} cause` }));
    },
  },
  {
    name: "page tables where there is no memory are page faults",
    kind: "wrong",
    quote:
      "10.3.2, step 2: “If accessing pte violates a PMA or PMP check, raise an access-fault exception corresponding " +
      "to the original access type.”",
    explains: (it) => {
      const trap = trapOf(it);
      if (!trap || !isItem(it, "cause") || !walkOf(trap, it)?.outside) return false;
      const kind = ACCESS_FAULT.findIndex((cause) => it.ours === BigInt(cause));
      return it.theirs === BigInt(PAGE_FAULT[kind] ?? -1);
    },
  },
  {
    name: "of several interrupts for one mode the lowest number is taken",
    kind: "wrong",
    quote:
      "3.1.9: “Multiple simultaneous interrupts destined for M-mode are handled in the following decreasing priority " +
      "order: MEI, MSI, MTI, SEI, SSI, STI…” 10.1.3 says the same of S-mode: “SEI, SSI, STI…”.",
    ends: true,
    explains: ({ name, ours, theirs }) => {
      if (inLog(name)?.[1] !== "cause" || !(ours & INTERRUPTS) || !(theirs & INTERRUPTS)) return false;
      const [a, b] = [ours, theirs].map((cause) => PRIORITY.indexOf(Number(cause & 63n)));
      return a < b && ours > theirs;
    },
  },
  {
    name: "the address of a misaligned access that faults is rounded down",
    kind: "wrong",
    quote:
      "3.1.16: “If mtval is written with a nonzero value when a misaligned load or store causes an access-fault or " +
      "page-fault exception, then mtval will contain the virtual address of the portion of the access that caused " +
      "the fault.”",
    explains: (it) => {
      const trap = trapOf(it);
      if (!trap || !isItem(it, "tval")) return false;
      return it.theirs === (it.ours & BigInt(-instructionOf(trap, it).size));
    },
  },
  {
    name: "SFENCE.W.INVAL and SFENCE.INVAL.IR are legal in U-mode",
    kind: "wrong",
    quote: "Chapter 13: “Attempting to execute SFENCE.W.INVAL or SFENCE.INVAL.IR in U-mode raises an " +
      "illegal-instruction exception.”",
    ends: true,
    explains: (it) => {
      const trap = inLog(it.name)?.[0];
      if (!trap || it.other(`${trap} cause`) !== BigInt(CAUSE.illegal) || modeOf(trap, it.other)) return false;
      return /^sfence\.(w\.inval|inval\.ir)$/.test(instructionOf(trap, it).name);
    },
  },
  {
    name: "mtval is zero after a breakpoint, or an illegal instruction",
    kind: "free",
    quote:
      "3.1.16: “When a trap is taken into M-mode, mtval is either set to zero or written with exception-specific " +
      "information to assist software in handling the trap.”",
    explains: (it) => {
      const trap = trapOf(it);
      if (!trap || it.theirs !== 0n || !isItem(it, "tval")) return false;
      const cause = it.other(`${trap} cause`);
      if (cause === BigInt(CAUSE.breakpoint)) return it.ours === it.other(`${trap} epc`);
      return cause === BigInt(CAUSE.illegal) && it.ours === BigInt(bitsOf(trap, it) ?? -1);
    },
  },
  {
    name: "comparisons and conversions to integers leave mstatus.FS as it was",
    kind: "free",
    quote:
      "3.1.6.6: “Implementations may choose to track the dirtiness of the floating-point register state imprecisely " +
      "by reporting the state to be dirty even when it has not been modified.”",
    explains: ({ name, ours, theirs }) => {
      const isStatus = name === "mstatus" || inLog(name)?.[1] === "status";
      return isStatus && (ours & ~DIRTY) === (theirs & ~DIRTY) && (ours & DIRTY) === DIRTY && (theirs & FS) !== 0n;
    },
  },
  {
    name: "a page table's entry gets its D bit although PMP lets nobody write there",
    kind: "wrong",
    quote: "3.7: “PMP checks are also applied to page-table accesses for virtual-address translation, for which the " +
      "effective privilege mode is S.”",
    ends: true,
    explains: (it) => {
      const { name, ours, theirs, placed, other, theirOther } = it;
      if (!placed.case.csrs?.some(([csr]) => csr.startsWith("pmp"))) return false;
      const isStore = (trap: string) => other(`${trap} cause`) === BigInt(CAUSE.storeAccess);
      const trap = inLog(name)?.[0];
      if (!trap) return theirs === (ours | D) && faultsThrough(it).some(isStore);
      const leaf = isStore(trap) ? walkOf(trap, it)?.leaf : undefined;
      const entry = leaf && `memory at 0x${leaf.at.toString(16)}`;
      return entry !== undefined && theirOther(entry) === (other(entry) | D) && theirOther(entry) !== other(entry);
    },
  },
  {
    name: "an access that faults sets A all the same",
    kind: "free",
    quote: "10.3.1: “Updates of the A bit may be performed as a result of speculation”; those of the D bit are exact.",
    explains: (it) => (it.ours | A) === it.theirs && faultsThrough(it).length > 0,
  },
  {
    name: "S-mode executes a user's page after a load from it with SUM",
    kind: "wrong",
    quote: "10.3.1: “Irrespective of SUM, the supervisor may not execute code on pages with U=1.”",
    ends: true,
    explains: (it) => {
      const { name, other, theirOther } = it;
      const trap = inLog(name)?.[0];
      if (!trap || other(`${trap} cause`) !== BigInt(CAUSE.fetchPage) || modeOf(trap, other) !== MODE.S) return false;
      const { leaf } = walkOf(trap, it) ?? {};
      const executable = leaf && (leaf.value & (X | U)) === (X | U);
      const same = ["cause", "epc"].every((what) => other(`${trap} ${what}`) === theirOther(`${trap} ${what}`));
      return executable === true && (other(`${trap} status`) & SUM) !== 0n && !same;
    },
  },
  {
    name: "an atomic memory operation that faults behind its translation leaves D clear",
    kind: "wrong",
    quote:
      "10.3.2, step 7: “…set pte.a to 1 and, if the original memory access is a store, also set pte.d to 1.” The " +
      "access itself comes afterwards.",
    explains: (it) => {
      if (![D, A | D].some((bits) => (it.theirs | bits) === it.ours)) return false;
      return faultsThrough(it).some((trap) =>
        it.other(`${trap} cause`) === BigInt(CAUSE.storeAccess) && instructionOf(trap, it).name.startsWith("amo")
      );
    },
  },
  {
    name: "a store-conditional without a reservation needs no permission",
    kind: "wrong",
    quote: "Unprivileged, Zalrsc: “No SC.W instruction shall retire unless it passes memory permission checks”.",
    isExtra: true,
    explains: (it) => {
      const trap = inLog(it.name)?.[0];
      if (!trap || !instructionOf(trap, it).name.startsWith("sc.")) return false;
      // What the case does next shows that there is none: a store there.
      const next = `trap ${Number(trap.slice(5)) + 1}`;
      const same = ["cause", "tval"].every((what) => it.other(`${trap} ${what}`) === it.other(`${next} ${what}`));
      return same && /^s[wd]$/.test(instructionOf(next, it).name);
    },
  },
];
