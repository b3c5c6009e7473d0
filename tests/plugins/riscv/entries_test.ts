// Entries: what they hold is what decoding says.

import { assertEquals } from "@std/assert";
import { EntryEncoder } from "../../../plugins/riscv/entries.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { Handlers } from "../../../plugins/riscv/interpreter.ts";
import { SINK } from "../../../plugins/riscv/layout.ts";
import { Operands } from "./fp_operands.ts";

/** What ends a basic block. */
const ENDS = ["jal", "jalr", "beq", "bne", "blt", "bge", "bltu", "bgeu", "mret", "sret", "ebreak"];

const handlers = new Handlers(INSTRUCTIONS);

/** An instruction's entry and its step, made from the decoded instruction. */
function expected(bits: number): number[] {
  const decoded = INSTRUCTIONS.decode(bits);
  if (!decoded) return [handlers.illegal, bits | 0, 0];
  const { row, index, fields, length } = decoded;
  const has = INSTRUCTIONS.encodings[index].fields;
  const source = has.has("fs2") ? fields.fs2 : fields.rs2;
  const a = has.has("fd") ? fields.fd : has.has("rd") ? fields.rd || SINK : source;
  const b = has.has("fs1") ? fields.fs1 : fields.rs1;
  const registers = 8 * source | 8 * fields.fs3 << 10 | fields.rm << 20;
  const high = has.has("imm") ? fields.imm : has.has("csr") ? fields.csr : registers;
  return [handlers.of(index, length) | 8 * a << 10 | 8 * b << 20, high, ENDS.includes(row.name) ? 0 : length];
}

function encoded(encoder: EntryEncoder, bits: number): number[] {
  encoder.encode(bits);
  return [encoder.low, encoder.high, encoder.step];
}

Deno.test("an entry holds the handler and the operands of every 16-bit instruction, the first time and later", () => {
  const encoder = new EntryEncoder(INSTRUCTIONS, handlers);
  for (const _ of ["first", "later"]) {
    for (let bits = 0; bits < 2 ** 16; bits++) {
      if ((bits & 3) === 3) continue;
      assertEquals(encoded(encoder, bits | 0xabcd_0000), expected(bits), bits.toString(16));
    }
  }
});

Deno.test("an entry holds the handler and the operands of every row's instructions, and of illegal ones", () => {
  const encoder = new EntryEncoder(INSTRUCTIONS, handlers);
  const random = new Operands(3);
  for (const { mask, match } of INSTRUCTIONS.encodings) {
    for (let i = 0; i < 200; i++) {
      const bits = random.below(2 ** 32) & ~mask | match;
      // As it is, without a destination, and with one bit that differs.
      for (const near of [bits, bits & ~0xf80 | match, bits ^ 1 << 7 + random.below(25)]) {
        assertEquals(encoded(encoder, near), expected(near), (near >>> 0).toString(16));
      }
    }
  }
});
