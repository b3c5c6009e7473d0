// The host port over web APIs.

import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { cpuUsage } from "node:process";
import { createHypervisor } from "../../mod.ts";
import { createWebHost } from "../../plugins/web_host.ts";
import { FakeHost } from "../support/fake_host.ts";
import { device, scriptMachine } from "../support/script_machine.ts";

const MILLISECOND = 1_000_000;
const host = createWebHost((specifier) => Promise.resolve(`module ${specifier}`));
const never = new Promise<void>(() => {});

Deno.test("host time is whole nanoseconds and goes forward", () => {
  const [a, b] = [host.now(), host.now()];
  assert(Number.isSafeInteger(a) && b >= a);
  assertLess(Math.abs(host.wallTime() / 1000 - Date.now()), 1000);
});

Deno.test("a turn lets timers run", async () => {
  let fired = false;
  setTimeout(() => fired = true, 0);
  const start = performance.now();
  while (!fired && performance.now() - start < 1000) await host.turn();
  assert(fired);
});

Deno.test("sleep ends after its time, about", async () => {
  for (const milliseconds of [0.2, 3, 10]) {
    const start = performance.now();
    await host.sleep(milliseconds * MILLISECOND, never);
    const slept = performance.now() - start;
    assert(slept >= milliseconds - 0.2 && slept < milliseconds + 50, `${milliseconds} ms took ${slept} ms`);
  }
});

Deno.test("sleep ends as soon as it is woken, and leaves no timer behind", async () => {
  const start = performance.now();
  await host.sleep(Infinity, new Promise((resolve) => setTimeout(resolve, 5)));
  await host.sleep(60_000 * MILLISECOND, Promise.resolve());
  assertLess(performance.now() - start, 200);
});

Deno.test("entropy fills any length, shared memory too", () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(200_000));
  host.entropy(bytes);
  assert(bytes.subarray(-1000).some((byte) => byte !== 0));
});

Deno.test("paths and URLs resolve against the base", () => {
  assertEquals(
    [
      host.resolve("https://example.org/x.ts", undefined),
      host.resolve("/images/kernel", undefined),
      host.resolve("../kernel #1 50%?", "file:///home/me/guests/"),
      host.resolve("./x.ts", "https://example.org/a/b.ts"),
    ],
    [
      "https://example.org/x.ts",
      "file:///images/kernel",
      "file:///home/me/kernel%20%231%2050%25%3F",
      "https://example.org/a/x.ts",
    ],
  );
  assertThrows(() => host.resolve("kernel", undefined), TypeError, "kernel is relative: wanted a base");
});

Deno.test("files are read by file: and data: URLs; what is not there is an error", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, Uint8Array.of(1, 2, 3));
  assertEquals([...await host.readFile(host.resolve(path, undefined))], [1, 2, 3]);
  await Deno.remove(path);
  assertEquals([...await host.readFile("data:application/octet-stream;base64,BQYH")], [5, 6, 7]);
  await assertRejects(() => host.readFile(host.resolve(path, undefined)), Error, "No such file");
});

Deno.test("an idle machine leaves the processor alone", async () => {
  let ticks = 0;
  const timer = device("timer", ["clock"], ({ clock }) => {
    const alarm = clock.alarm("tick", () => {
      ticks++;
      alarm.at(clock.now + 20 * MILLISECOND);
    });
    return { refresh: () => alarm.at(0) };
  });
  await using hypervisor = createHypervisor({ host });
  await using rig = await scriptMachine({ host: new FakeHost(), hypervisor, plugins: { timer } });
  void rig.machine.run();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const before = cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 800));
  const used = cpuUsage(before);
  // Ten times what it measures on a quiet host, which this one may not be.
  assertLess((used.user + used.system) / 800_000, 0.2);
  assert(ticks > 20 && ticks < 55, `${ticks} ticks`);
});

Deno.test("a program ends when its machines are disposed", async () => {
  const mod = new URL("../../mod.ts", import.meta.url).href;
  const code = `
    import { createHypervisor } from ${JSON.stringify(mod)};
    const hypervisor = createHypervisor();
    await hypervisor.host.turn();
    await hypervisor[Symbol.asyncDispose]();
    console.log("done");`;
  const child = new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", "--ext=ts", code], stdout: "piped" })
    .spawn();
  const late = setTimeout(() => child.kill(), 20_000);
  const { success, stdout } = await child.output();
  clearTimeout(late);
  assertEquals([success, new TextDecoder().decode(stdout)], [true, "done\n"]);
});
