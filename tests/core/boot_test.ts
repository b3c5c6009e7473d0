// Booting: files read in parts, straight to their places in RAM, while the engine prepares itself.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type BootContext, type BootFile, bytesFile, defineBoard, filePart } from "../../core/plugin.ts";
import { FakeHost } from "../support/fake_host.ts";
import { plainBoard, RAM } from "../support/script_engine.ts";
import { scriptMachine } from "../support/script_machine.ts";

/** A board that boots as the test says. */
function board(boot: (context: BootContext) => void) {
  return defineBoard({ ...plainBoard, create: (context) => ({ ...plainBoard.create(context), boot }) });
}

/** A file whose reads end when the test says so, and a log of them. */
function slowFile(bytes: Uint8Array) {
  const log: string[] = [];
  const ends: ((error?: Error) => void)[] = [];
  const file: BootFile = {
    ...bytesFile(bytes),
    async read(at, into) {
      log.push(`${at}+${into.length}`);
      const error = await new Promise<Error | void>((resolve) => ends.push(resolve));
      if (error) throw error;
      into.set(bytes.subarray(at, at + into.length));
    },
  };
  return { file, log, ends };
}

/** Until all that is under way without the test has come to its end. */
const rest = () => new Promise((resolve) => setTimeout(resolve, 20));

Deno.test("a part of a file has its own beginning and end", async () => {
  const whole = bytesFile(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  const part = filePart(filePart(whole, 1, 6), 1, 4);
  assertEquals([part.length, ...part.slice(0, 9)], [4, 2, 3, 4, 5]);
  assertEquals([...part.slice(3, 2), ...part.slice(4, 1), ...part.slice(9, 1)], [5]);
  const into = new Uint8Array(3);
  await part.read(1, into);
  assertEquals([...into], [3, 4, 5]);
  await assertRejects(() => part.read(2, into), RangeError, "Cannot read 3 bytes from 2 on: there are 4");
  await assertRejects(() => whole.read(6, into), RangeError, "Cannot read 3 bytes from 6 on: there are 8");
  for (const [at, length] of [[5, 4], [-1, 2], [0, -1], [NaN, 1], [9, 0]]) {
    assertThrows(() => filePart(whole, at, length), RangeError, "there are 8");
  }
});

Deno.test("files are read side by side while the engine prepares itself, and before the guest runs", async () => {
  const [kernel, initrd] = [slowFile(Uint8Array.of(1, 2, 3, 4, 5)), slowFile(Uint8Array.of(7, 8))];
  const host = new FakeHost();
  host.files.set("file:///kernel", kernel.file);
  host.files.set("file:///initrd", initrd.file);
  const plain = board(({ engine, files, write }) => {
    write(RAM + 1, filePart(files.kernel!, 1, 3));
    write(RAM + 9, files.initrd!);
    write(RAM + 11, filePart(files.kernel!, 0, 1));
    assertEquals((engine as unknown as { prepared: number }).prepared, 0);
    engine.harts[0].start({ pc: 0n, mode: "" });
  });
  let built = false;
  const building = scriptMachine({
    host,
    plugins: { plain },
    description: { boot: { kernel: "/kernel", initrd: "/initrd" } },
  });
  building.then(() => built = true);
  await rest();
  assertEquals([kernel.log, initrd.log, built], [["1+3", "0+1"], ["0+2"], false]);
  kernel.ends.forEach((end) => end());
  await rest();
  assertEquals(built, false);
  initrd.ends.forEach((end) => end());
  await using rig = await building;
  assertEquals(rig.engine.prepared, 1);
  assertEquals([...new Uint8Array(rig.engine.ram.buffer, 0, 13)], [0, 2, 3, 4, 0, 0, 0, 0, 0, 7, 8, 1, 0]);
  assertEquals(rig.engine.invalidated.sort(), ["0x80000001+3", "0x80000009+2", "0x8000000b+1"]);
  assertEquals(rig.machine.collectDirty(), [0]);
});

Deno.test("where files and bytes overlap in RAM, what the board gave last is found", async () => {
  const { file, log, ends } = slowFile(new Uint8Array(64).fill(1));
  const host = new FakeHost();
  host.files.set("file:///kernel", file);
  const plain = board(({ engine, files, write }) => {
    write(RAM, Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9));
    write(RAM + 2, filePart(files.kernel!, 0, 4));
    write(RAM + 3, Uint8Array.of(5));
    write(RAM + 5, filePart(files.kernel!, 0, 1));
    for (let i = 0; i < 40; i++) write(RAM + 100 + i, filePart(files.kernel!, i, 1));
    write(RAM + 139, Uint8Array.of(6, 6));
    engine.harts[0].start({ pc: 0n, mode: "" });
  });
  const building = scriptMachine({ host, plugins: { plain }, description: { boot: { kernel: "/kernel" } } });
  await rest();
  assertEquals(log, ["0+4"]);
  for (let ended = 0, most = 1; ended < 42; most = 16) {
    assertEquals(log.length - ended <= most, true);
    while (ended < log.length) ends[ended++]();
    await rest();
  }
  await using rig = await building;
  const ram = new Uint8Array(rig.engine.ram.buffer);
  assertEquals([...ram.subarray(0, 9)], [9, 9, 1, 5, 1, 1, 9, 9, 0]);
  assertEquals([...ram.subarray(100, 142)], [...new Array(39).fill(1), 6, 6, 0]);
});

