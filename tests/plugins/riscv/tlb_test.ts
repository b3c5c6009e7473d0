// The TLB, which no guest must see but by its speed: fences, address spaces, large RAM.

import { assert, assertEquals } from "@std/assert";
import { executeSystem } from "../../../plugins/riscv/system.ts";
import { MAX_CONTEXT, TAG_SLOW } from "../../../plugins/riscv/layout.ts";
import { Guest } from "../../support/riscv_guest.ts";
import { difference } from "../../support/riscv_lockstep.ts";
import { entry, PageTables, PTE } from "../../support/riscv_pages.ts";
import { encode, EngineRig, OracleRig, RAM_BASE, type Rig } from "../../support/riscv_rig.ts";
import { Operands } from "./fp_operands.ts";

const { V, R, W, X, U, A, D } = PTE;
const ALL = V | R | W | X | A | D;
const TABLES = RAM_BASE + 0x1_0000;
const DATA = RAM_BASE + 0x8000;
const HERE = 0x1234_5000n;
const SUM = 1n << 18n, MXR = 1n << 19n, MPRV = 1n << 17n;
const ADUE = 1n << 61n;

Deno.test("address spaces of different ASIDs need no fence between them, however many there are", () => {
  // Two tables, by the ASID's lowest bit; more ASIDs in turn than the TLB has tags for.
  const guest = new Guest(
    `
    li s0, 4500
    loop: andi t0, s0, 1
    slli t0, t0, 12
    add t0, t0, s1
    slli t1, s0, 44
    or t1, t1, s2
    srli t0, t0, 12
    or t1, t1, t0
    csrw satp, t1
    ld a1, 0(a0)
    add a2, a2, a1
    sd a2, 8(a0)
    addi s0, s0, -1
    bnez s0, loop
    wfi
    `,
    {
      mode: "S",
      prepare(rig) {
        for (const n of [0, 1]) {
          // Each root is a page table of one gigabyte page for code, and one chain for the page.
          const root = TABLES + n * 0x1000;
          const [middle, last] = [TABLES + 0x2000 + n * 0x2000, TABLES + 0x3000 + n * 0x2000];
          rig.poke(root + 8 * 2, entry(RAM_BASE, ALL));
          rig.poke(root, entry(middle, V));
          rig.poke(middle, entry(last, V));
          rig.poke(last + 8, entry(DATA + n * 4096, ALL));
          rig.poke(DATA + n * 4096, BigInt(1 + 1000 * n));
        }
        rig.hart.set("a0", 0x1000n);
        rig.hart.set("s1", BigInt(TABLES));
        rig.hart.set("s2", 8n << 60n);
      },
    },
  );
  guest.run(4500 * 13 + 10);
  assert(guest.engine.idle);
  assertEquals(guest.get("a2"), 2250n * 1n + 2250n * 1001n);
});

Deno.test("an entry that becomes valid is seen without a fence, be it a page's or a table's", () => {
  // Each page's load faults; the handler makes the entry valid that stands in its way, and goes back.
  const source = `
    la t0, handler
    csrw stvec, t0
    loop: ld a1, 0(a0)
    add a2, a2, a1
    sd a2, 8(a0)
    add a0, a0, s1
    addi s0, s0, -1
    bnez s0, loop
    wfi
    handler: ld t1, 0(s2)
    ori t1, t1, 1
    sd t1, 0(s2)
    addi s2, s2, 8
    addi s3, s3, 1
    sret
    `;
  const count = 24;
  const cases = [0, 1].flatMap((level) => [1, 1000].map((threshold) => ({ level, config: { threshold } })));
  for (const { level, config } of cases) {
    const stride = 4096 * 512 ** level;
    const guest = new Guest(source, {
      mode: "S",
      config,
      prepare(rig) {
        const built = new PageTables(rig, TABLES);
        built.map(BigInt(RAM_BASE), RAM_BASE, ALL, 2);
        const leaves = Array.from({ length: count }, (_, i) => built.map(BigInt(stride * i), DATA, ALL));
        // Tables by their entries in the last but one, which stand in a row.
        const entries = level ? built.pointers.slice(-count).map(({ at }) => at) : leaves;
        for (const at of entries) rig.poke(at, rig.peek(at) & ~BigInt(V));
        rig.poke(DATA, 1n);
        rig.hart.set("medeleg", -1n);
        rig.hart.set("satp", built.satp(8));
        rig.hart.set("s0", BigInt(count));
        rig.hart.set("s1", BigInt(stride));
        rig.hart.set("s2", BigInt(entries[0]));
      },
    });
    for (let steps = 0; steps < count * 13 + 10; steps += 17) guest.run(17);
    assert(guest.engine.idle);
    assertEquals(guest.engine.hart.compiled.steps > 0, config.threshold === 1);
    assertEquals([guest.get("s3"), guest.get("a2")], [BigInt(count), BigInt(count)]);
  }
});

