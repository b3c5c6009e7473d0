// Accesses to what lies close together share a check in compiled code: no guest sees it, wherever pages end and whatever they allow.

import { assert, assertEquals } from "@std/assert";
import { accessesOf } from "../../../plugins/riscv/compiler/accesses.ts";
import { assemble } from "../../../plugins/riscv/assembler.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { Guest, M_HANDLER } from "../../support/riscv_guest.ts";
import { entry, PageTables, PTE } from "../../support/riscv_pages.ts";
import { EngineRig, RAM_BASE, type Rig } from "../../support/riscv_rig.ts";
import { Operands } from "./fp_operands.ts";

const { V, R, W, X, U, A, D } = PTE;
const ALL = V | R | W | X | A | D;
const SUM = 1n << 18n;
const TABLES = RAM_BASE + 0x2_0000;
const DATA = RAM_BASE + 0x8000;
/** Two pages in a row, which lie apart in RAM. */
const PAGES = [0x1234_5000n, 0x1234_6000n];
const PLACES = [DATA, DATA + 0x2000];

/** By instruction: which group its access is in, and where in it; x where it leads one. */
function groups(source: string): string[] {
  const code = new DataView(assemble(source).buffer);
  const block = Array.from({ length: code.byteLength / 4 }, (_, i) => INSTRUCTIONS.decode(code.getInt32(4 * i, true))!);
  const known = new Map<unknown, number>();
  return accessesOf(block, true).map((access) => {
    if (!access) return "";
    const { group, leads, at } = access;
    if (leads) known.set(group, known.size);
    return `${known.get(group)}${leads ? "x" : ""} ${at}`;
  });
}

Deno.test("accesses by one address and what is added to it are a group", () => {
  assertEquals(groups("ld a0, 8(s0); ld a1, 0(s0); lw a2, 4(s1); sb a2, 3(s0)"), ["0x 8", "0 0", "1x 4", "0 3"]);
  // Sums count from the first one's base.
  const frame = "addi sp, sp, -32; sd ra, 24(sp); addi s0, sp, 32; sd a0, -8(s0); ld ra, 24(sp); addi sp, sp, 32";
  assertEquals(groups(`${frame}; ld a0, 0(sp)`), ["", "0x 24", "", "0 24", "0 24", "", "0 32"]);
});

Deno.test("what changes the base, lies far away, is atomic, or may come to other pages is in another group", () => {
  assertEquals(groups("ld s0, 0(s0); ld a1, 0(s0)"), ["0x 0", "1x 0"]);
  assertEquals(groups("ld a0, 0(s0); add s0, s0, a1; ld a1, 0(s0)"), ["0x 0", "", "1x 0"]);
  assertEquals(groups("ld a0, 0(s0); ld a1, 248(s0); ld a1, 249(s0)"), ["0x 0", "0 248", "1x 249"]);
  assertEquals(groups("ld a0, 0(s0); amoadd.d a1, a2, (s0); lr.d a1, (s0)"), ["0x 0", "1x 0", "2x 0"]);
  assertEquals(groups("ld a0, 0(s0); csrs sstatus, a1; ld a1, 8(s0)"), ["0x 0", "", "1x 8"]);
});

/** What traps is skipped. */
const SKIP = "csrw mscratch, t6; csrr t6, mepc; addi t6, t6, 4; csrw mepc, t6; csrr t6, mscratch; mret";

/** Maps the code and the two pages, and fills what lies there and between. */
function mapPages(rig: Rig): void {
  rig.program(M_HANDLER, Array.from(new Int32Array(assemble(SKIP).buffer)));
  const tables = new PageTables(rig, TABLES);
  tables.map(BigInt(RAM_BASE), RAM_BASE, V | R | X | A);
  PAGES.forEach((page, i) => tables.map(page, PLACES[i], ALL));
  rig.hart.set("satp", tables.satp(8));
  for (let at = 0; at < 0x4000; at += 8) {
    rig.poke(DATA + at, BigInt.asIntN(64, BigInt(at + 1) * 0x9e37_79b9_7f4a_7c15n));
  }
}

