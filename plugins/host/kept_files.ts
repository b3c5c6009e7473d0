// Files in which engines keep something from one machine to the next: one for each key; what was used longest ago goes.

import type { Keep } from "../../core/plugin.ts";

/** Files in the folder, at the most. */
const MOST = 32;
const ENDING = ".kept";

/**
 * Files in a folder, which is made when it is needed; for {@linkcode createHypervisor}. Without permission to read or to
 * write there nothing is kept, and nobody is asked for it.
 *
 * @example Machines of this program boot faster from the second time on
 * ```ts
 * import { createHypervisor, keepFiles } from "@denovisor/denovisor";
 *
 * await using hypervisor = createHypervisor({ keep: keepFiles(".cache/denovisor") });
 * // createMachine(description, { hypervisor }), as often as you like
 * ```
 */
export function keepFiles(folder: string): (key: string) => Keep {
  return (key) => ({
    async load() {
      if (!granted("read", folder)) return undefined;
      const path = await pathOf(folder, key);
      try {
        const bytes = await Deno.readFile(path);
        const now = new Date();
        if (granted("write", folder)) await Deno.utime(path, now, now);
        return bytes;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return undefined;
        throw error;
      }
    },
    async save(bytes) {
      if (!granted("write", folder) || !granted("read", folder)) return;
      await Deno.mkdir(folder, { recursive: true });
      const path = await pathOf(folder, key);
      const partial = `${path}.${crypto.randomUUID()}.partial`;
      try {
        await Deno.writeFile(partial, bytes);
        await Deno.rename(partial, path);
      } catch (error) {
        await Deno.remove(partial).catch(() => {});
        throw error;
      }
      await clear(folder);
    },
  });
}

/** Removes what was used longest ago, and what was written halfway. */
async function clear(folder: string): Promise<void> {
  const files: { path: string; time: number }[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile || !name.includes(ENDING)) continue;
    const path = `${folder}/${name}`;
    const status = await Deno.stat(path).catch(() => undefined);
    if (status) files.push({ path, time: status.mtime?.getTime() ?? 0 });
  }
  files.sort((a, b) => b.time - a.time);
  for (const { path } of files.slice(MOST)) await Deno.remove(path).catch(() => {});
}

async function pathOf(folder: string, key: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  return `${folder}/${digest.subarray(0, 16).toHex()}${ENDING}`;
}

function granted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}
