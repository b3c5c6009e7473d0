// Block back end over a raw image file: data goes straight between the file and guest RAM.

import { type BlockBackend, type Bytes, defineBackend, type IoResult } from "../core/plugin.ts";
import { boolean, object, optional, string } from "../core/schema.ts";
import { hostPath } from "./host/host_path.ts";
import { why } from "./host/why.ts";

const SECTOR = 512;
/**
 * Up to this many bytes a request is answered at once: most that Linux asks for. Out of the page cache that takes some
 * 2 µs for 4 KiB and 400 µs for these; by a promise it would take 100 to 150 µs more, in which the guest idles.
 */
const AT_ONCE = 1024 * 1024;

/** A raw image file as a disk. */
export default defineBackend({
  name: "file_disk",
  provides: "block",
  permissions: ["read", "write"],
  config: object({
    path: string,
    readOnly: optional(boolean, false),
  }),
  open({ config, name, base, log }): FileDisk {
    const path = hostPath(config.path, base);
    const fail = (reason: string): never => {
      throw new Error(`Cannot open ${name}: ${path}: ${reason}`);
    };
    const open = (): Deno.FsFile => {
      try {
        return Deno.openSync(path, { read: true, write: !config.readOnly });
      } catch (error) {
        return fail(why(error));
      }
    };
    const now = open();
    try {
      const { isFile, size } = now.statSync();
      if (!isFile) fail("wanted a regular file");
      if (size === 0 || size % SECTOR) fail(`wanted a multiple of ${SECTOR} bytes, got ${size}`);
      // The host's lock also keeps out other processes that ask for it.
      if (!config.readOnly && !now.tryLockSync(true)) {
        fail("another disk writes to it; wanted it for one writer alone, or readOnly");
      }
      const warn = (doing: string, reason: string) => log?.(`cannot ${doing} ${path}: ${reason}`);
      return new FileDisk(now, open(), size, config.readOnly, warn);
    } catch (error) {
      now.close();
      throw error;
    }
  },
});

type Direction = "read" | "write";

/** A disk over two handles of one file: requests answered at once never meet a file position that others move. */
class FileDisk implements BlockBackend {
  readonly #now: Deno.FsFile;
  readonly #later: Deno.FsFile;
  readonly #warn: (doing: string, reason: string) => void;
  /** The requests answered by promises, one after the other. */
  #queue: Promise<unknown> = Promise.resolve();
  #warned = false;

  constructor(
    now: Deno.FsFile,
    later: Deno.FsFile,
    readonly size: number,
    readonly readOnly: boolean,
    warn: (doing: string, reason: string) => void,
  ) {
    this.#now = now;
    this.#later = later;
    this.#warn = warn;
  }

  read(position: number, into: readonly Bytes[]): IoResult | Promise<IoResult> {
    return this.#transfer("read", position, into);
  }

  write(position: number, from: readonly Bytes[]): IoResult | Promise<IoResult> {
    return this.readOnly ? "error" : this.#transfer("write", position, from);
  }

  flush(): IoResult | Promise<IoResult> {
    return this.readOnly ? "ok" : this.#enqueue("flush", () => this.#later.syncData());
  }

  async close(): Promise<void> {
    await this.#queue;
    this.#later.close();
    this.#now.close();
  }

  #transfer(direction: Direction, position: number, views: readonly Bytes[]): IoResult | Promise<IoResult> {
    const parts = join(views);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (!(position >= 0 && position + length <= this.size)) return "error";
    if (length > AT_ONCE) return this.#enqueue(direction, () => this.#transferLater(direction, position, parts));
    try {
      this.#transferNow(direction, position, parts);
      return "ok";
    } catch (error) {
      return this.#failed(direction, error);
    }
  }

  #transferNow(direction: Direction, position: number, parts: readonly Bytes[]): void {
    this.#now.seekSync(position, Deno.SeekMode.Start);
    for (const part of parts) {
      for (let done = 0; done < part.length;) {
        const rest = done ? part.subarray(done) : part;
        done += moved(direction === "read" ? this.#now.readSync(rest) : this.#now.writeSync(rest));
      }
    }
  }

  /** Goes on at once as long as that is short, then waits for one part, in which the event loop has its turn. */
  async #transferLater(direction: Direction, position: number, parts: readonly Bytes[]): Promise<void> {
    for (let next = 0; next < parts.length;) {
      const first = next;
      let start = position;
      while (next < parts.length - 1 && start + parts[next].length - position <= AT_ONCE) start += parts[next++].length;
      this.#transferNow(direction, position, parts.slice(first, next));
      const part = parts[next++];
      this.#later.seekSync(start, Deno.SeekMode.Start);
      for (let done = 0; done < part.length;) {
        const rest = done ? part.subarray(done) : part;
        done += moved(await (direction === "read" ? this.#later.read(rest) : this.#later.write(rest)));
      }
      position = start + part.length;
    }
  }

  #enqueue(doing: string, work: () => Promise<void>): Promise<IoResult> {
    const result = this.#queue.then(work).then((): IoResult => "ok", (error) => this.#failed(doing, error));
    this.#queue = result;
    return result;
  }

  #failed(doing: string, error: unknown): IoResult {
    if (!this.#warned) this.#warn(doing, why(error));
    this.#warned = true;
    return "error";
  }
}

/** The bytes a call moved; none at all means that the file became shorter than it was. */
function moved(count: number | null): number {
  if (!count) throw new Error("it ends too early");
  return count;
}

/** Views that lie one behind the other in memory as one view: each costs a call to the host. */
function join(views: readonly Bytes[]): readonly Bytes[] {
  if (views.length < 2) return views;
  const joined: Bytes[] = [views[0]];
  for (const view of views.slice(1)) {
    const last = joined[joined.length - 1];
    if (view.buffer === last.buffer && view.byteOffset === last.byteOffset + last.length) {
      joined[joined.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + view.length);
    } else {
      joined.push(view);
    }
  }
  return joined;
}
