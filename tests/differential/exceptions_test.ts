// The exceptions for QEMU match what they are for, and no fault of ours beside it.

import { assertEquals } from "@std/assert";
import { CAUSE, MODE } from "../../plugins/riscv/cause.ts";
import { PTE } from "../support/riscv_pages.ts";
import { encode } from "../support/riscv_rig.ts";
import { type Case, Image, instruction, nameOf, recordOf } from "./case.ts";
import { difference } from "./compare.ts";
import { EXCEPTIONS } from "./exceptions.ts";
import type { Records } from "./machines.ts";
import { AT } from "./runtime.ts";

/** A page of data where a case executes, behind page tables; the root's only entry is a superpage of the data. */
const AT_PAGE = 0x4000_0000n;
const ROOT = AT.tables;
const SATP = 8n << 60n | BigInt(ROOT / 4096);
const LEAF = BigInt(AT.ram / 4096) << 10n | BigInt(PTE.V | PTE.R | PTE.W | PTE.X | PTE.U | PTE.A | PTE.D);
const WHERE = BigInt(AT.data - AT.ram + 0x18);

type Values = Readonly<Record<string, bigint>>;

/** Which exceptions explain what two machines left behind a case, if nothing else differs; what is not said is zero. */
function judge(it: Partial<Case>, ours: (start: bigint) => Values, theirs: (start: bigint) => Values): string[] {
  const image = Image.of([{ family: "test", seed: 1, mode: MODE.U, code: [], traps: 3, ...it }])[0];
  const [placed] = image.cases;
  const [a, b] = [ours, theirs].map((values): Records => {
    const memory = new Uint8Array(image.end - AT.records);
    const record = recordOf(placed, memory);
    const all: Values = { satp: it.csrs ? SATP : 0n, ...values(placed.start) };
    record.forEach((_, i) => record[i] = all[nameOf(placed, i)] ?? 0n);
    return memory;
  });
  const explained = new Set<string>();
  const found = difference(placed, a, b, undefined, ({ name }) => explained.add(name));
  return found ? [`${found.item} differs`] : [...explained];
}

interface Trap {
  /** What stood at the trap's address before the case. */
  readonly word: number;
  readonly causes: readonly [ours: number, theirs: number];
  readonly epc?: bigint;
  readonly satp?: bigint;
  /** What stands there after the case, on both machines; default: the same. */
  readonly after?: number;
}

/** Which exception explains that a case's trap has another cause, or what remains. */
function judged({ word, causes, epc = AT_PAGE + WHERE, satp = SATP, after = word }: Trap): string {
  const left = (cause: number) => (): Values => ({
    ...{ traps: 1n, satp, "trap 0 epc": epc, "trap 0 cause": BigInt(cause) },
    [`memory at 0x${(AT.data + 0x18).toString(16)}`]: BigInt(after),
  });
  const it: Partial<Case> = {
    csrs: [["satp", SATP]],
    writes: [[ROOT + 8, LEAF], [AT.data + 0x18, BigInt(word)]],
    code: [instruction("jalr", { rd: 1, rs1: 18 })],
  };
  return judge(it, left(causes[0]), left(causes[1])).at(-1) ?? "nothing";
}

const AMO = encode("amoadd.d", { rd: 5, rs1: 6, rs2: 7 });
const AS_LOADS = "atomic memory operations fault as loads";

Deno.test("an atomic operation that a case executes from its data is known as one", () => {
  assertEquals(judged({ word: AMO, causes: [CAUSE.storePage, CAUSE.loadPage] }), AS_LOADS);
  assertEquals(judged({ word: AMO, causes: [CAUSE.storeMisaligned, CAUSE.loadMisaligned] }), AS_LOADS);
});

