// SPECIFICATION.md: every promise names its tests, and every test that it names is there.

import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** A test as the specification names it. */
interface Named {
  readonly path: string;
  readonly test: string;
}

/** The promises of a text, by their first words, each with its tests. */
function promises(text: string): Map<string, Named[]> {
  const items = text.split(/\n(?=- |#|\n)/).filter((block) => block.trimStart().startsWith("- "));
  return new Map(items.map((item) => {
    const line = item.trim().replaceAll(/\s*\n\s*/g, " ");
    const named = [...line.matchAll(/`(tests\/[\w/]+\.ts)`: ((?:"[^"]+"(?:, )?)+)/g)].flatMap(([, path, list]) =>
      [...list.matchAll(/"([^"]+)"/g)].map(([, test]) => ({ path, test }))
    );
    return [line.slice(0, 80), named];
  }));
}

/** The texts in a file, in quotes of either kind, `…` in place of what is put in. */
async function textsOf(path: string): Promise<Set<string>> {
  const source = await Deno.readTextFile(new URL(path, ROOT));
  const plain = [...source.matchAll(/"((?:[^"\\\n]|\\.)*)"/g)].map(([, text]) => text.replaceAll("\\", ""));
  const templates = [...source.matchAll(/`((?:[^`\\]|\\.)*)`/g)].map(([, text]) =>
    text.replaceAll(/\$\{[^}]*\}/g, "…")
  );
  return new Set([...plain, ...templates]);
}

const specification = await Deno.readTextFile(new URL("SPECIFICATION.md", ROOT));

Deno.test("every promise of the specification is shown by a test", () => {
  const found = promises(specification);
  assert(found.size > 40, `${found.size} promises`);
  assertEquals([...found].filter(([, named]) => named.length === 0).map(([promise]) => promise), []);
});

Deno.test("every test that the specification names is there", async () => {
  const missing: string[] = [];
  const files = new Map<string, Set<string>>();
  for (const { path, test } of [...promises(specification).values()].flat()) {
    if (!files.has(path)) files.set(path, await textsOf(path).catch(() => new Set<string>()));
    if (!files.get(path)!.has(test)) missing.push(`${path}: ${test}`);
  }
  assertEquals(missing, []);
});

Deno.test("the check of the specification tells a promise without a test, and a test that is not there", async () => {
  const found = promises(
    '## A\n\n- Nothing shows\n  this.\n- That is shown. `tests/specification_test.ts`: "… is\n  there"\n',
  );
  assertEquals([...found.values()].map((named) => named.length), [0, 1]);
  assertEquals([...found.values()][1], [{ path: "tests/specification_test.ts", test: "… is there" }]);
  const texts = await textsOf("tests/specification_test.ts");
  assert(texts.has("every test that the specification names is there"));
  assert(!texts.has(["every test that the specification", "forgets"].join(" ")));
});
