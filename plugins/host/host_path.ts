// Paths in the configuration of back ends: relative ones resolve against the description's base.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The host's path for `path`: a path, or a `file:` URL; relative ones against `base`, else the working directory. */
export function hostPath(path: string, base?: string): string {
  if (path.startsWith("file:")) return fileURLToPath(path);
  return base?.startsWith("file:") ? resolve(fileURLToPath(new URL(".", base)), path) : path;
}
