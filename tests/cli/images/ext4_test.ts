// The empty ext4 file system of the data disk, by its fields and by the tools of e2fsprogs.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { makeDataDisk } from "../../../cli/images/data_disk.ts";
import { ext4 } from "../../../cli/images/ext4.ts";

const MIB = 1024 * 1024;
const UUID = new Uint8Array(16).fill(0xab);

/** e2fsck's place: often beyond the search path of a user. */
const e2fsck = ["e2fsck", "/usr/sbin/e2fsck", "/sbin/e2fsck"].find((command) => {
  try {
    return new Deno.Command(command, { args: ["-V"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
});

Deno.test("ext4 writes a superblock that counts what is free", () => {
  const block = ext4(64 * MIB, "data", UUID).get(0)!;
  const view = new DataView(block.buffer, 1024);
  assertEquals(view.getUint16(0x38, true), 0xef53);
  assertEquals(view.getUint32(0x04, true), 64 * MIB / 4096);
  assertEquals(new TextDecoder().decode(block.subarray(1024 + 0x78, 1024 + 0x7c)), "data");
  const bitmap = ext4(64 * MIB, "data", UUID).get(2 * 4096)!;
  const free = bitmap.reduce((sum, byte) => sum + 8 - byte.toString(2).replaceAll("0", "").length, 0);
  assertEquals(view.getUint32(0x0c, true), free);
});

Deno.test("ext4 refuses sizes beyond one block group", () => {
  for (const size of [0, 4 * MIB, 129 * MIB, Number.NaN]) {
    assertThrows(() => ext4(size, "data", UUID), RangeError, "Cannot make an ext4 disk");
  }
});

Deno.test({
  name: "e2fsck finds nothing wrong with disks of several sizes",
  ignore: !e2fsck,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      for (const size of [8 * MIB, 64 * MIB, 128 * MIB]) {
        const path = join(folder, "disk.raw");
        await Deno.writeFile(path, new Uint8Array());
        await Deno.truncate(path, size);
        const file = await Deno.open(path, { write: true });
        for (const [offset, bytes] of ext4(size, "data", UUID)) {
          await file.seek(offset, Deno.SeekMode.Start);
          await file.write(bytes);
        }
        file.close();
        const { code, stdout } = await new Deno.Command(e2fsck!, { args: ["-fn", path] }).output();
        assertEquals(code, 0, new TextDecoder().decode(stdout));
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("makeDataDisk makes a sparse file of 64 MiB", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "disk.raw");
    await makeDataDisk(path);
    const { size, blocks } = await Deno.stat(path);
    assertEquals(size, 64 * MIB);
    assert(blocks === null || blocks * 512 < MIB, `${blocks} blocks on the host`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
