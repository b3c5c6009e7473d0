// Where images are kept, and that none is kept by half.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { ImageError } from "../../../cli/images/errors.ts";
import { findImage, imagesFolder, listImages, removeImage, storeImage } from "../../../cli/images/store.ts";
import { withFolder } from "../../support/folder.ts";

const SIGNAL = new AbortController().signal;

/** Stores an image whose kernel holds the text. */
function store(name: string, folder: string, text: string, afresh = false): ReturnType<typeof storeImage> {
  return storeImage(name, {
    folder,
    afresh,
    signal: SIGNAL,
    busy: () => {},
    async build(staging, disk) {
      await Deno.writeTextFile(join(staging, "vmlinux"), text);
      await Deno.writeTextFile(join(staging, "initrd.cpio"), text);
      if (disk === "make") await Deno.writeTextFile(join(staging, "disk.raw"), text);
      return { version: text };
    },
  });
}

Deno.test("imagesFolder follows each system's custom", () => {
  const folder = (variables: Record<string, string>, os: string) =>
    imagesFolder({ get: (name: string) => variables[name] }, os);
  assertEquals(folder({ HOME: "/home/me" }, "linux"), join("/home/me", ".cache", "denovisor", "images"));
  assertEquals(folder({ HOME: "/home/me", XDG_CACHE_HOME: "/c" }, "linux"), join("/c", "denovisor", "images"));
  assertEquals(folder({ HOME: "/me" }, "darwin"), join("/me", "Library", "Caches", "denovisor", "images"));
  assertEquals(folder({ LOCALAPPDATA: "/l" }, "windows"), join("/l", "denovisor", "images"));
  assertEquals(folder({ HOME: "/home/me", DENOVISOR_CACHE: "/d" }, "linux"), join("/d", "images"));
  assertThrows(() => folder({}, "linux"), ImageError, "set DENOVISOR_CACHE");
});

Deno.test("a stored image is found, listed and removed", async () => {
  await withFolder(async (folder) => {
    await store("beta", folder, "2");
    const image = await store("alpha", folder, "1");
    assertEquals(image.version, "1");
    assertEquals(await Deno.readTextFile(image.kernel), "1");
    assertEquals(await findImage("alpha", folder), image);
    assertEquals((await listImages(folder)).map(({ name }) => name), ["alpha", "beta"]);

    await removeImage("alpha", folder);
    assertEquals(await findImage("alpha", folder), undefined);
    await assertRejects(() => removeImage("alpha", folder), ImageError, "There is no image alpha");
    assertEquals((await listImages(folder)).map(({ name }) => name), ["beta"]);
  });
});

Deno.test("no image is found or removed outside of the folder", async () => {
  await withFolder(async (folder) => {
    const inner = join(folder, "images");
    await Deno.mkdir(inner);
    await store("outside", folder, "1");
    assertEquals(await findImage("../outside", inner), undefined);
    await assertRejects(() => removeImage("../outside", inner), ImageError, "There is no image");
    await assertRejects(() => removeImage(".", folder), ImageError, "There is no image");
    assertEquals(await listImages(join(folder, "absent")), []);
  });
});

Deno.test("an image that misses a file is none, and is made again", async () => {
  await withFolder(async (folder) => {
    const image = await store("alpha", folder, "1");
    await Deno.remove(image.initrd);
    assertEquals(await findImage("alpha", folder), undefined);
    assertEquals((await store("alpha", folder, "2")).version, "2");
  });
});

Deno.test("a build that fails leaves the former image as it was", async () => {
  await withFolder(async (folder) => {
    const image = await store("alpha", folder, "1");
    const build = async (staging: string) => {
      await Deno.writeTextFile(join(staging, "vmlinux"), "half");
      throw new Error("no luck");
    };
    await assertRejects(
      () => storeImage("alpha", { folder, afresh: true, signal: SIGNAL, busy: () => {}, build }),
      Error,
      "no luck",
    );
    assertEquals(await findImage("alpha", folder), image);
    assertEquals(await Deno.readTextFile(image.kernel), "1");
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [".alpha.lock", "alpha"]);
  });
});

Deno.test("what a process that was killed has left is cleared away, and a former image taken back", async () => {
  await withFolder(async (folder) => {
    await store("alpha", folder, "1");
    await Deno.rename(join(folder, "alpha"), join(folder, ".alpha.former"));
    await Deno.mkdir(join(folder, ".alpha.partial"));
    assertEquals((await store("alpha", folder, "2")).version, "1");
    const { version, disk } = await store("alpha", folder, "3", true);
    assertEquals([version, await Deno.readTextFile(disk)], ["3", "1"]);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [".alpha.lock", "alpha"]);
  });
});

Deno.test("an image is not removed while it is pulled", async () => {
  await withFolder(async (folder) => {
    await store("alpha", folder, "1");
    const building = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const storing = storeImage("alpha", {
      folder,
      afresh: true,
      signal: SIGNAL,
      busy: () => {},
      async build(staging) {
        building.resolve();
        await go.promise;
        for (const name of ["vmlinux", "initrd.cpio"]) await Deno.writeTextFile(join(staging, name), "2");
        return { version: "2" };
      },
    });
    await building.promise;
    await assertRejects(() => removeImage("alpha", folder), ImageError, "being pulled just now");
    go.resolve();
    assertEquals((await storing).version, "2");
  });
});
