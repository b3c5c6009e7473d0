// Pulling a guest image from an archive on this machine: what it makes, and what it leaves when something is wrong.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { ImageError, InterruptedError } from "../../../cli/images/errors.ts";
import { GUEST_MODULES } from "../../../cli/images/guest_init.ts";
import { pullImage, type PullOptions } from "../../../cli/images/pull.ts";
import { findImage, listImages } from "../../../cli/images/store.ts";
import {
  type ArchiveContent,
  type FakeArchive,
  PATHS,
  serveArchive,
  wholeContent,
} from "../../support/fake_archive.ts";

/** Runs a test with an archive and a folder for images, both gone afterwards. */
async function withArchive(
  content: Partial<ArchiveContent>,
  test: (fixture: {
    archive: FakeArchive;
    folder: string;
    said: string[];
    pull: (options?: PullOptions) => ReturnType<typeof pullImage>;
  }) => Promise<void>,
): Promise<void> {
  await using archive = await serveArchive({ ...wholeContent(), ...content });
  const folder = await Deno.makeTempDir();
  const said: string[] = [];
  const pull = (options: PullOptions = {}) =>
    pullImage("debian-13", {
      mirror: archive.mirror,
      folder,
      keyrings: [],
      signal: new AbortController().signal,
      output: { terminal: false, write: (text) => said.push(text) },
      ...options,
    });
  try {
    await test({ archive, folder, said, pull });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The pull fails with the words, and neither an image nor anything unfinished is there. */
async function assertNothingKept(pull: Promise<unknown>, folder: string, words: string): Promise<void> {
  await assertRejects(() => pull, ImageError, words);
  const left = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => !name.endsWith(".lock"));
  assertEquals(left, []);
}

Deno.test("pull makes an image of a kernel, an initramfs and a disk", async () => {
  await withArchive({}, async ({ folder, said, pull }) => {
    const image = await pull();
    assertEquals(await findImage("debian-13", folder), image);
    assertEquals(image.version, "6.12.1-1");
    assertEquals(
      await Deno.readFile(image.kernel),
      wholeContent().kernelFiles["boot/vmlinux-6.12.1-riscv64"] as Uint8Array<ArrayBuffer>,
    );
    const initrd = await Deno.readTextFile(image.initrd);
    for (const { path } of GUEST_MODULES) assertStringIncludes(initrd, `module ${path}`);
    assertStringIncludes(initrd, "busybox's program");
    assert(!initrd.includes("another module"));
    assertEquals((await Deno.stat(image.disk)).size, 64 * 1024 * 1024);
    assertEquals([...Deno.readDirSync(join(folder, "debian-13"))].map(({ name }) => name).sort(), [
      "disk.raw",
      "image.json",
      "initrd.cpio",
      "vmlinux",
    ]);
    assertStringIncludes(said.join(""), "signature was not checked: there is no keyring");
  });
});

Deno.test("pull of an image that is here asks no mirror", async () => {
  await withArchive({}, async ({ archive, pull }) => {
    const image = await pull();
    const before = archive.asked.length;
    assertEquals(await pull(), image);
    assertEquals(archive.asked.length, before);
  });
});

Deno.test("pull --force makes the image again and keeps its disk", async () => {
  await withArchive({}, async ({ archive, pull }) => {
    const image = await pull();
    await Deno.writeTextFile(image.disk, "work");
    await Deno.writeTextFile(image.kernel, "damaged");
    await pull({ force: true });
    assert((await Deno.readTextFile(image.kernel)) !== "damaged");
    assertEquals(await Deno.readTextFile(image.disk), "work");

    archive.files.delete(PATHS.kernel);
    await assertRejects(() => pull({ force: true }), ImageError, "404");
    assertEquals(await Deno.readTextFile(image.disk), "work");
  });
});

Deno.test("pull refuses a package whose hash is another", async () => {
  await withArchive({}, async ({ archive, folder, pull }) => {
    archive.files.get(PATHS.kernel)![5000] ^= 1;
    await assertNothingKept(pull(), folder, "its hash differs");
  });
});

Deno.test("pull refuses a package that is longer than the index says", async () => {
  await withArchive({}, async ({ archive, folder, pull }) => {
    archive.files.set(PATHS.busybox, new Uint8Array([...archive.files.get(PATHS.busybox)!, 0]));
    await assertNothingKept(pull(), folder, "its hash differs");
  });
});

Deno.test("pull refuses an index whose hash is another", async () => {
  await withArchive({}, async ({ archive, folder, pull }) => {
    archive.files.get(PATHS.index)![100] ^= 1;
    await assertNothingKept(pull(), folder, "Packages.xz is not the file of the archive's index");
  });
});

Deno.test("pull takes the release by its other name where the mirror changes under the first", async () => {
  await withArchive({}, async ({ archive, pull }) => {
    for (const path of [PATHS.release, PATHS.index]) {
      archive.files.set(path.replace("trixie", "stable"), archive.files.get(path)!);
    }
    archive.files.set(PATHS.index, archive.files.get(PATHS.index)!.slice(0, 1000));
    assertEquals((await pull()).version, "6.12.1-1");
  });
});

Deno.test("pull over a connection that is cut keeps nothing", async () => {
  await withArchive({}, async ({ archive, folder, pull }) => {
    archive.cut.add(PATHS.kernel);
    await assertNothingKept(pull(), folder, "check the network");
  });
});

Deno.test("pull of a file that ends early keeps nothing", async () => {
  await withArchive({}, async ({ archive, folder, pull }) => {
    archive.files.set(PATHS.kernel, archive.files.get(PATHS.kernel)!.slice(0, 1000));
    await assertNothingKept(pull(), folder, "was cut after 1000 of");
  });
});

Deno.test("pull that is interrupted keeps nothing", async () => {
  await withArchive({}, async ({ archive, folder, pull }) => {
    archive.stalled.add(PATHS.kernel);
    const controller = new AbortController();
    const pulling = pull({ signal: controller.signal });
    while (!archive.asked.includes(PATHS.kernel)) await new Promise((settle) => setTimeout(settle, 5));
    controller.abort();
    await assertRejects(() => pulling, InterruptedError);
    await assertNothingKept(pulling, folder, "Interrupted");
  });
});

Deno.test("pull says which package an archive lacks", async () => {
  const content = { without: (stanza: string) => stanza.startsWith("Package: busybox-static") };
  await withArchive(content, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "no package busybox-static");
  });
  const kernel = { without: (stanza: string) => stanza.startsWith("Package: linux-image-6") };
  await withArchive(kernel, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "no package linux-image-6.12.1-riscv64 6.12.1-1");
  });
});