Deno.test("no other cause of a fault in a case's data is explained by atomic operations", async (t) => {
  const faults: Record<string, Trap> = {
    "a load": { word: encode("ld", { rd: 5, rs1: 6 }), causes: [CAUSE.storePage, CAUSE.loadPage] },
    "a store": { word: encode("sd", { rs2: 5, rs1: 6 }), causes: [CAUSE.storePage, CAUSE.loadPage] },
    "load-reserved": { word: encode("lr.d", { rd: 5, rs1: 6 }), causes: [CAUSE.storePage, CAUSE.loadPage] },
    "an atomic operation the other way round": { word: AMO, causes: [CAUSE.loadPage, CAUSE.storePage] },
    "a fetch": { word: AMO, causes: [CAUSE.fetchPage, CAUSE.loadPage] },
    "an atomic operation that was written later": {
      word: encode("ld", { rd: 5, rs1: 6 }),
      after: AMO,
      causes: [CAUSE.storePage, CAUSE.loadPage],
    },
    "an atomic operation that was overwritten": { word: AMO, after: 0, causes: [CAUSE.storePage, CAUSE.loadPage] },
    "an address next to it": { word: AMO, epc: AT_PAGE + WHERE + 8n, causes: [CAUSE.storePage, CAUSE.loadPage] },
    "an address that is not mapped": { word: AMO, epc: WHERE, causes: [CAUSE.storePage, CAUSE.loadPage] },
    "other page tables": { word: AMO, satp: SATP + 1n, causes: [CAUSE.storePage, CAUSE.loadPage] },
  };
  for (const [what, trap] of Object.entries(faults)) {
    await t.step(what, () => {
      const differs = judged(trap);
      assertEquals(/ differs$/.test(differs), true, `explained by: ${differs}`);
    });
  }
});

Deno.test("what a case computes from the wrong cause of an atomic operation is explained, and nothing else", () => {
  const computed = (code: Case["code"], trap: Values, register: string): string => {
    const left = (cause: bigint) => (epc: bigint): Values => ({
      ...{ traps: 1n, "trap 0 to": 1n, "trap 0 epc": epc, "trap 0 cause": cause, ...trap },
      [register]: cause + 1n,
    });
    return judge({ mode: MODE.S, code }, left(7n), left(5n)).at(-1) ?? "nothing";
  };
  const read = instruction("csrrs", { rd: 10, csr: 0x142 });
  const next = instruction("addi", { rd: 11, rs1: 10, imm: 1 });
  const amo: Case["code"][number] = { bits: AMO, length: 4 };
  assertEquals(
    computed([amo, read, next], {}, "a1"),
    "what a case computes from scause after an atomic memory operation that faulted as a load",
  );
  assertEquals(computed([amo, read, next], {}, "a2"), "a2 differs", "not computed from it");
  assertEquals(computed([amo, next], {}, "a1"), "a1 differs", "scause is not read");
  assertEquals(computed([amo, read, next], { "trap 0 to": 0n }, "a1"), "a1 differs", "a trap to M-mode");
  assertEquals(computed([amo, read, next], { "trap 0 cause": 7n }, "a1"), "a1 differs", "the cause is the same");
});

/** What a trap's handler finds, by name. */
function trap(number: number, values: Values): Values {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`trap ${number} ${name}`, value]));
}

/** What a case of an exception for QEMU leaves, and how it would look with a fault of ours. */
interface Example {
  readonly it?: Partial<Case>;
  readonly ours: (start: bigint) => Values;
  readonly theirs: (start: bigint) => Values;
  /** The same with a fault: by our machine, or in another case. */
  readonly fault: { readonly it?: Partial<Case>; readonly ours?: (start: bigint) => Values };
}

const [ADUE, FS_DIRTY, SUM, IN_S] = [1n << 61n, 1n << 63n | 0x6000n, 1n << 18n, 1n << 11n];
const ENTRY = `memory at 0x${(ROOT + 8).toString(16)}`;
const [A, D] = [BigInt(PTE.A), BigInt(PTE.D)];
const load = instruction("ld", { rd: 5, rs1: 6 });
const store = instruction("sd", { rs2: 5, rs1: 6 });
const atomic = instruction("amoadd.d", { rd: 5, rs1: 6, rs2: 7 });
/** A case behind page tables whose one entry is this. */
const paged = (entry: bigint, more: Partial<Case> = {}): Partial<Case> => ({
  csrs: [["satp", SATP]],
  writes: [[ROOT + 8, entry]],
  ...more,
});
const pointer = (table: number) => BigInt(table / 4096) << 10n | BigInt(PTE.V);
/** A trap of the case's first instruction. */
const first = (cause: number, values: Values = {}) => (epc: bigint): Values => ({
  traps: 1n,
  ...trap(0, { epc, cause: BigInt(cause), ...values }),
});
const both = (...all: ((start: bigint) => Values)[]) => (start: bigint): Values =>
  Object.assign({}, ...all.map((each) => each(start)));
