// What families of cases have to try, whatever the random.

import { assertEquals } from "@std/assert";
import { Random } from "./body.ts";
import { MATRIX, permissions } from "./families/pages.ts";

Deno.test("the matrix of permissions has each combination in every scheme", () => {
  const combinations = new Map<bigint, string[]>();
  for (let i = 0; i < MATRIX; i++) {
    const { mode, status, csrs = [], x = [], code, writes = [] } = permissions(i, new Random(i));
    const satp = csrs.find(([name]) => name === "satp")![1];
    const flags = writes.slice(-64).map(([, entry]) => entry & 0xffn);
    const known = combinations.get(satp >> 60n);
    const combination = [mode, status, x[20], ...code.map(({ bits }) => bits), ...flags].join(" ");
    if (known) known.push(combination);
    else combinations.set(satp >> 60n, [combination]);
  }
  const [sv39, ...others] = combinations.values().map((each) => each.sort());
  assertEquals(combinations.keys().toArray(), [8n, 9n, 10n]);
  for (const other of others) assertEquals(other, sv39);
});
