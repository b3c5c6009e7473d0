// Turns on the one thread.

import { assertEquals, assertLess } from "@std/assert";
import { Turns } from "../../core/turns.ts";
import { FakeHost } from "../support/fake_host.ts";

Deno.test("turns go round", async () => {
  const host = new FakeHost();
  const turns = new Turns(host);
  const order: string[] = [];
  const machine = async (name: string) => {
    for (let i = 0; i < 3; i++) {
      await turns.take();
      order.push(name);
    }
  };
  await Promise.all([machine("a"), machine("b"), machine("c")]);
  assertEquals([order.join(""), host.turns], ["abcabcabc", 9]);
});

Deno.test("a turn is shorter while others wait", async () => {
  const turns = new Turns(new FakeHost());
  await turns.take();
  const alone = turns.slice;
  const second = turns.take();
  assertLess(turns.slice, alone);
  await second;
});