Deno.test("pull refuses the archive of another suite", async () => {
  await withArchive({ release: { origin: "Debian", codename: "forky" } }, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "is not of Debian trixie for riscv64");
  });
});

Deno.test("pull refuses an index without a signature", async () => {
  await withArchive({ sign: (text) => Promise.resolve(text) }, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "is not signed");
  });
});

Deno.test("pull refuses a kernel's package without a module or of an unknown format", async () => {
  const { kernelFiles } = wholeContent();
  const ext4 = Object.keys(kernelFiles).find((path) => path.endsWith("ext4.ko.xz"))!;
  const { [ext4]: _dropped, ...withoutExt4 } = kernelFiles;
  await withArchive({ kernelFiles: withoutExt4 }, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "no module fs/ext4/ext4");
  });
  const compressed = { ...kernelFiles, "boot/vmlinux-6.12.1-riscv64": new Uint8Array(100) };
  await withArchive({ kernelFiles: compressed }, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "unknown format");
  });
});

Deno.test("pull refuses a broken compressed file whose hash is right", async () => {
  const { kernelFiles } = wholeContent();
  const ext4 = Object.keys(kernelFiles).find((path) => path.endsWith("ext4.ko.xz"))!;
  const cut = { ...kernelFiles, [ext4]: kernelFiles[ext4].subarray(0, 20) };
  await withArchive({ kernelFiles: cut }, async ({ folder, pull }) => {
    await assertNothingKept(pull(), folder, "A compressed file is broken");
  });
});

Deno.test("two pulls at once make one image", async () => {
  await withArchive({}, async ({ archive, folder, said, pull }) => {
    const [first, second] = await Promise.all([pull(), pull()]);
    assertEquals(first, second);
    assertEquals(archive.asked.filter((path) => path === PATHS.kernel).length, 1);
    assertStringIncludes(said.join(""), "Another process is pulling debian-13: waiting for it");
    assertEquals((await listImages(folder)).length, 1);
  });
});

Deno.test("pull of an unknown image names those there are", async () => {
  await assertRejects(() => pullImage("debian-1"), ImageError, "There is no image debian-1 to pull: wanted debian-13");
});