Deno.test("no tag is all ones, which stands for no translation", () => {
  assert((-4096 | MAX_CONTEXT | TAG_SLOW) !== -1);
});

Deno.test("page tables above 2 GiB of RAM are walked as any others", () => {
  const ramSize = 2 ** 31 + 2 ** 24;
  const rig = new EngineRig({ ramSize });
  const [table, data] = [RAM_BASE + 2 ** 31 + 0x10_0000, RAM_BASE + 2 ** 31 + 0x4000];
  rig.hart.start({ pc: BigInt(RAM_BASE), mode: "M" });
  rig.hart.set("pmpaddr0", -1n);
  rig.hart.set("pmpcfg0", 0x1fn);
  rig.hart.set("menvcfg", ADUE);
  rig.program(RAM_BASE, ["ld", "lr.d", "sc.d"].map((name) => encode(name, { rs1: 10, rd: 11 })));
  rig.poke(table, entry(table + 0x1000, V));
  rig.poke(table + 0x1000, entry(table + 0x2000, V));
  rig.poke(table + 0x2000 + 8, entry(data, V | R | W));
  rig.poke(data, 55n);
  rig.hart.set("satp", 8n << 60n | BigInt(table / 4096));
  rig.hart.set("mstatus", MPRV | 1n << 11n);
  rig.hart.set("a0", 0x1000n);
  rig.run(1);
  assertEquals([rig.hart.get("a1"), rig.hart.get("mcause")], [55n, 0n]);
  assertEquals(rig.peek(table + 0x2000 + 8) & 0xffn, BigInt(V | R | W | A));
  rig.run(2);
  assertEquals([rig.hart.get("a1"), rig.hart.get("mcause")], [0n, 0n], "the store-conditional succeeds");
});

