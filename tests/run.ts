// Runs `deno test` with the arguments given and ends with one line: `N passed, N failed[, N skipped]`. With `--side-by-side`
// the files are shared out among as many processes as there are processors: for tests that measure no time.

import { fromFileUrl } from "./offline_std/path.ts";

const ROOT = new URL("../", import.meta.url);
/**
 * Files that one process is given at a time: few, so that all are busy to the end; many, since each start takes half a
 * second. They are imported by one module, or else each would be a start.
 */
const SHARE = 8;

/** How tests ended. */
interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs `deno test`; `write` is told what it says. */
async function run(args: readonly string[], write: (text: string) => void): Promise<Counts> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", ...args],
    cwd: fromFileUrl(ROOT),
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let tail = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    write(text);
    tail = (tail + text).slice(-4000);
  }
  const { success } = await child.status;
  // deno-lint-ignore no-control-regex -- the colours of the summary
  const plain = tail.replaceAll(/\x1b\[[\d;]*m/g, "");
  const summary = /(\d+) passed[^|\n]*\| (\d+) failed[^|\n]*(?:\| (\d+) ignored)?/.exec(plain);
  const [passed, counted, skipped] = summary ? summary.slice(1).map((n) => Number(n ?? 0)) : [0, 0, 0];
  // A module that does not load, or a leak found at the end, fails the run without being counted as a test.
  return { passed, failed: success && passed + skipped > 0 ? counted : Math.max(counted, 1), skipped };
}

/** The test files in a folder, as paths from the root, without those that are ignored. */
function* files(folder: string, ignored: readonly string[]): Generator<string> {
  const entries = [...Deno.readDirSync(new URL(folder, ROOT))].sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory } of entries) {
    const path = `${folder}/${name}`;
    if (ignored.includes(path)) continue;
    if (isDirectory) yield* files(path, ignored);
    else if (name.endsWith("_test.ts")) yield path;
  }
}

/** Shares the files of the folders out among processes. */
async function sideBySide(args: readonly string[]): Promise<Counts> {
  const ignored = args.flatMap((arg) => arg.startsWith("--ignore=") ? arg.slice(9).split(",") : []);
  const options = args.filter((arg) => arg.startsWith("-") && !arg.startsWith("--ignore="));
  const all = args.filter((arg) => !arg.startsWith("-")).flatMap((folder) => [
    ...files(folder.replace(/\/$/, ""), ignored),
  ]);
  // Not neighbours: what one folder's tests take is alike.
  const count = Math.ceil(all.length / SHARE);
  const shares = Array.from({ length: count }, (_, i) => all.filter((_, n) => n % count === i));
  const folder = await Deno.makeTempDir({ prefix: "denovisor_tests_" });
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const work = async (): Promise<void> => {
    for (let share = shares.shift(); share; share = shares.shift()) {
      const module = `${folder}/${share[0].replaceAll("/", "_")}`;
      await Deno.writeTextFile(module, share.map((path) => `import "${new URL(path, ROOT)}";\n`).join(""));
      let said = "";
      const counts = await run([...options, module], (text) => said += text);
      console.log(`${share.join("\n")}\n${said}`);
      for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
    }
  };
  try {
    await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return total;
}

const args = Deno.args.filter((arg) => arg !== "--side-by-side");
const bytes = new TextEncoder();
const { passed, failed, skipped } = args.length < Deno.args.length
  ? await sideBySide(args)
  : await run(args, (text) => void Deno.stdout.writeSync(bytes.encode(text)));
console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
Deno.exit(failed ? 1 : 0);
