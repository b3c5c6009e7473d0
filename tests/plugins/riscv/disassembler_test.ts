// The disassembler against GNU objdump, over every instruction of the table.

import { assert, assertEquals } from "@std/assert";
import { CSRS } from "../../../plugins/riscv/csrs.ts";
import { putFields } from "../../../plugins/riscv/encoding.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import type { Fields } from "../../../plugins/riscv/rows/row.ts";
import { hasGnu, objdump } from "../../support/gnu.ts";
import { disassemble } from "../../support/riscv_disassembler.ts";

/** Numbers that look random and are the same in each run. */
function* numbers(): Generator<number, never> {
  for (let x = 0x2545f491;;) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    yield x >>> 0;
  }
}

/** Bits of every 32-bit row (several of each) with operands of any value, as far as objdump calls them legal. */
function samples(): number[] {
  const random = numbers();
  return INSTRUCTIONS.rows.flatMap((row, i) => {
    const encoding = INSTRUCTIONS.encodings[i];
    if (row.name === "fence.i") return [encoding.match]; // its operands are reserved
    return Array.from({ length: 6 }, () => {
      const any = random.next().value;
      if (row.name === "fence") return (encoding.match | any & 0x0ff00000) >>> 0;
      const bits = ((any & ~encoding.mask) | encoding.match) >>> 0;
      if (encoding.fields.has("csr")) return (bits & 0xf_ffff | CSRS[any % CSRS.length].number << 20) >>> 0;
      if (!encoding.fields.has("rm")) return bits;
      // Of the exact conversions objdump knows one rounding mode only.
      const modes = /^fcvt\.d\.(s|wu?)$/.test(row.name) ? [0] : [0, 1, 2, 3, 4, 7];
      return (bits & ~0x7000 | modes[any % modes.length] << 12) >>> 0;
    });
  });
}

/** Bits of every compressed row, with operands that no rule reserves. */
function compressedSamples(): number[] {
  const random = numbers();
  return INSTRUCTIONS.patterns.filter(({ compressed }) => compressed).flatMap((pattern) =>
    Array.from({ length: 40 }, () => (random.next().value & ~pattern.mask & 0xffff | pattern.match) >>> 0)
      .filter((bits) => {
        const decoded = INSTRUCTIONS.decode(bits);
        return decoded !== undefined && decoded.compressed === pattern.compressed;
      }).slice(0, 6)
  );
}

Deno.test({
  name: "disassemble writes every instruction as objdump does",
  ignore: !await hasGnu("objdump"),
  async fn() {
    const bits = samples();
    const texts = await objdump(bits, 4);
    const compared = new Set<string>();
    bits.forEach((word, i) => {
      if (texts[i].startsWith(".")) return;
      assertEquals(disassemble(word, BigInt(4 * i)), texts[i], `0x${word.toString(16)}`);
      compared.add(INSTRUCTIONS.decode(word)!.row.name);
    });
    const missing = INSTRUCTIONS.rows.map(({ name }) => name).filter((name) => !compared.has(name));
    // Older binutils have no Zicond.
    assertEquals(missing.filter((name) => !/^czero/.test(name)), []);
  },
});

Deno.test({
  name: "disassemble writes compressed instructions as objdump does",
  ignore: !await hasGnu("objdump"),
  async fn() {
    const bits = compressedSamples();
    const texts = await objdump(bits, 2);
    bits.forEach((half, i) => assertEquals(disassemble(half, BigInt(2 * i)), texts[i], `0x${half.toString(16)}`));
    assert(bits.length > 150);
  },
});

const encode = (name: string, fields: Partial<Fields>): number =>
  putFields(INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(name)], fields);

Deno.test("disassemble names the engine's CSRs and numbers all others", () => {
  assertEquals(disassemble(encode("csrrw", { rd: 10, csr: 0x300, rs1: 11 })), "csrrw a0,mstatus,a1");
  assertEquals(disassemble(encode("csrrci", { rd: 10, csr: 0x7c0, rs1: 11 })), "csrrci a0,0x7c0,11");
});

Deno.test("disassemble writes orderings, rounding modes and fences", () => {
  assertEquals(disassemble(0x1605b52f), "lr.d.aqrl a0,(a1)");
  assertEquals(disassemble(encode("fadd.s", { fd: 10, fs1: 11, fs2: 12, rm: 7 })), "fadd.s fa0,fa1,fa2");
  assertEquals(disassemble(encode("fadd.s", { fd: 10, fs1: 11, fs2: 12, rm: 1 })), "fadd.s fa0,fa1,fa2,rtz");
  assertEquals(disassemble(encode("fcvt.d.w", { fd: 10, rs1: 10, rm: 0 })), "fcvt.d.w fa0,a0");
  assertEquals(disassemble(encode("fence", { imm: 0x23 })), "fence r,rw");
  assertEquals(disassemble(0x8330000f), "fence.tso");
});

Deno.test("disassemble gives branch targets as addresses", () => {
  assertEquals(disassemble(encode("jal", { rd: 1, imm: -16 }), 0x8000_0000n), "jal ra,0x7ffffff0");
  assertEquals(disassemble(encode("beq", { imm: -4 })), "beq zero,zero,0xfffffffffffffffc");
});

Deno.test("disassemble writes what is no instruction as data", () => {
  assertEquals(disassemble(0xffff_ffff), ".word 0xffffffff");
  assertEquals(disassemble(0x1234_0000), ".half 0x0");
});