Deno.test("the TLB never shows through fences that are as narrow as can be", () => {
  const random = new Operands(5);
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)];
  const pages = [0n, 1n, 2n, 3n, 1024n, 1025n].map((n) => HERE + 4096n * n).concat([
    ...[0x4000_0000n, 0x4000_3000n],
    ...[0x1_0000_0000n, 0x1_0000_2000n],
  ]);
  const rigs: Rig[] = [new EngineRig({ ramSize: 2 ** 20 }), new OracleRig({ ramSize: 2 ** 20 })];
  const both = (change: (rig: Rig) => void) => rigs.forEach(change);
  // Accesses through x8 to x17, and SUM switched on and off in between.
  const code = Array.from({ length: 60 }, (_, i) => {
    if (i % 7 === 6) return encode(pick(["csrrs", "csrrc"]), { rs1: 18, csr: 0x100 });
    if (i % 3 === 2) return encode(pick(["sd", "sb", "sw"]), { rs1: 8 + i % 10, rs2: 5, imm: 8 * random.below(32) });
    return encode(pick(["ld", "lbu", "lw"]), { rs1: 8 + i % 10, rd: 5, imm: 8 * random.below(32) });
  });
  // A trap goes on behind the access.
  const handler = [
    encode("csrrs", { rd: 6, csr: 0x341, rs1: 0 }),
    encode("addi", { rd: 6, rs1: 6, imm: 4 }),
    encode("csrrw", { rd: 0, csr: 0x341, rs1: 6 }),
    encode("mret"),
  ];
  const fence = (hart: Rig["hart"], address?: bigint, asid?: bigint) => {
    hart.mode = 3;
    hart.setX(28, address ?? 0n);
    hart.setX(29, asid ?? 0n);
    executeSystem(
      hart,
      "sfence.vma",
      (asid === undefined ? 0 : 29) << 13 | (address === undefined ? 0 : 28) << 23,
      0,
      4,
    );
  };
  const tables = new Map<Rig, PageTables>();
  const leaves: number[] = [];
  both((rig) => {
    const { hart } = rig;
    hart.start({ pc: BigInt(RAM_BASE), mode: "M" });
    rig.program(RAM_BASE, code);
    rig.program(RAM_BASE + 0x1000, handler);
    hart.set("mtvec", BigInt(RAM_BASE + 0x1000));
    hart.set("pmpaddr0", -1n);
    hart.set("pmpcfg0", 0x1fn);
    hart.set("menvcfg", ADUE);
    const built = new PageTables(rig, TABLES);
    tables.set(rig, built);
    built.map(BigInt(RAM_BASE), RAM_BASE, V | R | X | A);
    pages.forEach((page, i) => {
      if (i < 6) leaves[i] = built.map(page, DATA + 4096 * (i % 4), ALL);
    });
    leaves[6] = leaves[7] = built.map(0x4000_0000n, RAM_BASE, ALL, 1);
    leaves[8] = leaves[9] = built.map(0x1_0000_0000n, RAM_BASE, ALL, 2);
    for (let at = 0; at < 0x8000; at += 8) rig.poke(DATA + at, BigInt(at) * 0x0101010101n);
    pages.forEach((page, i) => hart.set(`x${8 + i}`, page + (i > 5 ? BigInt(DATA - RAM_BASE) : 0n)));
    hart.set("x18", SUM);
  });
  for (let round = 0; round < 400; round++) {
    const [which, asid, mode] = [random.below(10), pick([0n, 1n, 1n, 2n]), pick([8, 8, 8, 8, 8, 9] as const)];
    const flags = pick([ALL, ALL, ALL & ~D, ALL & ~A & ~D, V | R | A, V | R | W, V | X | A, 0, ALL | U, ALL | U]);
    const target = which > 5 ? RAM_BASE : DATA + 4096 * random.below(4);
    const [kind, status] = [pick([0, 1, 2, 2, 2, 3]), pick([0n, 0n, 0n, 0n, 0n, SUM, MXR])];
    both((rig) => {
      const { hart } = rig;
      rig.poke(leaves[which], entry(target, flags));
      if (kind === 0) fence(hart);
      else if (kind === 1) fence(hart, pages[which]);
      else if (kind === 2) { for (const each of [0n, 1n, 2n]) fence(hart, undefined, each); }
      else for (const each of [0n, 1n, 2n]) fence(hart, pages[which], each);
      hart.set("satp", tables.get(rig)!.satp(mode, Number(asid)));
      hart.set("mstatus", status | 1n << 11n);
      hart.mode = 1;
      hart.set("pc", BigInt(RAM_BASE));
      hart.contextChanged();
      rig.run(80);
    });
    assertEquals(difference(rigs[0], rigs[1], { ram: round % 20 === 19 }), undefined, `round ${round}`);
  }
});

Deno.test("a misaligned atomic access by the stack pointer traps in compiled code, though its page is known", () => {
  for (const mode of ["M", "S", "U"] as const) {
    for (const offset of [1, 2, 3]) {
      const guest = new Guest(
        `
        j loop
        f: ret
        loop: jal f; sd a1, 8(sp); mv t0, sp; add sp, sp, a3; lr.w a2, (sp); mv sp, t0
        addi a4, a4, -1; bnez a4, loop
        mv a3, a5; j loop`,
        { mode, config: { threshold: 1, optimize: 2 }, registers: { sp: DATA, a4: 60, a5: offset } },
      );
      for (const steps of [50, 50, 1000]) guest.run(steps);
      assert(guest.engine.engine.stats!().regions > 0);
      const { cause, value } = guest.trap();
      assertEquals([cause, value], [4, BigInt(DATA + offset)]);
    }
  }
});
