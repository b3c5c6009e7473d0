// What was thrown, in words: any value may be.

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What a plugin threw: its own sentence, or what it said after `place`. */
export function placed(error: unknown, place: string): Error {
  if (error instanceof Error && error.message.startsWith("Cannot ")) return error;
  return new Error(`${place}: ${messageOf(error)}`, { cause: error });
}
