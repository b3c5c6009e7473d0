// Files in which engines keep something: whole or not at all, by key, and only so many.

import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { keepFiles } from "../../../mod.ts";
import { withFolder } from "../../support/folder.ts";

const names = async (folder: string) => (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);

Deno.test("what is saved under a key is what is loaded there, in a folder that is made", () =>
  withFolder(async (home) => {
    const keep = keepFiles(join(home, "a", "b"));
    assertEquals(await keep("one").load(), undefined);
    await keep("one").save(Uint8Array.of(1));
    await keep("two").save(Uint8Array.of(2));
    await keep("one").save(Uint8Array.of(3));
    assertEquals([await keep("one").load(), await keep("two").load()], [Uint8Array.of(3), Uint8Array.of(2)]);
    assertEquals((await names(join(home, "a", "b"))).length, 2);
  }));

Deno.test("there are so many files at the most: what was used longest ago goes", () =>
  withFolder(async (folder) => {
    const keep = keepFiles(folder);
    const past = new Date(Date.now() - 1e6);
    for (let i = 0; i < 32; i++) await keep(`key ${i}`).save(Uint8Array.of(i));
    for (const name of await names(folder)) await Deno.utime(join(folder, name), past, past);
    for (let i = 0; i < 30; i++) await keep(`key ${i}`).load();
    for (const key of ["new", "newer"]) await keep(key).save(Uint8Array.of(9));
    assertEquals((await names(folder)).length, 32);
    assertEquals(await keep("key 0").load(), Uint8Array.of(0));
    assertEquals([await keep("key 30").load(), await keep("key 31").load()], [undefined, undefined]);
  }));

Deno.test("a save that fails leaves nothing behind", () =>
  withFolder(async (folder) => {
    const [file, at] = [join(folder, "file"), join(folder, "kept")];
    await Deno.writeFile(file, Uint8Array.of(1));
    await assertRejects(() => keepFiles(file)("key").save(Uint8Array.of(1)));
    await keepFiles(at)("key").save(Uint8Array.of(1));
    const [name] = await names(at);
    await Deno.remove(join(at, name));
    await Deno.mkdir(join(at, name, "in the way"), { recursive: true });
    await assertRejects(() => keepFiles(at)("key").save(Uint8Array.of(2)));
    assertEquals(await names(at), [name]);
  }));

Deno.test({
  name: "without permission nothing is kept, and nobody is asked",
  permissions: { read: true, write: false },
  async fn() {
    const keep = keepFiles("/nowhere/at/all")("key");
    await keep.save(Uint8Array.of(1));
    assertEquals(await keep.load(), undefined);
  },
});