Deno.test("a large file of odd length is read in pieces, each to its place", async () => {
  const MIB = 2 ** 20;
  const bytes = Uint8Array.from({ length: 17 * MIB + 3 }, (_, i) => i * 7 + (i >> 8) * 13 + (i >> 16) * 29);
  const { file, log, ends } = slowFile(bytes);
  const host = new FakeHost();
  host.files.set("file:///kernel", file);
  const building = scriptMachine({ host, description: { memory: "20M", boot: { kernel: "/kernel" } } });
  await rest();
  assertEquals(log, [`0+${8 * MIB}`, `${8 * MIB}+${8 * MIB}`, `${16 * MIB}+${MIB + 3}`]);
  ends.reverse().forEach((end) => end());
  await using rig = await building;
  const ram = new Uint8Array(rig.engine.ram.buffer);
  assertEquals(bytes.findIndex((byte, i) => ram[i] !== byte), -1);
  assertEquals(ram.subarray(bytes.length).every((byte) => byte === 0), true);
});

Deno.test("a file that can not be read to its end is named, after every other read into RAM has ended", async () => {
  const [kernel, initrd] = [slowFile(new Uint8Array(8)), slowFile(new Uint8Array(8))];
  const host = new FakeHost();
  host.files.set("file:///work/kernel", kernel.file);
  host.files.set("file:///work/initrd", initrd.file);
  const plain = board(({ files, write }) => {
    write(RAM, files.kernel!);
    write(RAM + 64, files.initrd!);
  });
  let message = "";
  const building = assertRejects(() =>
    scriptMachine({
      host,
      base: "file:///work/",
      plugins: { plain },
      description: { boot: { kernel: "kernel", initrd: "initrd" } },
    })
  ).then((error) => message = (error as Error).message);
  await rest();
  kernel.ends[0](new Error("it changed while it was being read"));
  await rest();
  assertEquals(message, "");
  initrd.ends[0]();
  await building;
  assertEquals(message, "Cannot read kernel kernel: it changed while it was being read");
});

Deno.test("a header that can not be read is told with the file's name", async () => {
  const host = new FakeHost();
  host.files.set("file:///work/kernel", {
    ...bytesFile(new Uint8Array(8)),
    slice() {
      throw new Error("it is on fire");
    },
  });
  const plain = board(({ files }) => void files.kernel!.slice(0, 4));
  await assertRejects(
    () =>
      scriptMachine({ host, base: "file:///work/", plugins: { plain }, description: { boot: { kernel: "kernel" } } }),
    Error,
    "Cannot read kernel kernel: it is on fire",
  );
});

Deno.test("a guest is given 32 of the host's random bytes at each boot, and none under the instruction clock", async () => {
  let filled = 0;
  for (const clock of ["host", "instructions"] as const) {
    const seeds: (Uint8Array | undefined)[] = [];
    const host = new FakeHost();
    host.entropy = (into) => into.fill(++filled);
    const plain = board(({ engine, seed }) => {
      seeds.push(seed);
      engine.harts[0].start({ pc: 0n, mode: "" });
    });
    await using rig = await scriptMachine({ host, plugins: { plain }, description: { clock } });
    await rig.machine.reset();
    const random = (byte: number) => new Uint8Array(32).fill(byte);
    assertEquals(seeds, clock === "host" ? [random(1), random(2)] : [undefined, undefined]);
  }
});
