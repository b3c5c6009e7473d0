// What the kvm tests use of the host: its commands, Debian's packages, and a folder of the cache.

import { dirname, join } from "@std/path";
import { imagesFolder } from "../../cli/images/store.ts";

/** The folder for what is made once: the guest kernel, the VM for nested runs. */
export function kvmCache(): string {
  return join(dirname(imagesFolder()), "kvm");
}

/** Runs a command to its end; throws an `Error` with what it said if it fails. */
export async function run(
  command: string,
  args: readonly string[],
  cwd?: string,
  env?: Record<string, string>,
): Promise<void> {
  const { success, code, stderr, stdout } = await new Deno.Command(command, { args: [...args], cwd, env }).output();
  if (success) return;
  const said = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
  throw new Error(`${command} ${args.join(" ")} ended with ${code}: ${said.slice(-2000)}`);
}

/** What a command prints; `undefined` if it is not there or fails. */
export async function output(command: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(command, { args }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether a file or a folder is there. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Throws an `Error` that names the packages to install, unless all tools are there. */
export async function need(why: string, tools: Readonly<Record<string, string>>): Promise<void> {
  const missing = [];
  for (const [tool, from] of Object.entries(tools)) if (!await output("which", tool)) missing.push(from);
  if (missing.length) throw new Error(`Cannot ${why}: install ${missing.join(", ")}`);
}

/** The package that a meta-package stands for. */
export async function packageBehind(name: string, pattern: RegExp): Promise<string> {
  const found = new RegExp(`Depends: (${pattern.source})`).exec(await output("apt-cache", "depends", name) ?? "")?.[1];
  if (!found) throw new Error(`apt knows no package behind ${name}`);
  return found;
}

/** Fetches a Debian package and unpacks it into a folder. */
export async function unpackPackage(name: string, folder: string): Promise<void> {
  const work = await Deno.makeTempDir();
  try {
    await run("apt-get", ["download", "-q", name], work);
    const deb = [...Deno.readDirSync(work)].map((entry) => entry.name).find((file) => file.endsWith(".deb"));
    await run("dpkg-deb", ["-x", join(work, deb!), folder]);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}
