// What machines share: turns, objects, plugins.

import { assert, assertEquals, assertLess } from "@std/assert";
import { createHypervisor } from "../../mod.ts";
import { defineBackend } from "../../core/plugin.ts";
import { object } from "../../core/schema.ts";
import { createWebHost } from "../../plugins/host/web_host.ts";
import { FakeHost } from "../support/fake_host.ts";
import { longestWait } from "../support/lag.ts";
import type { Script } from "../support/script_engine.ts";
import { device, scriptMachine } from "../support/script_machine.ts";

const busy: Script = function* () {
  while (true) yield;
};

Deno.test("two busy machines get the same share of the thread", async () => {
  const host = new FakeHost();
  const hypervisor = createHypervisor({ host });
  const [a, b] = [
    await scriptMachine({ host, hypervisor, script: busy }),
    await scriptMachine({ host, hypervisor, script: busy }),
  ];
  void a.machine.run();
  void b.machine.run();
  while (a.engine.retired + b.engine.retired < 200_000) await new Promise((resolve) => setTimeout(resolve, 0));
  const share = a.engine.retired / (a.engine.retired + b.engine.retired);
  assert(share > 0.45 && share < 0.55, `share ${share}`);
  await hypervisor[Symbol.asyncDispose]();
});

Deno.test("busy machines leave the event loop its turn within ten milliseconds", async () => {
  const host = createWebHost(() => Promise.reject(new Error("no modules")));
  const hypervisor = createHypervisor({ host });
  const rigs = [];
  for (let i = 0; i < 3; i++) rigs.push(await scriptMachine({ hypervisor, script: busy }));
  for (const { machine, engine } of rigs) {
    engine.tick = () => {};
    void machine.run();
  }
  const longest = await longestWait(10);
  await hypervisor[Symbol.asyncDispose]();
  assertLess(longest, 10);
});

Deno.test("back ends of one hypervisor share objects, those of another do not", async () => {
  const opened: object[] = [];
  const ether = defineBackend({
    name: "ether",
    provides: "net",
    permissions: [],
    config: object({}),
    open({ shared }) {
      opened.push(shared("hub", () => ({})));
      return { offloads: false, linkUp: true, send() {}, receive: () => null };
    },
  });
  const plugins = { ether, card: device("card", ["net"]) };
  const description = { devices: [{ use: "card", backends: { net: { use: "ether" } } }] };
  await using hypervisor = createHypervisor({ host: new FakeHost() });
  await using _a = await scriptMachine({ hypervisor, plugins, description });
  await using _b = await scriptMachine({ hypervisor, plugins, description });
  await using _c = await scriptMachine({ plugins, description });
  assertEquals([opened[0] === opened[1], opened[0] === opened[2]], [true, false]);
});

Deno.test("shared objects are disposed with their hypervisor", async () => {
  const log: string[] = [];
  const hypervisor = createHypervisor({ host: new FakeHost() });
  hypervisor.shared("a", () => ({ [Symbol.dispose]: () => void log.push("a") }));
  hypervisor.shared("b", () => ({ [Symbol.asyncDispose]: () => Promise.resolve(void log.push("b")) }));
  hypervisor.shared("c", () => null);
  await hypervisor[Symbol.asyncDispose]();
  assertEquals(log, ["a", "b"]);
});

Deno.test("a module is loaded once for all machines of a hypervisor", async () => {
  const host = new FakeHost();
  host.modules.set("jsr:@you/gadget", device("gadget", []));
  await using hypervisor = createHypervisor({ host });
  const description = { devices: [{ use: "jsr:@you/gadget" }, { use: "jsr:@you/gadget" }] };
  await using _a = await scriptMachine({ host, hypervisor, description });
  await using _b = await scriptMachine({ host, hypervisor, description });
  assertEquals(host.loaded, ["jsr:@you/gadget"]);
});
