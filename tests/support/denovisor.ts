// Runs the command line, and files of tests, as a shell does.

import { fromFileUrl } from "@std/path";

const root = fromFileUrl(new URL("../..", import.meta.url));

/** What a run of the command line left behind. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function deno(args: readonly string[], input = "", env: Record<string, string> = {}): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", ...env },
  }).spawn();
  const writer = child.stdin.getWriter();
  // A program that ended already reads nothing of it.
  const written = writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await written;
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** Asked once: every process takes its time. */
let map: Promise<string> | undefined;

/** Deno's option for the imports, where it takes one. */
async function imports(): Promise<string[]> {
  map ??= deno(["run", "-qA", "tests/offline_std/map.ts"]).then(({ out }) => out.trim());
  const option = await map;
  return option ? [option] : [];
}

/** `denovisor ARGS`, in the project's folder; `flags` are Deno's own. */
export async function denovisor(
  args: readonly string[],
  { flags = ["-A"], input, env }: { flags?: readonly string[]; input?: string; env?: Record<string, string> } = {},
): Promise<Outcome> {
  return await deno(["run", "-q", ...flags, ...await imports(), "cli/main.ts", ...args], input, env);
}

/** `deno test ARGS`, in the project's folder. */
export async function denoTest(...args: readonly string[]): Promise<Outcome> {
  return await deno(["test", "-qA", "--no-check", ...await imports(), ...args]);
}
