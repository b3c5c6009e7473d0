// Why the host refused something, in words that end a sentence.

import { messageOf } from "../../core/errors.ts";

/** What to say of an error of the host's, by its name. */
const SAID: Readonly<Record<string, string>> = {
  NotFound: "it does not exist",
  IsADirectory: "it is a directory",
  PermissionDenied: "the host's permissions forbid it",
};

/** Why a file can not be used. */
export function why(error: unknown): string {
  const known = error instanceof Error && Object.hasOwn(SAID, error.name) ? SAID[error.name] : undefined;
  return known ?? messageOf(error).replace(/ \(os error \d+\).*$/s, "");
}
