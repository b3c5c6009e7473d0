// Encodings: no overlap, nothing lost between fields and bits, and the same as GNU binutils have them.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { CSRS } from "../../../plugins/riscv/csrs.ts";
import { cutFields, parseBits, putFields } from "../../../plugins/riscv/encoding.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { F_NAMES, X_NAMES } from "../../../plugins/riscv/registers.ts";
import type { Fields } from "../../../plugins/riscv/rows/row.ts";
import { hasGnu, objdump } from "../../support/gnu.ts";
import { Operands } from "./fp_operands.ts";

const nameOf = (p: typeof INSTRUCTIONS.patterns[number]) => p.compressed?.name ?? INSTRUCTIONS.rows[p.index].name;

Deno.test("encodings overlap only where one is a special case of the other", () => {
  const special: string[] = [];
  for (const a of INSTRUCTIONS.patterns) {
    for (const b of INSTRUCTIONS.patterns) {
      if (a === b || a.length !== b.length || (a.match ^ b.match) & a.mask & b.mask) continue;
      // The one with more fixed bits wins; each must fix all that the other does.
      const [narrow, wide] = [a.mask & ~b.mask, b.mask & ~a.mask];
      assert(!narrow || !wide, `${nameOf(a)} and ${nameOf(b)} overlap, and neither holds the other`);
      if (narrow) special.push(`${nameOf(a)} of ${nameOf(b)}`);
    }
  }
  assertEquals(special.sort(), [
    "c.addi16sp of c.lui",
    "c.ebreak of c.add",
    "c.ebreak of c.jalr",
    "c.jalr of c.add",
    "c.jr of c.mv",
    "pause of fence",
  ]);
});

Deno.test("operands survive encoding and decoding, for every row", () => {
  const random = new Operands(1);
  INSTRUCTIONS.rows.forEach((row, index) => {
    const encoding = INSTRUCTIONS.encodings[index];
    for (let i = 0; i < 50; i++) {
      const bits = (random.below(2 ** 32) & ~encoding.mask | encoding.match) >>> 0;
      const decoded = INSTRUCTIONS.decode(bits)!;
      if (decoded.row.name === "pause") continue;
      assertEquals(decoded.row.name, row.name);
      assertEquals(decoded.length, 4);
      assertEquals(decoded.fields, cutFields(encoding, bits));
      const known = encoding.slices.reduce((mask, { at, width }) => mask | (2 ** width - 1) << at, encoding.mask);
      assertEquals(putFields(encoding, decoded.fields), (bits & known) >>> 0, row.name);
    }
  });
});

Deno.test("putFields refuses operands that do not fit", () => {
  const encoding = (name: string) => INSTRUCTIONS.encodings[INSTRUCTIONS.indexOf(name)];
  assertThrows(() => putFields(encoding("addi"), { imm: 2048 }), RangeError, "imm = 2048");
  assertThrows(() => putFields(encoding("beq"), { imm: 3 }), RangeError);
  assertThrows(() => putFields(encoding("lui"), { imm: 1 }), RangeError);
  assertThrows(() => putFields(encoding("add"), { rd: 32 }), RangeError);
  assertThrows(() => putFields(parseBits("010 uimm[5:3] rs1' uimm[2|6] rd' 00"), { rd: 7, rs1: 8 }), RangeError);
});

/** Mnemonics under which objdump knows a row. */
const ALIASES: Record<string, string> = { "fmv.x.s": "fmv.x.w", "fmv.s.x": "fmv.w.x", "fence.tso": "fence" };
const baseName = (text: string) => {
  const name = text.split(" ")[0].replace(/\.(aq|rl|aqrl)$/, "");
  return ALIASES[name] ?? name;
};

Deno.test({
  name: "32-bit words decode to what objdump calls them, and to nothing where it knows nothing",
  ignore: !await hasGnu("objdump"),
  async fn() {
    const random = new Operands(2);
    const names = new Set(INSTRUCTIONS.rows.map(({ name }) => name));
    const opcodes = [...new Set(INSTRUCTIONS.encodings.map(({ match }) => match & 0x7f))];
    const words = Array.from({ length: 30_000 }, (_, i) => {
      const any = random.below(2 ** 32);
      if (i % 2) return (any & ~0x7f | opcodes[i % opcodes.length]) >>> 0;
      // Few bits away from an instruction there is.
      const { mask, match } = INSTRUCTIONS.encodings[i % names.size];
      return (any & ~mask | match ^ (random.below(4) ? 0 : 1 << 7 + random.below(25))) >>> 0;
    });
    const texts = await objdump(words, 4);
    words.forEach((word, i) => {
      const name = INSTRUCTIONS.decode(word)?.row.name;
      const theirs = baseName(texts[i]);
      const where = `0x${word.toString(16)}: ${texts[i]}`;
      if (names.has(theirs)) assertEquals(name, theirs, where);
      // What it does not know is reserved, or newer than it, or an operand that it calls unknown.
      else if (name) assert(/^(czero|fence|fcvt\.d\.(w|wu|s)$)|^pause/.test(name), `${where} is ${name}`);
    });
  },
});

