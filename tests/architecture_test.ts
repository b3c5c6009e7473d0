// The architecture: which module may import which, and that core and devices know no host.

import { assertEquals } from "@std/assert";
import { fromFileUrl, toFileUrl } from "@std/path";

const ROOT = new URL("../", import.meta.url);
const FOLDERS = ["core", "devices", "plugins", "cli", "examples", "tests"];

interface Module {
  /** Relative to the root, e.g. `core/bus.ts`. */
  readonly path: string;
  readonly text: string;
  /** What it imports: paths relative to the root, or specifiers of other kinds. */
  readonly imports: readonly string[];
}

async function* typescript(folder: URL): AsyncGenerator<URL> {
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isDirectory) yield* typescript(new URL(`${entry.name}/`, folder));
    else if (entry.name.endsWith(".ts")) yield new URL(entry.name, folder);
  }
}

const relative = (url: URL): string => url.href.slice(ROOT.href.length);

async function readModule(url: URL): Promise<Module> {
  const text = await Deno.readTextFile(url);
  const code = text.replaceAll(/^\s*(\/\/|\/?\*).*$/gm, "");
  const specifiers = code.matchAll(/(?:^(?:import|export|\})[^;"'`]*?\bfrom|^import|(?<![.\w])import\()\s*"([^"]+)"/gm);
  const imports = [...specifiers].map(([, specifier]) =>
    specifier.startsWith(".") ? relative(new URL(specifier, url)) : specifier
  );
  return { path: relative(url), text, imports };
}

async function readModules(): Promise<Map<string, Module>> {
  const modules = [await readModule(new URL("mod.ts", ROOT))];
  for (const folder of FOLDERS) {
    for await (const url of typescript(new URL(`${folder}/`, ROOT))) modules.push(await readModule(url));
  }
  return new Map(modules.map((module) => [module.path, module]));
}

const modules = await readModules();

/** A plugin's own part of `plugins/`: its folder or its file. */
const home = (path: string): string => path.split("/").slice(0, 2).join("/");

/** What each layer may import. */
const LAYERS: readonly [layer: RegExp, may: (imported: string, from: string) => boolean][] = [
  [/^core\//, (imported) => imported.startsWith("core/")],
  [/^devices\//, (imported) => /^(core\/(plugin|schema)\.ts|devices\/.*)$/.test(imported)],
  [
    /^plugins\//,
    (imported, from) =>
      /^(core\/|node:)/.test(imported) || home(imported) === home(from) ||
      // What several plugins share: of the host, and of boards.
      /^plugins\/(host|boards)\//.test(imported),
  ],
  [/^mod\.ts$/, (imported) => /^(core|devices|plugins)\//.test(imported)],
  // The fuzzer plays a virtio driver.
  [/^cli\/fuzz\//, (imported) => /^(mod\.ts$|cli\/|devices\/virtio\/registers\.ts$)/.test(imported)],
  [/^cli\//, (imported) => /^(mod\.ts$|plugins\/|cli\/|node:|@std\/|[\w-]+$|deno\.json$)/.test(imported)],
  [/^examples\//, (imported) => imported === "mod.ts" || imported.startsWith("examples/")],
  [/^tests\//, () => true],
];

Deno.test("imports point from the outside in, and nothing imports tests", () => {
  const wrong: string[] = [];
  for (const { path, imports } of modules.values()) {
    const may = LAYERS.find(([layer]) => layer.test(path))![1];
    for (const imported of imports) if (!may(imported, path)) wrong.push(`${path} imports ${imported}`);
  }
  assertEquals(wrong, []);
});

Deno.test("every relative import names a module that is there", () => {
  const missing: string[] = [];
  for (const { path, imports } of modules.values()) {
    for (const imported of imports) {
      const local = FOLDERS.some((folder) => imported.startsWith(`${folder}/`)) && imported.endsWith(".ts");
      if (local && !modules.has(imported)) missing.push(`${path} imports ${imported}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("only mod.ts imports what a description names", () => {
  const sources = [...modules.values()].filter(({ path }) => !path.startsWith("tests/"));
  const dynamic = sources.filter(({ text }) => /(await|return|=>|=|\()\s*import\((?!\s*["`])/.test(text));
  assertEquals(dynamic.map(({ path }) => path), ["mod.ts"]);
});

Deno.test("every module begins with a line that says what it is", () => {
  const silent = [...modules.values()].filter(({ path, text }) =>
    !path.startsWith("tests/") && !/^(#!.*\n)?(\/\/ |\/\*\*)\S/.test(text)
  );
  assertEquals(silent.map(({ path }) => path), []);
});

Deno.test("core and devices type-check without any host's types", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const config = `${folder}/deno.json`;
    await Deno.writeTextFile(config, JSON.stringify({ compilerOptions: { lib: ["esnext"] } }));
    const files = [...modules.keys()].filter((path) => /^(core|devices)\//.test(path));
    const check = new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", "--config", config, ...files],
      cwd: fromFileUrl(ROOT),
      env: { NO_COLOR: "1" },
    });
    const { success, stderr } = await check.output();
    assertEquals(success ? "" : new TextDecoder().decode(stderr), "");

    // The check itself works: a module that names its host fails it.
    const host = `${folder}/host.ts`;
    await Deno.writeTextFile(host, "export const now: number = performance.now();\n");
    const control = new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", "--config", config, toFileUrl(host).href],
    });
    assertEquals((await control.output()).success, false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
