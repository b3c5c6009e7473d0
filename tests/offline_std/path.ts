// A stand-in for the parts of @std/path that are used here, over node:path and node:url.

import { fileURLToPath, pathToFileURL } from "node:url";

export { basename, dirname, extname, isAbsolute, relative, resolve } from "node:path";
export { join } from "./join.ts";

/** The path that a `file:` URL names. */
export function fromFileUrl(url: string | URL): string {
  return fileURLToPath(url);
}

/** The `file:` URL of an absolute path. */
export function toFileUrl(path: string): URL {
  return pathToFileURL(path);
}
