// `denovisor images`: what it prints, the exit codes, and how it says what is wrong.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { type FakeArchive, PATHS, serveArchive } from "../support/fake_archive.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line with images kept in `cache`. */
function start(cache: string, args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
  const main = new URL("../../cli/main.ts", import.meta.url).href;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "-A", ...importMap, main, "images", ...args],
    env: { NO_COLOR: "1", DENOVISOR_CACHE: cache, ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

const importMap: string[] = await (async () => {
  const map = new URL("../offline_std/map.ts", import.meta.url).href;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", "-qA", map] }).output();
  return new TextDecoder().decode(stdout).trim().split(/\s+/).filter(Boolean);
})();

async function images(cache: string, args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const { code, stdout, stderr } = await start(cache, args, env).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

async function withCache(test: (cache: string, archive: FakeArchive) => Promise<void>): Promise<void> {
  await using archive = await serveArchive();
  const cache = await Deno.makeTempDir();
  try {
    await test(cache, archive);
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

/** Debian's own keyring does not know who signs the archive of a test: gpgv is kept out of sight. */
const NO_GPGV = { PATH: "" };

Deno.test("images pull, list and rm go through an image's life", async () => {
  await withCache(async (cache, { mirror }) => {
    assertStringIncludes(
      (await images(cache, ["list"])).out,
      "There are no images yet: denovisor images pull debian-13",
    );
    assertEquals((await images(cache, ["list", "--json"])).out, "[]\n");

    const pulled = await images(cache, ["pull", "debian-13", "--mirror", `${mirror}/`], NO_GPGV);
    assertEquals([pulled.code, pulled.out], [0, ""]);
    assertStringIncludes(pulled.err, `Mirror: ${mirror}, release trixie\n`);
    assertStringIncludes(pulled.err, "debian-13 is ready: denovisor run --image debian-13");

    const [image] = JSON.parse((await images(cache, ["list", "--json"])).out);
    const home = join(cache, "images", "debian-13");
    assertEquals([image.name, image.kernel, image.initrd, image.disk], [
      "debian-13",
      join(home, "vmlinux"),
      join(home, "initrd.cpio"),
      join(home, "disk.raw"),
    ]);
    assertStringIncludes((await images(cache, ["list"])).out, "6.12.1-1");

    assertEquals(await images(cache, ["rm", "debian-13"]), { code: 0, out: "", err: "" });
    assertEquals(await images(cache, ["rm", "debian-13"]), {
      code: 1,
      out: "",
      err: "denovisor: There is no image debian-13: denovisor images list shows those that are there\n",
    });
  });
});

Deno.test("images pull --quiet takes the mirror of the environment and says nothing", async () => {
  await withCache(async (cache, { mirror }) => {
    const env = { ...NO_GPGV, DENOVISOR_MIRROR: mirror };
    assertEquals(await images(cache, ["pull", "debian-13", "--quiet"], env), { code: 0, out: "", err: "" });
  });
});

Deno.test({
  name: "images pull ends with 130 and keeps nothing when it is interrupted",
  ignore: Deno.build.os === "windows",
  async fn() {
    await withCache(async (cache, archive) => {
      archive.stalled.add(PATHS.kernel);
      const child = start(cache, ["pull", "debian-13", "--mirror", archive.mirror], NO_GPGV);
      while (!archive.asked.includes(PATHS.kernel)) await new Promise((settle) => setTimeout(settle, 10));
      child.kill("SIGINT");
      const { code, stderr } = await child.output();
      assertEquals(code, 130);
      assertStringIncludes(new TextDecoder().decode(stderr), "denovisor: Interrupted: nothing was kept");
      assertEquals([...Deno.readDirSync(join(cache, "images"))].map(({ name }) => name), [".debian-13.lock"]);
    });
  },
});

Deno.test("images says what is wrong with its arguments", async () => {
  const cases: [string[], string][] = [
    [[], "images wants a command: pull, list, rm; see denovisor images --help"],
    [["frob"], "There is no command images frob"],
    [["pull"], "images pull wants one name, such as debian-13"],
    [["pull", "debian-1"], "There is no image debian-1 to pull: wanted debian-13"],
    [["pull", "debian-13", "--mirror", "http://127.0.0.1:1/debian"], "check the network or give another --mirror"],
    [["list", "--frob"], "There is no option --frob"],
    [["rm", "../.."], "There is no image ../.."],
  ];
  await withCache(async (cache) => {
    for (const [args, words] of cases) {
      const { code, err } = await images(cache, args);
      assertEquals(code, 1, args.join(" "));
      assertStringIncludes(err, `denovisor: `);
      assertStringIncludes(err, words);
      assertEquals(err.trim().split("\n").length, 1, err);
    }
    for (const args of [["--help"], ["pull", "--help"], ["list", "--help"], ["rm", "-h"]]) {
      const { code, out } = await images(cache, args);
      assertEquals(code, 0);
      assertStringIncludes(out, "usage: denovisor images ");
    }
  });
});
