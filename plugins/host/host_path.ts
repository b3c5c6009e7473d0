// Paths in the configuration of back ends: relative ones resolve against the description's base.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The host's path for `path`: a path, or a `file:` URL; relative ones against `base`, else the working directory. */
export function hostPath(path: string, base?: string): string {
  if (path.startsWith("file:")) return fileURLToPath(path);
  return base?.startsWith("file:") ? resolve(fileURLToPath(new URL(".", base)), path) : path;
}

/** Why a file can not be used, in words that end a sentence. */
export function why(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory";
  if (error instanceof Deno.errors.PermissionDenied) return "the host's permissions forbid it";
  return error instanceof Error ? error.message : String(error);
}
