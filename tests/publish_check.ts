// Simulates publishing, and fails on any complaint but the loader's dynamic import.

import { fromFileUrl, join } from "./offline_std/path.ts";

const root = fromFileUrl(new URL("..", import.meta.url));
const EXPECTED = { code: "unanalyzable-dynamic-import", file: "mod.ts" };

/** Copies a file, or a folder with all it holds. */
async function copy(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}

/** The import map in use where the standard library's registry does not answer. */
async function standIns(): Promise<Record<string, string> | undefined> {
  const map = new Deno.Command(Deno.execPath(), { args: ["run", "-qA", join(root, "tests/offline_std/map.ts")] });
  const option = new TextDecoder().decode((await map.output()).stdout).trim();
  if (!option) return undefined;
  const { imports } = JSON.parse(await Deno.readTextFile(fromFileUrl(option.replace("--import-map=", ""))));
  return imports;
}

/** The package as it would be published, in `folder`; stand-ins become modules of its own. */
async function prepare(folder: string): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  for (const entry of config.publish.include) await copy(join(root, entry), join(folder, entry));
  const imports = await standIns();
  if (!imports) return;
  await copy(join(root, "tests/offline_std"), join(folder, "std"));
  await Deno.remove(join(folder, "std/map.ts"));
  const local = (target: string): string => target.replace(/^file:.*\//, "./std/");
  config.imports = Object.fromEntries(Object.entries(imports).map(([name, target]) => [name, local(target)]));
  config.publish.include.push("std");
  await Deno.writeTextFile(join(folder, "deno.json"), JSON.stringify(config, null, 2));
}

const folder = await Deno.realPath(await Deno.makeTempDir());
try {
  await prepare(folder);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty"],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  const said = decoder.decode(stdout) + decoder.decode(stderr);
  const complaints = [...said.matchAll(/^(?:warning|error)\[([\w-]+)\].*\n *--> (.*?):\d+:\d+$/gm)]
    .map(([, code, file]) => ({ code, file: file.slice(folder.length + 1) }))
    .filter(({ code, file }) => code !== EXPECTED.code || file !== EXPECTED.file);
  console.log(said.trimEnd());
  for (const { code, file } of complaints) console.log(`Complaint: ${code} in ${file}`);
  Deno.exitCode = success && !complaints.length ? 0 : 1;
} finally {
  await Deno.remove(folder, { recursive: true });
}
