// Stream back end that writes the guest's output to a file.

import { defineBackend, type StreamBackend } from "../core/plugin.ts";
import { object, string } from "../core/schema.ts";
import { hostPath } from "./host/host_path.ts";
import { OutputQueue } from "./host/output_queue.ts";
import { why } from "./host/why.ts";

/** Keeps what the guest writes, from an empty file on; input never comes. */
export default defineBackend({
  name: "file_stream",
  provides: "stream",
  permissions: ["write"],
  config: object({ path: string }),
  open({ config, name, base, log }): StreamBackend {
    const path = hostPath(config.path, base);
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (error) {
      throw new Error(`Cannot open ${name}: ${path}: ${why(error)}`);
    }
    const output = new OutputQueue(file, (error) => log?.(`cannot write ${path}: ${why(error)}`));
    return {
      read: () => new Promise<never>(() => {}),
      write: (bytes) => output.write(bytes),
      async close() {
        await output.drained();
        file.close();
      },
    };
  },
});
