// The exceptions for QEMU match what they are for, and no fault of ours beside it.

import { assertEquals } from "@std/assert";
import { CAUSE, MODE } from "../../plugins/riscv/cause.ts";
import { PTE } from "../support/riscv_pages.ts";
import { encode } from "../support/riscv_rig.ts";
import { type Case, Image, instruction, nameOf, recordOf } from "./case.ts";
import { difference } from "./compare.ts";
import type { Records } from "./machines.ts";
import { AT } from "./runtime.ts";

/** A page of data where a case executes, behind page tables; the root's only entry is a superpage of the data. */
const AT_PAGE = 0x4000_0000n;
const ROOT = AT.tables;
const SATP = 8n << 60n | BigInt(ROOT / 4096);
const LEAF = BigInt(AT.ram / 4096) << 10n | BigInt(PTE.V | PTE.R | PTE.W | PTE.X | PTE.U | PTE.A | PTE.D);
const WHERE = BigInt(AT.data - AT.ram + 0x18);

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
  const it: Case = {
    family: "test",
    seed: 1,
    mode: MODE.U,
    csrs: [["satp", SATP]],
    writes: [[ROOT + 8, LEAF], [AT.data + 0x18, BigInt(word)]],
    code: [instruction("jalr", { rd: 1, rs1: 18 })],
    traps: 2,
  };
  const image = Image.of([it])[0];
  const [placed] = image.cases;
  const [ours, theirs] = causes.map((cause): Records => {
    const memory = new Uint8Array(image.end - AT.records);
    const record = recordOf(placed, memory);
    const values: Record<string, bigint> = { traps: 1n, satp, "trap 0 epc": epc, "trap 0 cause": BigInt(cause) };
    record.forEach((_, i) => {
      const name = nameOf(placed, i);
      record[i] = name === `memory at 0x${(AT.data + 0x18).toString(16)}` ? BigInt(after) : values[name] ?? 0n;
    });
    return memory;
  });
  let explained = "nothing";
  const found = difference(placed, ours, theirs, undefined, ({ name }) => explained = name);
  return found ? `${found.item} differs` : explained;
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
  const computed = (code: Case["code"], trap: Record<string, bigint>, register: string): string => {
    const it: Case = { family: "test", seed: 1, mode: MODE.S, code, traps: 2 };
    const image = Image.of([it])[0];
    const [placed] = image.cases;
    const [ours, theirs] = [7n, 5n].map((cause): Records => {
      const memory = new Uint8Array(image.end - AT.records);
      const record = recordOf(placed, memory);
      const values: Record<string, bigint> = {
        ...{ traps: 1n, "trap 0 to": 1n, "trap 0 epc": placed.start, "trap 0 cause": cause, ...trap },
        [register]: cause + 1n,
      };
      record.forEach((_, i) => record[i] = values[nameOf(placed, i)] ?? 0n);
      return memory;
    });
    let explained = "nothing";
    const found = difference(placed, ours, theirs, undefined, ({ name }) => explained = name);
    return found ? `${found.item} differs` : explained;
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
