// How little is left of a case that differs, with machines that are wrong on purpose.

import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { INSTRUCTIONS } from "../../plugins/riscv/instructions.ts";
import { encode } from "../support/riscv_rig.ts";
import { type Case, Image, type Instruction, instruction } from "./case.ts";
import { askPeers, ended } from "./compare.ts";
import { integers, program } from "./families/user.ts";
import { type Peer, runHere, Unfinished } from "./machines.ts";
import { minimise } from "./minimise.ts";
import { askPrograms } from "./programs.ts";
import { findQemuCpu } from "./qemu_cpu.ts";

const qemu = await findQemuCpu();

const here: Peer = (image) => runHere(image, "interpreted", 2);
/** Not what the machines mistake, nor what some QEMU lacks. */
const may = (name: string) => !/^((c\.)?(jal|j|sub)|czero.*|ctzw|andn)$/.test(name);
const nameOf = ({ bits }: Instruction): string => INSTRUCTIONS.decode(bits)?.row.name ?? "";
const names = ({ code }: Case): string[] => code.map(nameOf);

const of = (name: string): Instruction => instruction(name, { rd: 4, rs1: 5, rs2: 6 });
/** A case, and one more instruction. */
const and = (it: Case, one: Instruction): Case => ({ ...it, code: [...it.code, one] });

/** A machine that takes each instruction of a name for another one. */
const mistaking = (name: string, other: Instruction): Peer => (image) => {
  const cases = image.cases.map(({ case: it }) => ({
    ...it,
    code: it.code.map((each) => nameOf(each) === name ? other : each),
  }));
  return here(Image.of(cases)[0]);
};

Deno.test("of a case that differs by one instruction no other one is left", async () => {
  const it = and(integers(3, { may }), of("sub"));
  const ask = askPeers(here, mistaking("sub", of("add")));
  const [found] = await ask([it]);
  const least = await minimise(it, found!, ask, ended);
  assertEquals(names(least.placed!.case), ["sub"]);
});

Deno.test("of a case that one machine does not end only the loop is left", async () => {
  const { code, ...it } = integers(3, { may });
  const endless = and({ ...it, code: code.slice(0, 4) }, { bits: encode("jal"), length: 4 });
  const ask = askPeers(here, mistaking("jal", of("add")));
  const [found] = await ask([endless]);
  const least = await minimise(endless, found!, ask, ended);
  assertInstanceOf(least, Unfinished);
  assertEquals(names(least.placed!.case), ["jal"]);
});

Deno.test("a case that differs does not become one that does not end", async () => {
  const jump = (imm: number) => instruction("jal", { imm });
  const [loop, on] = [jump(0), jump(4)];
  const { code: _, ...it } = integers(3, { may });
  // The branch goes over the loop as long as the register is cleared.
  const clear = instruction("addi", { rd: 5 }), over = instruction("beq", { rs1: 5, imm: 8 });
  const differs = { ...it, x: it.x!.map((value, i) => i === 5 ? 1n : value), code: [on, clear, over, loop] };
  const ask = askPeers(here, mistaking("jal", of("add")));
  const [found] = await ask([differs]);
  const least = await minimise(differs, found!, ask, ended);
  assertEquals(least.placed!.case.code, [on]);
});

Deno.test({
  name: "of a program that differs by one instruction no other one is left",
  ignore: !qemu,
  async fn() {
    const it = and(program(3, { may: (name) => may(name) && qemu!.has(name) }), of("andn"));
    const ask = askPrograms(`${qemu!.cpu},zbb=false`, "interpreted", 5);
    const [found] = await ask([it]);
    assertStringIncludes(found!.how, "SIGILL");
    const { program: least } = await minimise(it, found!, ask, ({ ended }) => ended);
    assertEquals(names(least), ["andn"]);
  },
});