const left = (values: Values) => () => values;

const EXAMPLES: Readonly<Record<string, Example>> = {
  "menvcfg.ADUE is not there: pages' A and D bits are always set by hardware": {
    ours: left({ menvcfg: ADUE }),
    theirs: left({}),
    fault: { ours: left({ menvcfg: ADUE | 1n }) },
  },
  "misa.B is not there": {
    it: { code: [instruction("csrrs", { rd: 10, csr: 0x301 })] },
    ours: left({ a0: 7n }),
    theirs: left({ a0: 5n }),
    fault: { it: { code: [instruction("addi", { rd: 10, imm: 5 })] } },
  },
  "pmpaddr has more than 54 bits": {
    ours: left({ pmpaddr3: (1n << 54n) - 1n }),
    theirs: left({ pmpaddr3: (1n << 64n) - 1n }),
    fault: { ours: left({ pmpaddr3: (1n << 53n) - 1n }) },
  },
  "atomic memory operations fault as loads": {
    it: { code: [atomic] },
    ours: first(CAUSE.storeAccess),
    theirs: first(CAUSE.loadAccess),
    fault: { it: { code: [store] } },
  },
  "atomic memory operations fault as loads, whose faults are delegated otherwise": {
    it: { code: [atomic] },
    ours: first(CAUSE.storeAccess),
    theirs: first(CAUSE.loadAccess, { to: 1n }),
    fault: { it: { code: [store] } },
  },
  "what a case computes from scause after an atomic memory operation that faulted as a load": {
    it: { code: [atomic, instruction("csrrs", { rd: 10, csr: 0x142 }), instruction("addi", { rd: 11, rs1: 10 })] },
    ours: both(first(CAUSE.storeAccess, { to: 1n }), left({ a1: 8n })),
    theirs: both(first(CAUSE.loadAccess, { to: 1n }), left({ a1: 6n })),
    fault: { it: { code: [atomic, instruction("csrrs", { rd: 10, csr: 0x142 })] } },
  },
  "page tables where there is no memory are page faults": {
    it: paged(pointer(0x4000_0000), { code: [load] }),
    ours: first(CAUSE.loadAccess, { tval: AT_PAGE }),
    theirs: first(CAUSE.loadPage, { tval: AT_PAGE }),
    fault: { it: paged(pointer(AT.tables + 4096), { code: [load] }) },
  },
  "of several interrupts for one mode the lowest number is taken": {
    ours: left({ traps: 1n, "trap 0 cause": 1n << 63n | 9n }),
    theirs: left({ traps: 1n, "trap 0 cause": 1n << 63n | 1n }),
    fault: { ours: left({ traps: 1n, "trap 0 cause": 1n << 63n | 0n }) },
  },
  "the address of a misaligned access that faults is rounded down": {
    it: { code: [load] },
    ours: first(CAUSE.loadAccess, { tval: 0x1005n }),
    theirs: first(CAUSE.loadAccess, { tval: 0x1000n }),
    fault: { it: { code: [instruction("lh", { rd: 5, rs1: 6 })] } },
  },
  "SFENCE.W.INVAL and SFENCE.INVAL.IR are legal in U-mode": {
    it: { code: [instruction("sfence.w.inval")] },
    ours: first(CAUSE.illegal),
    theirs: left({}),
    fault: { ours: first(CAUSE.illegal, { status: IN_S }) },
  },
  "mtval is zero after a breakpoint, or an illegal instruction": {
    it: { code: [instruction("ebreak")] },
    ours: (start) => first(CAUSE.breakpoint, { tval: start })(start),
    theirs: first(CAUSE.breakpoint),
    fault: { ours: (start) => first(CAUSE.breakpoint, { tval: start + 4n })(start) },
  },
  "comparisons and conversions to integers leave mstatus.FS as it was": {
    ours: left({ mstatus: FS_DIRTY }),
    theirs: left({ mstatus: 0x2000n }),
    fault: { ours: left({ mstatus: 0x4000n }) },
  },
  "a page table's entry gets its D bit although PMP lets nobody write there": {
    it: paged(LEAF & ~D, { code: [store], csrs: [["satp", SATP], ["pmpcfg0", 0n]] }),
    ours: both(first(CAUSE.storeAccess, { tval: AT_PAGE }), left({ [ENTRY]: LEAF & ~D })),
    theirs: both(first(CAUSE.storeAccess, { tval: AT_PAGE }), left({ [ENTRY]: LEAF })),
    fault: { ours: both(first(CAUSE.storeAccess, { tval: 0n }), left({ [ENTRY]: LEAF & ~D })) },
  },
  "an access that faults sets A all the same": {
    it: paged(LEAF & ~A, { code: [store] }),
    ours: both(first(CAUSE.storePage, { tval: AT_PAGE }), left({ [ENTRY]: LEAF & ~A })),
    theirs: both(first(CAUSE.storePage, { tval: AT_PAGE }), left({ [ENTRY]: LEAF })),
    fault: { it: paged(LEAF & ~A, { csrs: [["satp", SATP + 1n]], code: [store] }) },
  },
  "S-mode executes a user's page after a load from it with SUM": {
    it: paged(LEAF, { mode: MODE.S }),
    ours: first(CAUSE.fetchPage, { tval: AT_PAGE, status: IN_S | SUM }),
    theirs: first(CAUSE.illegal, { status: IN_S | SUM }),
    fault: { it: paged(LEAF & ~BigInt(PTE.U), { mode: MODE.S }) },
  },
  "an atomic memory operation that faults behind its translation leaves D clear": {
    it: paged(LEAF & ~D, { code: [atomic] }),
    ours: both(first(CAUSE.storeAccess, { tval: AT_PAGE }), left({ [ENTRY]: LEAF })),
    theirs: both(first(CAUSE.storeAccess, { tval: AT_PAGE }), left({ [ENTRY]: LEAF & ~D })),
    fault: { it: paged(LEAF & ~D, { code: [store] }) },
  },
  "a store-conditional without a reservation needs no permission": {
    it: { code: [instruction("sc.d", { rd: 7, rs1: 6 }), store] },
    ours: (start) => ({
      traps: 2n,
      ...trap(0, { epc: start, cause: 15n, tval: AT_PAGE }),
      ...trap(1, { epc: start + 4n, cause: 15n, tval: AT_PAGE }),
    }),
    theirs: (start) => ({ traps: 1n, ...trap(0, { epc: start + 4n, cause: 15n, tval: AT_PAGE }) }),
    fault: { it: { code: [store, store] } },
  },
};

