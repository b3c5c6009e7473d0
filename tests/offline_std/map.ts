// Prints `--import-map=…` with stand-ins for the standard library where its registry does not answer, else nothing.

import { fromFileUrl, join, toFileUrl } from "./path.ts";

const MINUTES_KEPT = 10;
const PROBE = { specifier: "jsr:@std/assert@^1", milliseconds: 4000 };
const STAND_INS = {
  "@std/assert": "assert",
  "@std/cli/parse-args": "parse_args",
  "@std/path": "path",
  "@std/path/join": "join",
};

const here = new URL(".", import.meta.url);
const temp = Deno.env.get("TMPDIR") ?? Deno.env.get("TEMP") ?? "/tmp";
const folder = join(temp, `denovisor-std-${Deno.uid() ?? ""}`);

/** Whether the registry (or the cache in front of it) answers, asked at most every ten minutes. */
async function answers(): Promise<boolean> {
  const note = join(folder, "answers");
  try {
    const { mtime } = await Deno.stat(note);
    if (mtime && Date.now() - mtime.getTime() < MINUTES_KEPT * 60_000) return await Deno.readTextFile(note) === "yes";
  } catch {
    // Not asked yet.
  }
  const asked = import(PROBE.specifier).then(() => true, () => false);
  const tooLate = new Promise<false>((settle) => setTimeout(settle, PROBE.milliseconds, false));
  const answer = await Promise.race([asked, tooLate]);
  await put(note, answer ? "yes" : "no");
  return answer;
}

/** Writes a whole file at once: several of these programs may run at the same time. */
async function put(path: string, text: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const part = `${path}.${Deno.pid}`;
  await Deno.writeTextFile(part, text);
  await Deno.rename(part, path);
}

/** An import map with the project's own imports, the stand-ins in the place of `@std/*`. */
async function importMap(): Promise<string> {
  const config = JSON.parse(await Deno.readTextFile(fromFileUrl(new URL("../../deno.json", here))));
  const imports: Record<string, string> = {};
  for (const [name, target] of Object.entries<string>(config.imports)) {
    if (!name.startsWith("@std/")) imports[name] = target;
  }
  for (const [name, file] of Object.entries(STAND_INS)) imports[name] = new URL(`${file}.ts`, here).href;
  return JSON.stringify({ imports }, null, 2);
}

if (!await answers()) {
  const path = join(folder, "import_map.json");
  await put(path, await importMap());
  console.log(`--import-map=${toFileUrl(path).href}`);
}
Deno.exit(0);
