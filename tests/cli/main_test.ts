// cli/main.ts: help, exit codes and sentences, as a shell sees them.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { columns, paint } from "../../cli/text.ts";
import { denovisor } from "../support/denovisor.ts";

/** Expects exit code 1, nothing on standard output, and one sentence. */
async function refused(args: string[], why: RegExp, flags?: string[]): Promise<void> {
  const { code, out, err } = await denovisor(args, { flags });
  assertEquals({ code, out }, { code: 1, out: "" }, err);
  assertMatch(err, why);
  assertEquals(err.trimEnd().split("\n").length, 1, err);
}

for (const command of ["run", "images", "devices", "fuzz", "dtb"]) {
  Deno.test(`${command} --help shows a page without colours under NO_COLOR`, async () => {
    const { code, out } = await denovisor([command, "--help"]);
    assertEquals(code, 0);
    assertStringIncludes(out, `denovisor ${command}`);
    assertStringIncludes(out, "--help");
    assert(!out.includes("\x1b"), out);
    assertEquals((await denovisor(["help", command])).out, out);
  });
}

Deno.test("help names every command, and so does a bare call, which fails", async () => {
  const { code, out } = await denovisor(["--help"]);
  assertEquals(code, 0);
  for (const command of ["run", "images", "devices", "fuzz", "dtb", "version", "help"]) {
    assertStringIncludes(out, command);
  }
  const bare = await denovisor([]);
  assertEquals(bare, { code: 1, out, err: "" });
});

Deno.test("version prints the package's version", async () => {
  assertMatch((await denovisor(["version"])).out, /^denovisor \d+\.\d+\.\d+ \(deno \S+\)\n$/);
});

Deno.test("devices lists every built-in plugin, for people and as JSON", async () => {
  const { out } = await denovisor(["devices"]);
  const plugins: { name: string; kind: string }[] = JSON.parse((await denovisor(["devices", "--json"])).out);
  for (const { name } of plugins) assertStringIncludes(out, name);
  const names = plugins.map(({ name }) => name);
  for (const name of ["serial_16550", "virtio_blk", "file_disk", "riscv", "riscv_virt"]) assert(names.includes(name));
});

Deno.test("an unknown command is refused", () => refused(["fly"], /^denovisor: There is no command fly: wanted run, /));

Deno.test("an unknown option is refused", () => refused(["run", "--fly"], /There is no option --fly/));

Deno.test("a word too many is refused", () => refused(["run", "--kernel", "k", "l"], /l is one word too many/));

Deno.test("a missing kernel is refused", () => refused(["run", "--kernel", "no_such_file"], /no_such_file/));

Deno.test("a file that is no kernel is refused", () =>
  refused(["run", "--kernel", "deno.json", "--serial", "null", "--initrd", "nope"], /nope/));

Deno.test("too little memory is refused", () => refused(["run", "--kernel", "deno.json", "--memory", "1K"], /memory/));

Deno.test("too much memory is refused", () => refused(["run", "--kernel", "deno.json", "--memory", "900G"], /memory/));

Deno.test("memory that is no size is refused", () =>
  refused(["run", "--kernel", "deno.json", "--memory", "lots"], /memory/));

Deno.test("an unknown plugin is refused", () =>
  refused(["run", "--kernel", "deno.json", "--device", "warp_drive"], /warp_drive/));

Deno.test("a missing disk is refused", () => refused(["run", "--kernel", "deno.json", "--disk", "no.raw"], /no\.raw/));

Deno.test("a configuration's mistake is refused with its place", async () => {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, '{\n  "memory": 256M\n}');
    await refused(["run", "--config", path], /\.json:2:13: wanted a value, got "256M"/);
    await Deno.writeTextFile(path, '{"memory": "256M", "wings": 2, "boot": {"kernel": "deno.json"}}');
    await refused(["run", "--config", path], /wings/);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a permission that Deno denies is named", () =>
  refused(["run", "--config", "deno.json"], /--allow-read/, ["--no-prompt"]));

Deno.test("columns align whatever their colours", () => {
  assertEquals(columns([["a", "b"], ["long", "c"]], (text) => `<${text}>`), "<a     >b\n<long  >c");
  assertEquals(paint.bold("x").includes("x"), true);
});