Deno.test("accesses reach the next page from the first byte behind the page on, in loops and beside calls", () => {
  const bodies: [string, number][] = [
    ["ld a0, 0(BASE); sd a4, 0(BASE)", 8],
    ["lw a0, 0(BASE); sw a4, 0(BASE)", 4],
    ["ld a0, 0(BASE); lw a1, 8(BASE); lb a2, 12(BASE)", 13],
    ["sw a4, 0(BASE); sd a4, 8(BASE)", 16],
  ];
  const loops = ["sp", "s0"].flatMap((base) => ["", "jal f"].map((call) => ({ base, call })));
  for (const { base, call } of loops) {
    for (const [body, size] of bodies) {
      const source = `loop: ${call}\n${body.replaceAll("BASE", base)}; addi a4, a4, -1; bnez a4, loop; wfi\nf: ret`;
      for (const beyond of [0n, 1n]) {
        const registers = { a4: 60, [base]: PAGES[1] - BigInt(size) + beyond };
        const config = { threshold: 1, optimize: 4 };
        const guest = new Guest(source, { mode: "S", config, prepare: mapPages, registers });
        for (let i = 0; i < 6; i++) guest.run(100);
        assert(Number(guest.engine.engine.stats!().regions) > 0, "nothing was compiled");
      }
    }
  }
});

Deno.test("random accesses near the end of a page take the same steps compiled as in the oracle", () => {
  const random = new Operands(20);
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)];
  const BASES = ["sp", "s0", "s1", "s2"];
  let straddled = 0;
  for (let round = 0; round < 120; round++) {
    const offset = () => pick([1, 2, 4, 8, 8, 8]) * (random.below(48) - 24);
    const body = Array.from({ length: 6 + random.below(12) }, () =>
      pick([
        () => `${pick(["lb", "lhu", "lw", "ld", "ld", "ld"])} a${random.below(4)}, ${offset()}(${pick(BASES)})`,
        () => `${pick(["sb", "sh", "sw", "sd", "sd", "sd"])} a${random.below(4)}, ${offset()}(${pick(BASES)})`,
        () => `addi s${random.below(3)}, ${pick(BASES)}, ${offset()}`,
        () => `fld fa0, ${offset()}(${pick(BASES)})`,
        () => `amoadd.d a0, a1, (${pick(BASES)})`,
        () => `${pick(["csrs", "csrc"])} sstatus, s3`,
        () => "beqz a0, skip",
      ])());
    const guest = new Guest(
      `
      loop: addi sp, s4, 0; addi s0, s5, 0; addi s1, s6, 0; addi s2, s4, -8
      ${body.slice(0, 6).join("\n")}
      skip:
      ${body.slice(6).filter((line) => !line.includes("skip")).join("\n")}
      addi a4, a4, -1
      bnez a4, loop
      wfi`,
      {
        mode: "S",
        config: { threshold: 1, optimize: pick([1, 2 ** 20]) },
        prepare: mapPages,
        registers: { a4: 60, s3: SUM },
      },
    );
    const flags = PAGES.map(() => pick([ALL, ALL, ALL, V | R | A, ALL & ~D, ALL | U, 0]));
    const near = () => PAGES[1] + BigInt(pick([-4000, -160, -64, -16, -8, 0, 8, 64]) + pick([0, 0, 0, 1, 4]));
    const bases = [near(), near(), near()];
    guest.each((rig) => {
      const tables = new PageTables(rig, TABLES);
      tables.map(BigInt(RAM_BASE), RAM_BASE, V | R | X | A);
      PAGES.forEach((page, i) => rig.poke(tables.map(page, PLACES[i], ALL), entry(PLACES[i], flags[i])));
      bases.forEach((base, i) => rig.hart.set(`s${4 + i}`, base));
      rig.hart.mmu.flushAll();
      rig.hart.contextChanged();
    });
    for (let i = 0; i < 12; i++) guest.run(200);
    const { regions } = guest.engine.engine.stats!();
    assert(regions > 0, `round ${round}: nothing was compiled`);
    straddled += Number(regions > 2);
  }
  assert(straddled > 0, "no region was compiled anew");
});

Deno.test("a loop whose accesses lie in two pages is compiled anew, each access with a check of its own", () => {
  const rig = new EngineRig({ ramSize: 2 ** 18, config: { threshold: 100 } });
  const source = (sp: number) => `
    li sp, ${sp}; li a4, 1000000
    loop: sd a4, 0(sp); sd a4, 8(sp); ld a1, 0(sp); ld a2, 8(sp); add a3, a1, a2
    addi a4, a4, -1; bnez a4, loop
    wfi`;
  const interpreted = (sp: number): number => {
    rig.hart.start({ pc: BigInt(RAM_BASE), mode: "M" });
    rig.ram.set(assemble(source(sp), { base: RAM_BASE }));
    rig.invalidate(RAM_BASE, 4096);
    const before = rig.hart.compiled.steps;
    while (!rig.idle) rig.run(5000);
    return 7_000_000 - (rig.hart.compiled.steps - before);
  };
  const straddling = interpreted(DATA + 4096 - 8);
  assert(straddling < 700_000, `${straddling} of 7000000 steps were interpreted`);
});