Deno.test("each exception explains what it is for, and no fault of ours that looks like it", async (t) => {
  assertEquals(Object.keys(EXAMPLES), EXCEPTIONS.map(({ name }) => name));
  for (const [name, { it = {}, ours, theirs, fault }] of Object.entries(EXAMPLES)) {
    await t.step(name, () => {
      assertEquals(judge(it, ours, theirs).includes(name), true);
      const [found] = judge(fault.it ?? it, fault.ours ?? ours, theirs);
      assertEquals(/ differs$/.test(found), true, `explained by: ${found}`);
    });
  }
});

Deno.test("what QEMU did not trap on is as if it had not trapped here, either, and the rest is compared", () => {
  const { it, ours, theirs } = EXAMPLES["a store-conditional without a reservation needs no permission"];
  assertEquals(judge(it!, both(ours, left({ a0: 1n })), theirs), ["a0 differs"]);
  const later = (number: number, cause: bigint) => left({ traps: BigInt(number + 1), ...trap(number, { cause }) });
  assertEquals(judge(it!, both(ours, later(2, 3n)), both(theirs, later(1, 3n))).length, 1);
  assertEquals(judge(it!, both(ours, later(2, 3n)), both(theirs, later(1, 2n))), ["trap 1 cause differs"]);
});
