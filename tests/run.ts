// Runs `deno test` with the arguments given and ends with one line: `N passed, N failed[, N skipped]`.

import { fromFileUrl } from "./offline_std/path.ts";

const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "-A", ...Deno.args],
  cwd: fromFileUrl(new URL("..", import.meta.url)),
  stdout: "piped",
  stderr: "inherit",
}).spawn();

let tail = "";
const decoder = new TextDecoder();
for await (const bytes of child.stdout) {
  await Deno.stdout.write(bytes);
  tail = (tail + decoder.decode(bytes, { stream: true })).slice(-4000);
}
const { success } = await child.status;

// deno-lint-ignore no-control-regex -- the colours of the summary
const plain = tail.replaceAll(/\x1b\[[\d;]*m/g, "");
const summary = /(\d+) passed[^|\n]*\| (\d+) failed[^|\n]*(?:\| (\d+) ignored)?/.exec(plain);
const [passed, counted, skipped] = summary ? summary.slice(1).map((n) => Number(n ?? 0)) : [0, 0, 0];
// A module that does not load, or a leak found at the end, fails the run without being counted as a test.
const failed = success && passed > 0 ? counted : Math.max(counted, 1);

console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
Deno.exit(failed ? 1 : 0);
