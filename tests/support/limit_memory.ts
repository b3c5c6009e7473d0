// Lets this process have so much more memory than it has, asked for or touched (Linux: setrlimit(2), RLIMIT_DATA).

/** Where the limit can not be set: why. */
export function whyUnlimited(): string | undefined {
  if (Deno.build.os !== "linux") return "the limit is Linux's";
  try {
    new Deno.Command("prlimit", { args: ["--version"], stdout: "null" }).outputSync();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "prlimit is not installed (package util-linux)";
  }
}

/** From here on, what would make the process larger by more than `bytes` fails. */
export function limitMemory(bytes: number): void {
  const [, kibibytes] = /^VmData:\s*(\d+) kB$/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
  const args = ["--pid", String(Deno.pid), `--data=${1024 * Number(kibibytes) + bytes}`];
  const { success, stderr } = new Deno.Command("prlimit", { args }).outputSync();
  if (!success) throw new Error(`prlimit: ${new TextDecoder().decode(stderr)}`);
}
