// How cases of differential testing are compared; on denovisor alone, which plays both sides.

import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { encode } from "../support/riscv_rig.ts";
import { type Case, Image, instruction } from "./case.ts";
import { differences } from "./compare.ts";
import { type Peer, runHere, Unfinished } from "./machines.ts";
import { programDifferences } from "./programs.ts";
import { findQemuCpu } from "./qemu_cpu.ts";

const qemu = await findQemuCpu();

const add = (imm: number) => instruction("addi", { rd: 10, imm });
const made = (seed: number, ...code: Case["code"]): Case => ({ family: "test", seed, mode: 3, code });
const here: Peer = (image) => runHere(image, "interpreted", 2);

Deno.test("a case that one machine does not end is a difference, and the others are compared all the same", async () => {
  const endless = made(3, { bits: encode("jal"), length: 4 });
  const cases = [made(1, add(1)), made(2, add(2)), endless, made(4, add(4)), made(5, add(5))];
  // The other machine knows no loops, and counts wrong in the fifth case.
  const other: Peer = (image) => {
    const wrong = new Map([[3, add(3)], [5, add(6)]]);
    const cases = image.cases.map(({ case: it }) => ({
      ...it,
      code: wrong.has(it.seed) ? [wrong.get(it.seed)!] : it.code,
    }));
    return here(Image.of(cases)[0]);
  };
  const [stuck, differs, ...rest] = await Array.fromAsync(differences(cases, here, other));
  assertInstanceOf(stuck, Unfinished);
  assertEquals(stuck.placed?.case, endless);
  assertStringIncludes(stuck.message, "denovisor does not come to the end, in time, of this case:\ntest, seed 3");
  assertEquals(differs instanceof Unfinished || [differs.placed.case.seed, differs.item, differs.ours], [5, "a0", 5n]);
  assertEquals(rest, []);

  const [theirs] = await Array.fromAsync(differences(cases, other, here));
  assertEquals(theirs instanceof Unfinished && theirs.placed?.case.seed, 3);
  assertEquals(await Array.fromAsync(differences(cases, here, here)), [], "nobody ends it: an endless loop");
});

Deno.test({
  name: "a program that does not end is a difference, and the others are compared all the same",
  ignore: !qemu,
  async fn() {
    const user = (it: Case): Case => ({ ...it, mode: 0 });
    const cases = [made(1, add(1)), made(2, { bits: encode("jal"), length: 4 }), made(3, add(3))].map(user);
    const found = await Array.fromAsync(programDifferences(cases, qemu!.cpu, "interpreted", 2));
    assertEquals(found.map(({ program, how }) => [program.seed, how]), [[2, "QEMU does not come to the end in time"]]);
  },
});
