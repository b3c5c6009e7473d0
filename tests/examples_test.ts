// Every example: under 60 lines, and it does what it says, as `deno run` starts it.

import { assert, assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";

const folder = fromFileUrl(new URL("../examples/", import.meta.url));

async function deno(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: folder }).output();
  const decoder = new TextDecoder();
  assert(success, decoder.decode(stdout) + decoder.decode(stderr));
  return decoder.decode(stdout);
}

async function hasImage(): Promise<boolean> {
  const images: { name: string }[] = JSON.parse(await deno("task", "--quiet", "cli", "images", "list", "--json"));
  return images.some(({ name }) => name === "debian-13");
}

const ignore = !await hasImage();

Deno.test("every example is under 60 lines", async () => {
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile) assertLess((await Deno.readTextFile(folder + name)).split("\n").length - 1, 60, name);
  }
});

Deno.test("hello.ts runs its guest without any permission", async () => {
  assertEquals(
    await deno("run", "--no-prompt", "hello.ts"),
    "Hello from a RISC-V guest!\ntick\ntick\ntick\nThe disk says: every device is a plugin.\n" +
      "The guest is off, with code 0.\n",
  );
});

Deno.test({
  name: "linux.ts types a command and reads its answer",
  ignore,
  async fn() {
    const said = await deno("run", "-A", "linux.ts");
    assertMatch(said, /uname says: Linux \S+ riscv64/);
    assertStringIncludes(said, "The guest counts to 10");
    assertStringIncludes(said, "The guest is off, with code 0.");
  },
});

Deno.test({
  name: "disk.ts finds in the host's file what the guest wrote",
  ignore,
  async fn() {
    const said = await deno("run", "-A", "disk.ts");
    const [, guest] = /guest's hash: ([0-9a-f]{64})/.exec(said) ?? [];
    const [, host] = /host's hash: +([0-9a-f]{64})/.exec(said) ?? [];
    assert(guest, said);
    assertEquals(guest, host);
    assertStringIncludes(said, "Sector 100 holds: written by the guest");
  },
});

Deno.test({
  name: "two_machines.ts pings and fetches from one guest to the other",
  ignore,
  async fn() {
    const said = await deno("run", "-A", "two_machines.ts");
    assertStringIncludes(said, "3 packets transmitted, 3 packets received, 0% packet loss");
    assertStringIncludes(said, "Hello from the other machine");
  },
});

Deno.test({
  name: "custom_device.ts reads and trims the thermometer from the guest",
  ignore,
  async fn() {
    const said = await deno("run", "-A", "custom_device.ts");
    assertStringIncludes(said, "example,thermometer");
    const [before, after] = [...said.matchAll(/is ([\d.]+) °C/g)].map(([, degrees]) => Number(degrees));
    assert(before >= 25 && after >= before + 10 && after < before + 40, said);
  },
});
