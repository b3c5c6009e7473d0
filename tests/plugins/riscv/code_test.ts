// Predecoded pages: how far they are decoded, and that a page made anew holds nothing of the one before.

import { assertEquals } from "@std/assert";
import { CodeCache } from "../../../plugins/riscv/code.ts";
import { EntryEncoder } from "../../../plugins/riscv/entries.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { Handlers } from "../../../plugins/riscv/interpreter.ts";
import { CODE, PAGE_BYTES } from "../../../plugins/riscv/layout.ts";
import { EngineMemory } from "../../../plugins/riscv/memory.ts";
import { encode, RAM_BASE } from "../../support/riscv_rig.ts";

const handlers = new Handlers(INSTRUCTIONS);
const NOP = encode("addi");

/** The predecoded pages of RAM that is full of nops. */
function cache(slots: number) {
  const bytes = (slots + 1) * CODE.pageBytes;
  const memory = new EngineMemory(RAM_BASE, 2 ** 20, 1, bytes, false);
  memory.i32.fill(NOP, memory.ramOffset >> 2);
  return { memory, code: new CodeCache(memory, new EntryEncoder(INSTRUCTIONS, handlers), bytes) };
}

Deno.test("the last instruction of a page is decoded together with the page's end", () => {
  const C_NOP = 1;
  for (const [last, bits] of [[PAGE_BYTES - 4, NOP], [PAGE_BYTES - 2, C_NOP << 16]]) {
    const { memory, code } = cache(1);
    memory.view.setInt32(memory.ramOffset + PAGE_BYTES - 4, bits, true);
    const page = code.page(memory.ramOffset);
    code.decode(page + last * 4);
    const decoded = Array.from({ length: CODE.entries }, (_, i) => i * 2).filter((at) => code.isReached(page + at * 4));
    assertEquals(decoded, [last, PAGE_BYTES]);
    assertEquals(memory.i32[page + PAGE_BYTES * 4 >> 2], handlers.pageEnd);
  }
});

Deno.test("an instruction across pages is not decoded, but the page's end behind it is", () => {
  const { memory, code } = cache(1);
  memory.view.setUint16(memory.ramOffset + PAGE_BYTES - 2, NOP, true);
  const page = code.page(memory.ramOffset);
  for (const [offset, handler] of [[PAGE_BYTES - 2, handlers.crossing], [PAGE_BYTES + 2, handlers.pageEnd]]) {
    code.decode(page + offset * 4);
    assertEquals(memory.i32[page + offset * 4 >> 2], handler);
  }
});

Deno.test("a page that is made anew holds nothing of what was decoded there", () => {
  const { memory, code } = cache(2);
  const [first, second] = [memory.ramOffset, memory.ramOffset + PAGE_BYTES];
  const holds = (page: number) => memory.u8.subarray(page, page + CODE.pageBytes).some((byte) => byte !== 0);
  for (const offset of [0, 1020, 2044, 3068, 4092, 2000]) {
    const pages = [code.page(first), code.page(second)];
    assertEquals(pages.map(holds), [false, false], `before ${offset}`);
    code.decode(pages[0] + offset * 4);
    if (offset === 4092) code.keepCrossing(pages[0], second);
    assertEquals(pages.map(holds), [true, offset === 4092]);
    code.invalidate(first, 2 * PAGE_BYTES);
  }
});

Deno.test("pages have other serial numbers whenever they are made anew", () => {
  const { memory, code } = cache(2);
  const [first, second] = [memory.ramOffset, memory.ramOffset + PAGE_BYTES];
  const seen = new Set<number>();
  for (let i = 0; i < 5; i++) {
    const [from, to] = [code.page(first), code.page(second)];
    for (const _ of ["once", "again"]) code.keepCrossing(from, second);
    assertEquals(memory.i32[from + CODE.next >> 2], to);
    assertEquals(memory.i32[from + CODE.nextSerial >> 2], memory.i32[to + CODE.serial >> 2]);
    seen.add(memory.i32[to + CODE.serial >> 2]);
    code.invalidate(second, 1);
  }
  assertEquals(seen.size, 5);
  assertEquals(seen.has(0), false);
});
