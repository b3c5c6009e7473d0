// Interrupt lines: wiring and sharing.

import { assertEquals, assertThrows } from "@std/assert";
import { Interrupts } from "../../core/irq.ts";

function controller(): { inputs: number; log: string[]; set(input: number, level: boolean): void } {
  const log: string[] = [];
  return { inputs: 8, log, set: (input, level) => void log.push(`${input} ${level ? "up" : "down"}`) };
}

Deno.test("an interrupt line reaches its input of the controller on changes alone", () => {
  const interrupts = new Interrupts();
  const line = interrupts.line();
  line.connect(3);
  const plic = controller();
  interrupts.attach("plic", plic);
  for (const level of [true, true, false, false, true]) line.set(level);
  assertEquals(plic.log, ["3 up", "3 down", "3 up"]);
});

Deno.test("lines that share an input are OR-ed", () => {
  const interrupts = new Interrupts();
  const [one, two] = [interrupts.line(), interrupts.line()];
  one.connect(5);
  two.connect(5);
  const plic = controller();
  interrupts.attach("plic", plic);
  one.set(true);
  two.set(true);
  one.set(false);
  assertEquals(plic.log, ["5 up"]);
  two.set(false);
  assertEquals(plic.log, ["5 up", "5 down"]);
});

Deno.test("a line that is raised before it is wired shows at the next refresh", () => {
  const interrupts = new Interrupts();
  const line = interrupts.line();
  line.set(true);
  line.connect(1);
  const plic = controller();
  interrupts.attach("plic", plic);
  interrupts.refresh();
  assertEquals(plic.log, ["1 up"]);
});

Deno.test("clear forgets levels, and devices derive them again", () => {
  const interrupts = new Interrupts();
  const [one, two] = [interrupts.line(), interrupts.line()];
  one.connect(1);
  two.connect(2);
  const plic = controller();
  interrupts.attach("plic", plic);
  one.set(true);
  interrupts.clear();
  two.set(true);
  interrupts.refresh();
  assertEquals(plic.log, ["1 up", "2 up", "1 down", "2 up"]);
});

Deno.test("a controller without an input that is wired is refused", () => {
  const interrupts = new Interrupts();
  interrupts.line().connect(8);
  assertThrows(
    () => interrupts.attach("plic", controller()),
    RangeError,
    "Cannot wire interrupt 8: wanted an input of plic from 0 to 7",
  );
});
