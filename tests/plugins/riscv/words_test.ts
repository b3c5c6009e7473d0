// Instructions in the specification's own words (unprivileged specification 20240411, chapters 7, 12 and 28): those that no other referee judges.

import { assertEquals } from "@std/assert";
import { Guest } from "../../support/riscv_guest.ts";

/** What an instruction leaves in a0 of operands in a1 and a2. */
function result(source: string, a1: bigint, a2 = 0n): bigint {
  return new Guest(source, { registers: { a0: 0xdead, a1, a2 } }).run(1).get("a0");
}

const NUMBERS = [0n, 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 32n, 0x1234_5678_9abc_def0n];

Deno.test("czero.eqz: “moves zero to a register rd, if the condition rs2 is equal to zero, otherwise moves rs1 to rd”", () => {
  for (const value of NUMBERS) {
    for (const condition of NUMBERS) {
      assertEquals(result("czero.eqz a0, a1, a2", value, condition), condition === 0n ? 0n : value);
    }
  }
});

Deno.test("czero.nez: “moves zero to a register rd, if the condition rs2 is nonzero, otherwise moves rs1 to rd”", () => {
  for (const value of NUMBERS) {
    for (const condition of NUMBERS) {
      assertEquals(result("czero.nez a0, a1, a2", value, condition), condition !== 0n ? 0n : value);
    }
  }
});

Deno.test("ctzw counts “to the most-significant bit of the least-significant word”; “if the least-significant word is 0, the output is 32”", () => {
  for (let bit = 0n; bit < 32n; bit++) {
    assertEquals(result("ctzw a0, a1", 1n << bit), bit);
    assertEquals(result("ctzw a0, a1", 0xffff_ffff_0000_0000n | 0x8000_0000n | 1n << bit), bit);
    assertEquals(result("ctzw a0, a1", 1n << bit + 32n), 32n);
  }
  assertEquals(result("ctzw a0, a1", 0n), 32n);
});

Deno.test("csrrs and csrrc of a read-only CSR are writes, and illegal, “if rs1 specifies a register other than x0, and that register holds a zero value”", () => {
  for (const csr of ["cycle", "instret", "mhartid", "mvendorid"]) {
    for (const name of ["csrrs", "csrrc"]) {
      assertEquals(new Guest(`${name} a0, ${csr}, a1`, { registers: { a1: 0 } }).trap().cause, 2, `${name} ${csr}`);
      assertEquals(new Guest(`${name} a0, ${csr}, zero`).run(1).get("mcause"), 0n, `${name} ${csr}`);
    }
  }
});
