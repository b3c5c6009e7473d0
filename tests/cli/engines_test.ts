// `denovisor engines`: one line for each engine, and no permission asked for.

import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));

async function engines(permissions: readonly string[], ...args: string[]): Promise<string> {
  const map = new TextDecoder().decode(
    (await new Deno.Command(Deno.execPath(), { args: ["run", "-qA", "tests/offline_std/map.ts"], cwd: ROOT }).output())
      .stdout,
  ).trim();
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "--no-check",
      "--no-prompt",
      ...permissions,
      ...map ? [map] : [],
      "cli/main.ts",
      "engines",
      ...args,
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(success ? "" : new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout);
}

Deno.test("engines says of each engine whether it works here, and why not", async () => {
  const lines = (await engines(["-A"])).trim().split("\n");
  assertEquals(lines.length, 2);
  assertMatch(lines[0], /^kvm {4}x86_64: (usable: .*--allow-ffi, which ends Deno's sandbox|not usable: .+)$/);
  assertEquals(lines[1], "riscv  riscv64: usable: needs no permission");
});

Deno.test("engines without permissions names the one that kvm wants", async () => {
  const [kvm] = JSON.parse(await engines([], "--json"));
  assertEquals(kvm.usable, false);
  const here = Deno.build.os === "linux" && Deno.build.arch === "x86_64";
  assertMatch(kvm.text, here ? /not given --allow-ffi \(which ends its sandbox\)/ : /^it needs /);
});

Deno.test("engines with no more than --allow-ffi names what else kvm wants", async () => {
  const [kvm] = JSON.parse(await engines(["--allow-ffi"], "--json"));
  assertEquals(kvm.usable, false);
  const here = Deno.build.os === "linux" && Deno.build.arch === "x86_64";
  assertMatch(kvm.text, here ? /not given --allow-read for .*\/plugins\/kvm\/,/ : /^it needs /);
});