// ---------------------------------------------------------------- compressed instructions

const register = (name: string): number => {
  const number = Math.max(X_NAMES.indexOf(name), F_NAMES.indexOf(name));
  assert(number >= 0, `no register is called ${name}`);
  return number;
};

/** Encodings that objdump has names for, and the specification has not. */
const RESERVED = /^c\.(addi16sp sp,0$|addi4spn \w+,sp,0$|lui \w+,0x0$|addiw zero|l[wd]sp zero|jr zero)/;

type Expansion = [name: string, fields: Partial<Fields>];

/** What compressed instructions stand for, from their text (unprivileged specification 20240411, section 27.8). */
function expand(text: string, pc: number): Expansion {
  const [mnemonic, rest = ""] = text.split(" ");
  const operands = rest.split(/[,()]/).filter((operand) => operand !== "");
  const name = mnemonic.replace(/^c\./, "");
  const [first, second, third] = operands;
  const to = (target: string) => ((Number(target) - pc) << 20) >> 20;
  switch (name) {
    case "nop":
      return ["addi", { rd: 0, rs1: 0, imm: Number(first ?? 0) }];
    case "addi4spn":
      return ["addi", { rd: register(first), rs1: register(second), imm: Number(third) }];
    case "addi16sp":
      return ["addi", { rd: 2, rs1: 2, imm: Number(second) }];
    case "li":
      return ["addi", { rd: register(first), rs1: 0, imm: Number(second) }];
    case "lui":
      return ["lui", { rd: register(first), imm: Number(second) << 12 }];
    case "addi":
    case "addiw":
    case "slli":
    case "srli":
    case "srai":
    case "andi":
      return [name, { rd: register(first), rs1: register(first), imm: Number(second) }];
    case "slli64":
    case "srli64":
    case "srai64":
      return [name.slice(0, 4), { rd: register(first), rs1: register(first), imm: 0 }];
    case "mv":
      return ["add", { rd: register(first), rs1: 0, rs2: register(second) }];
    case "j":
      return ["jal", { rd: 0, imm: to(first) }];
    case "beqz":
    case "bnez":
      return [name.slice(0, 3), { rs1: register(first), rs2: 0, imm: to(second) }];
    case "jr":
    case "jalr":
      return ["jalr", { rd: Number(name === "jalr"), rs1: register(first), imm: 0 }];
    case "ebreak":
      return ["ebreak", {}];
  }
  const memory = /^(f?)([ls])([wd])(sp)?$/.exec(name);
  if (!memory) return [name, { rd: register(first), rs1: register(first), rs2: register(second) }];
  const data = memory[2] === "l" ? memory[1] ? "fd" : "rd" : memory[1] ? "fs2" : "rs2";
  return [name.replace("sp", ""), { [data]: register(first), imm: Number(second), rs1: register(third) }];
}

Deno.test({
  name: "every 16-bit word expands to what objdump's text of it stands for",
  ignore: !await hasGnu("objdump"),
  async fn() {
    const halves = Array.from({ length: 2 ** 16 }, (_, bits) => bits).filter((bits) => (bits & 3) !== 3);
    const texts = await objdump(halves, 2);
    const seen = new Set<string>();
    halves.forEach((bits, i) => {
      const where = `0x${bits.toString(16)}: ${texts[i]}`;
      const decoded = INSTRUCTIONS.decode(bits);
      if (/^(\.|0x|c\.unimp)/.test(texts[i]) || RESERVED.test(texts[i])) {
        return assertEquals(decoded?.row.name, undefined, where);
      }
      assert(decoded, where);
      const [name, fields] = expand(texts[i], 2 * i);
      const none = { rd: 0, rs1: 0, rs2: 0, fd: 0, fs1: 0, fs2: 0, fs3: 0, imm: 0, csr: 0, rm: 0 };
      assertEquals([decoded.row.name, decoded.fields], [name, { ...none, ...fields }], where);
      assertEquals(decoded.length, 2);
      seen.add(decoded.compressed!.name);
    });
    assertEquals([...seen].sort(), INSTRUCTIONS.compressed.map(({ name }) => name).sort());
  },
});

Deno.test("CSR numbers and names are unique", () => {
  assertEquals(new Set(CSRS.map(({ number }) => number)).size, CSRS.length);
  assertEquals(new Set(CSRS.map(({ name }) => name)).size, CSRS.length);
});
