// The archive's signature: good, wrong, by an unknown key, and without the means to check it.

import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { ImageError } from "../../../cli/images/errors.ts";
import { checkSignature } from "../../../cli/images/signature.ts";

function isThere(command: string): boolean {
  try {
    return new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

async function gpg(home: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("gpg", { args: ["--homedir", home, "--batch", "--yes", ...args] })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

Deno.test({
  name: "checkSignature tells good, wrong and unknown signatures apart",
  ignore: !isThere("gpg") || !isThere("gpgv"),
  async fn() {
    const home = await Deno.makeTempDir();
    const [release, signed, keyring, other] = ["Release", "InRelease", "ours.gpg", "other.gpg"].map((n) =>
      join(home, n)
    );
    try {
      await Deno.writeTextFile(release, "Origin: Debian\n- dash\nCodename: trixie\n");
      for (const [name, path] of [["Archive Key", keyring], ["Other Key", other]]) {
        await gpg(home, "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never");
        await gpg(home, "--output", path, "--export", name);
      }
      await gpg(home, "--local-user", "Archive Key", "--output", signed, "--clearsign", release);

      const good = await checkSignature(signed, "it", [keyring, other]);
      assertEquals(good, { text: "Origin: Debian\n- dash\nCodename: trixie\n" });
      assertEquals((await checkSignature(signed, "it", [join(home, "absent")])).text, good.text.trimEnd());
      const unknown = await checkSignature(signed, "it", [other]);
      assertEquals(unknown.unchecked, "this host's keyring is too old to know the key");

      await Deno.writeTextFile(signed, (await Deno.readTextFile(signed)).replace("trixie", "trojan"));
      await assertRejects(() => checkSignature(signed, "it", [keyring]), ImageError, "The signature of it is wrong");
      await Deno.writeTextFile(signed, "Origin: Debian\n");
      await assertRejects(() => checkSignature(signed, "it", [keyring]), ImageError, "it is not signed");
    } finally {
      await new Deno.Command("gpgconf", { args: ["--homedir", home, "--kill", "all"], stderr: "null" }).output();
      await Deno.remove(home, { recursive: true });
    }
  },
});
