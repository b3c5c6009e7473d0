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

/** What stands outside of the lists, paragraph by paragraph, in one line each. */
function prose(text: string): string[] {
  const outside = text.split("\n\n").filter((block) => !/^(#|- )/.test(block.trimStart()));
  return outside.map((block) => block.trim().replaceAll(/\s*\n\s*/g, " "));
}

/** A test's or a step's beginning, with its name in quotes of either kind. */
const TEST =
  /^ *(?:await )?(?:Deno\.test|test|t\.step)\(\s*(?:\{\s*name: )?(?:"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/gm;

/** The names of the tests and steps in a source, `…` in place of what is put in. */
function testsOf(source: string): Set<string> {
  return new Set(
    [...source.matchAll(TEST)].map(([, plain, template]) =>
      plain?.replaceAll("\\", "") ?? template.replaceAll(/\$\{[^}]*\}/g, "…")
    ),
  );
}

/** How the paragraphs begin that promise nothing: they say how to read the lists. */
const INTRODUCTIONS = [
  "Every line is a promise, and behind it",
  "`deno task test` runs them all;",
  "Who is hostile, and what they can and can not do.",
  "It owns its CPUs, its memory and the drivers of all its devices.",
  "Kernels, images, packages, configurations:",
];

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
    if (!files.has(path)) {
      files.set(path, testsOf(await Deno.readTextFile(new URL(path, ROOT)).catch(() => "")));
    }
    if (!files.get(path)!.has(test)) missing.push(`${path}: ${test}`);
  }
  assertEquals(missing, []);
});

Deno.test("nothing is promised outside of the lists", () => {
  const others = prose(specification).filter((text) => !INTRODUCTIONS.some((known) => text.startsWith(known)));
  assertEquals(others, []);
});

Deno.test("the check of the specification tells a promise without a test, and a test that is not there", () => {
  const text =
    '## A\n\nAll is\nwell.\n\n- Nothing shows\n  this.\n- That is shown. `tests/a_test.ts`: "… is\n  there"\n';
  const found = promises(text);
  assertEquals([...found.values()].map((named) => named.length), [0, 1]);
  assertEquals([...found.values()][1], [{ path: "tests/a_test.ts", test: "… is there" }]);
  assertEquals(prose(text), ["All is well."]);
  const source = `
Deno.test("one", () => assertEquals(told, "a text"));
Deno.test({
  name: "two",
  ignore,
  async fn(t) { await other("none", { name: "none" }); }
    await t.step(\`three of \${many.map(String)} \`, () => {});
  // Deno.test("none", () => {});
  test(
    "what is \\"four\\"",
`;
  assertEquals([...testsOf(source)], ["one", "two", "three of … ", 'what is "four"']);
});
