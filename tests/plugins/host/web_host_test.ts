// The host port over web APIs.

import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { cpuUsage } from "node:process";
import { createHypervisor } from "../../../mod.ts";
import file_disk from "../../../plugins/file_disk.ts";
import { createWebHost } from "../../../plugins/host/web_host.ts";
import { FakeHost } from "../../support/fake_host.ts";
import { faultyFiles } from "../../support/faulty_files.ts";
import { Room } from "../../support/room.ts";
import { device, scriptMachine } from "../../support/script_machine.ts";

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
    assert(slept >= milliseconds - 0.2 && slept < milliseconds + 500, `${milliseconds} ms took ${slept} ms`);
  }
});

Deno.test("sleep ends as soon as it is woken, and leaves no timer behind", async () => {
  const start = performance.now();
  await host.sleep(Infinity, new Promise((resolve) => setTimeout(resolve, 5)));
  await host.sleep(60_000 * MILLISECOND, Promise.resolve());
  assertLess(performance.now() - start, 5000);
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
});

Deno.test("without a base a path is relative to the working directory", async () => {
  const folder = await Deno.makeTempDir({ prefix: "a #%20 folder" });
  const before = Deno.cwd();
  Deno.chdir(folder);
  try {
    await Deno.writeFile("kernel #1", Uint8Array.of(1, 2, 3));
    assertEquals((await host.openFile(host.resolve("kernel #1", undefined))).length, 3);
    await Deno.writeFile("disk.raw", new Uint8Array(512));
    const disk = await new Room().open(file_disk, { path: "disk.raw" });
    assertEquals(disk.size, 512);
    await disk.close?.();
  } finally {
    Deno.chdir(before);
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("where there are no files a relative path wants a base", () => {
  const deno = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
  Object.defineProperty(globalThis, "Deno", { ...deno, value: undefined });
  try {
    const web = createWebHost(() => Promise.resolve(undefined));
    assertThrows(() => web.resolve("kernel", undefined), TypeError, "kernel is relative: wanted a base");
    assertEquals(web.resolve("kernel", "https://example.org/a/"), "https://example.org/a/kernel");
  } finally {
    Object.defineProperty(globalThis, "Deno", deno);
  }
});

/** A file that lives as long as the test. */
async function temporaryFile(bytes: Uint8Array) {
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, bytes);
  return { path, url: host.resolve(path, undefined), [Symbol.asyncDispose]: () => Deno.remove(path) };
}

/** Bytes that differ from their neighbours and from those of other pages. */
function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8) * 13 + (i >> 16) * 29);
}

Deno.test("files are opened by file: and data: URLs; what is not there is an error", async () => {
  await using there = await temporaryFile(Uint8Array.of(1, 2, 3));
  for (const [url, bytes] of [[there.url, [1, 2, 3]], ["data:application/octet-stream;base64,BQYH", [5, 6, 7]]]) {
    const file = await host.openFile(url as string);
    assertEquals([file.length, ...file.slice(0, 9)], [3, ...bytes as number[]]);
    assertEquals([...file.slice(2, 1), ...file.slice(5, 1)], [(bytes as number[])[2]]);
    const into = new Uint8Array(2);
    await file.read(1, into);
    assertEquals([...into], (bytes as number[]).slice(1));
    await assertRejects(() => file.read(2, into));
  }
  await assertRejects(() => host.openFile(`${there.url}.not`), Error, "it does not exist");
  await assertRejects(() => host.openFile(host.resolve(Deno.cwd(), undefined)), Error, "it is a directory");
});

Deno.test("parts of a file are read side by side, straight into a guest's memory", async () => {
  const bytes = pattern(5 * 2 ** 20 + 77);
  await using there = await temporaryFile(bytes);
  const file = await host.openFile(there.url);
  for (const shared of [false, true]) {
    const memory = new WebAssembly.Memory({ initial: 128, maximum: 128, shared });
    const ram = new Uint8Array(memory.buffer);
    const cut = 3 * 2 ** 20 + 1;
    const reads = [
      file.read(cut, ram.subarray(4097 + cut, 4097 + bytes.length)),
      file.read(0, ram.subarray(4097, 4097 + cut)),
    ];
    assertEquals(file.slice(cut, 3), bytes.slice(cut, cut + 3));
    await Promise.all(reads);
    assert(bytes.every((byte, i) => ram[4097 + i] === byte));
    assertEquals([ram[4096], ram[4097 + bytes.length]], [0, 0]);
  }
});

Deno.test("a file that changes while it is read is an error", async () => {
  const refused = async (change: (path: string) => Promise<unknown>, message: string) => {
    await using there = await temporaryFile(pattern(5000));
    const file = await host.openFile(there.url);
    await change(there.path);
    assertThrows(() => file.slice(0, 8), Error, message);
    await assertRejects(() => file.read(0, new Uint8Array(5000)), Error, message);
    await Deno.writeFile(there.path, new Uint8Array(1)); // for the removal
  };
  await refused((path) => Deno.truncate(path, 100), "it changed while it was being read");
  await refused((path) => Deno.utime(path, 1, 1), "it changed while it was being read");
  await refused((path) => Deno.remove(path), "it does not exist");
  // In the midst of a read, which gets what is there and then nothing.
  await using there = await temporaryFile(pattern(5000));
  const file = await host.openFile(there.url);
  let reads = 0;
  const cut = () => void (reads++ === 1 && Deno.truncateSync(there.path, 10));
  using _ = faultyFiles({ most: 100, read: cut as () => undefined });
  await assertRejects(() => file.read(0, new Uint8Array(5000)), Error, "it changed while it was being read");
  assertEquals(reads, 2);
});

Deno.test("short reads of a file are continued", async () => {
  const bytes = pattern(1001);
  await using there = await temporaryFile(bytes);
  const file = await host.openFile(there.url);
  using _ = faultyFiles({ most: 100 });
  const into = new Uint8Array(501);
  await file.read(500, into);
  assertEquals([file.slice(0, 1001), into], [bytes, bytes.slice(500)]);
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
  const mod = new URL("../../../mod.ts", import.meta.url).href;
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
