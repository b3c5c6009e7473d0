// cli/start.ts where no archive is known: the embedded guest, and how to go on.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";

const root = fromFileUrl(new URL("../..", import.meta.url));

Deno.test("start runs the embedded guest where no mirror is known, and tells the command to go on with", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // What the host's package manager is set up with is kept out of sight.
    const settings = join(folder, "apt.conf");
    await Deno.writeTextFile(
      settings,
      `Dir::Etc::sourcelist "${folder}/none"; Dir::Etc::sourceparts "${folder}/none.d";`,
    );
    const env = { NO_COLOR: "1", APT_CONFIG: settings, DENOVISOR_CACHE: folder, DENOVISOR_MIRROR: "" };
    const command = new Deno.Command(Deno.execPath(), { args: ["task", "--quiet", "start"], cwd: root, env });
    const { code, stdout, stderr } = await command.output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assertEquals([code, err], [0, ""]);
    assertStringIncludes(out, "Hello from a RISC-V guest!");
    assertStringIncludes(out, "npx -y deno@2 task cli images pull debian-13 --mirror URL");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
