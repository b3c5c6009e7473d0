// What a hostile plugin can do: all that its process may, and nothing that Deno denies the process.

import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";

const ROOT = new URL("..", import.meta.url);

/** A program that builds a machine with a device whose plugin reads a file of the host as it is created. */
const PROGRAM = `
import { createMachine, defineDevice, object } from ${JSON.stringify(new URL("mod.ts", ROOT).href)};
const nosy = defineDevice({
  name: "nosy", needs: [], config: object({}), stateVersion: 1,
  create() {
    console.log(Deno.readTextFileSync(Deno.args[0]));
    return { state: null, regions: [] };
  },
});
const boot = { kernel: Uint8Array.of(0x6f, 0, 0, 0) };
try {
  await using _machine = await createMachine({ memory: "16M", boot, devices: [{ use: "nosy" }] }, { plugins: { nosy } });
} catch (error) {
  console.log(error.message.split("\\n")[0]);
}
`;

async function run(path: string, ...permissions: string[]): Promise<string> {
  const program = `${path}.ts`;
  await Deno.writeTextFile(program, PROGRAM);
  try {
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-check", "--no-prompt", ...permissions, program, path],
      cwd: fromFileUrl(ROOT),
      env: { NO_COLOR: "1" },
    }).output();
    return new TextDecoder().decode(stdout).trim() || new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(program);
  }
}

Deno.test("a plugin may do what the process may, and no more", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "of the host");
    assertEquals(await run(path, "--allow-read"), "of the host");
    assertMatch(await run(path), /^Cannot create nosy0: nosy\.create: Requires read access to /);
  } finally {
    await Deno.remove(path);
  }
});
