// Tests plugins/file_disk.ts on files of the host.

import { assertEquals, assertRejects } from "@std/assert";
import { join, toFileUrl } from "@std/path";
import type { Bytes } from "../../core/plugin.ts";
import file_disk from "../../plugins/file_disk.ts";
import { blockSuite, pattern } from "../support/backend_suites.ts";
import { Room } from "../support/room.ts";

/** A file that is gone when the test is. */
function temporary(content: Bytes): { path: string } & Disposable {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, content as Uint8Array<ArrayBuffer>);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

blockSuite("file_disk", async (content, readOnly) => {
  using file = temporary(content);
  // The open file outlives its name.
  return await new Room().open(file_disk, { path: file.path, readOnly });
});

Deno.test("file_disk writes into the file, where others see it", async () => {
  using file = temporary(pattern(4096));
  const disk = await new Room().open(file_disk, { path: file.path });
  assertEquals(await disk.write(512, [pattern(512, 5)]), "ok");
  assertEquals(await disk.flush(), "ok");
  assertEquals(Deno.readFileSync(file.path).subarray(512, 1024), pattern(512, 5));
  await disk.close?.();
});

Deno.test("file_disk resolves relative paths against the description's base", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "a #%20 folder" });
  Deno.writeFileSync(join(folder, "disk #1.img"), pattern(512));
  const open = (path: string, base?: string) => new Room().open(file_disk, { path, readOnly: true }, { base });
  const base = toFileUrl(join(folder, "machine.json")).href;
  for (const path of ["disk #1.img", "./disk #1.img", toFileUrl(join(folder, "disk #1.img")).href]) {
    const disk = await open(path, base);
    assertEquals(disk.size, 512);
    await disk.close?.();
  }
  await assertRejects(() => open("disk #1.img", "https://example.org/machine.json"), Error, "it does not exist");
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("file_disk refuses with one sentence what can be no disk", async () => {
  const open = (path: string) => () => new Room().open(file_disk, { path }, { name: "disk0" });
  using odd = temporary(pattern(1000));
  using empty = temporary(new Uint8Array());
  await assertRejects(
    open(odd.path),
    Error,
    `Cannot open disk0: ${odd.path}: wanted a multiple of 512 bytes, got 1000`,
  );
  await assertRejects(open(empty.path), Error, "wanted a multiple of 512 bytes, got 0");
  await assertRejects(open(`${odd.path}.none`), Error, "it does not exist");
  await assertRejects(open(Deno.cwd()), Error, "it is a directory");
  await assertRejects(() => new Room().open(file_disk, { path: 7 }), TypeError, "device0.path: wanted text, got 7");
});

Deno.test("file_disk lets one disk write to a file, and any number read it", async () => {
  using file = temporary(pattern(512));
  const open = (readOnly: boolean) => new Room().open(file_disk, { path: file.path, readOnly });
  const writer = await open(false);
  await assertRejects(() => open(false), Error, "another disk writes to it");
  for (const reader of [await open(true), await open(true)]) await reader.close?.();
  await writer.close?.();
  await (await open(false)).close?.();
});

Deno.test("file_disk answers an error and says it once when the file became too short", async () => {
  using file = temporary(pattern(2 << 20));
  const room = new Room();
  const disk = await room.open(file_disk, { path: file.path }, { name: "disk0" });
  Deno.truncateSync(file.path, 1024);
  assertEquals(await disk.read(512, [new Uint8Array(1024)]), "error");
  assertEquals(await disk.read(0, [new Uint8Array((1 << 20) + 512)]), "error");
  assertEquals(room.lines, [`cannot read ${file.path}: it ends too early`]);
  assertEquals(await disk.read(0, [new Uint8Array(512)]), "ok");
  await disk.close?.();
});
