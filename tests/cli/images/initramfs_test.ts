// The initramfs: its archive format, what is in it, and the module list its init reads.

import { assert, assertEquals } from "@std/assert";
import { cpio } from "../../../cli/images/cpio.ts";
import { GUEST_INIT, GUEST_MODULES, GUEST_PROMPT, moduleList } from "../../../cli/images/guest_init.ts";
import { initramfs } from "../../../cli/images/initramfs.ts";

function isThere(command: string): boolean {
  try {
    return new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** What a program says to the input. */
async function ask(command: string, args: string[], input: Uint8Array): Promise<string> {
  const child = new Deno.Command(command, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(input).then(() => writer.close());
  const { stdout, stderr, success } = await child.output();
  await written;
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("cpio writes the fields and the padding of newc", () => {
  const archive = cpio([{ path: "a", data: new TextEncoder().encode("12345"), executable: true }]);
  const text = new TextDecoder().decode(archive);
  assertEquals(archive.length % 4, 0);
  assertEquals(text.slice(0, 6), "070701");
  const field = (index: number) => Number.parseInt(text.slice(6 + index * 8, 14 + index * 8), 16);
  assertEquals([field(1), field(2), field(4), field(6), field(11)], [0o100755, 0, 1, 5, 2]);
  assertEquals(text.slice(110, 122), "a\x0012345\0\0\x0007");
  assert(text.endsWith("TRAILER!!!\0".padEnd(14, "\0")));
});

Deno.test({
  name: "initramfs is an archive that cpio reads",
  ignore: !isThere("cpio"),
  async fn() {
    const modules = new Map(GUEST_MODULES.map(({ path }) => [path, new Uint8Array(5)]));
    const listing = await ask("cpio", ["-itv", "--quiet"], initramfs(new Uint8Array(3), modules));
    const paths = listing.trim().split("\n").map((line) => line.split(/\s+/).slice(8).join(" "));
    for (const path of ["init", "bin/busybox", "bin/sh -> busybox", "etc/modules", "lib/modules/ext4.ko"]) {
      assert(paths.includes(path), `${path} is in ${paths.join(", ")}`);
    }
    assert(/^-rwxr-xr-x .* init$/m.test(listing), listing);
    for (const path of paths) {
      const parent = path.slice(0, Math.max(0, path.lastIndexOf("/", path.indexOf(" -> ") >>> 0)));
      assert(parent === "" || paths.indexOf(parent) < paths.indexOf(path), `${path} comes after its folder`);
    }
  },
});

Deno.test({
  name: "the guest's scripts are valid shell",
  ignore: Deno.build.os === "windows",
  async fn() {
    assertEquals(await ask("sh", ["-n"], new TextEncoder().encode(GUEST_INIT)), "");
  },
});

Deno.test("the module list has the transport first and each module after what it needs", () => {
  const lines = moduleList().trim().split("\n");
  assertEquals(lines[0], "0x0000 virtio_mmio");
  const at = (name: string) => lines.findIndex((line) => line.endsWith(` ${name}`));
  for (const [first, second] of [["failover", "net_failover"], ["net_failover", "virtio_net"], ["jbd2", "ext4"]]) {
    assert(at(first) >= 0 && at(first) < at(second), `${first} before ${second}`);
  }
  assertEquals(lines[at("ext4")], "0x0002 ext4");
});

Deno.test("the guest's shell prints the prompt that is exported", () => {
  assert(GUEST_INIT.includes(`export PS1='${GUEST_PROMPT.replace("/", "\\w")}'`));
});
