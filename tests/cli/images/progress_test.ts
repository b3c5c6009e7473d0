// How a pull tells its progress, on a terminal and elsewhere.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Progress } from "../../../cli/images/progress.ts";

function recorded(terminal: boolean): { progress: Progress; said: () => string } {
  const parts: string[] = [];
  return { progress: new Progress({ terminal, write: (text) => parts.push(text) }), said: () => parts.join("") };
}

Deno.test("progress elsewhere than on a terminal is plain lines", async () => {
  const { progress, said } = recorded(false);
  progress.note("Mirror: here");
  progress.warn("beware");
  const result = await progress.during("kernel", 3 * 1024 * 1024, (advance) => {
    for (let i = 0; i < 100; i++) advance(1000);
    return Promise.resolve("done");
  });
  assertEquals(result, "done");
  assertEquals(said(), "Mirror: here\nWarning: beware\nkernel (3.0 MiB)\n");
});

Deno.test("progress on a terminal is a bar in one line of at most 80 columns", async () => {
  const { progress, said } = recorded(true);
  await progress.during("a label that is far too long for its place", 1000, (advance) => {
    advance(400);
    return Promise.resolve();
  });
  // deno-lint-ignore no-control-regex -- colours
  const lines = said().replace(/\x1b\[\d+m/g, "").split("\r");
  assert(said().endsWith("\n"));
  assertStringIncludes(lines.at(-1)!, "100%");
  for (const line of lines) assert(line.trimEnd().length <= 80, line);
});

Deno.test("progress of work that fails does not claim to be whole", async () => {
  const { progress, said } = recorded(true);
  await assertRejects(() =>
    progress.during("kernel", 1000, (advance) => {
      advance(250);
      return Promise.reject(new Error("cut"));
    })
  );
  assertStringIncludes(said(), " 25%");
  assert(!said().includes("100%"));
});
