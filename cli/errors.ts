// Any error as one sentence for the person at the terminal.

/** Ends the program with a code of its own, and a sentence if there is something to say. */
export class Stop extends Error {
  override readonly name = "Stop";
  constructor(readonly code: number, message = "") {
    super(message);
  }
}

/** What went wrong, in one line. */
export function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof Stop) return error.message;
  if (error instanceof Deno.errors.NotCapable) {
    const [, what, flag] = /^Requires (.*), run again with the (--\S+) flag/.exec(error.message) ?? [];
    if (what) return `Deno denies ${what}: run again with ${flag} after deno run`;
  }
  return error.message.split("\n", 1)[0].replace(/ \(os error \d+\)/, "") || error.name;
}

/** The exit code for an error, after it was told on standard error. */
export function report(error: unknown): number {
  const text = sentence(error);
  if (text) console.error(`denovisor: ${text}`);
  return error instanceof Stop ? error.code : 1;
}
