// The host port on web APIs, and a turn and a file of Deno's where it is there: it serves wherever there are timers and fetch.

import { type BootFile, type Bytes, bytesFile, type Host, type Nanos } from "../../core/plugin.ts";
import { fillRandom } from "./random.ts";
import { why } from "./why.ts";

/** What a host in front of the web's APIs has besides: a turn of its event loop that waits for no timer. */
interface Immediate {
  readonly setImmediate?: (callback: () => void) => void;
}

/** Where there is a file system besides: its files in parts, straight to where they are wanted. */
interface FileSystem {
  readonly Deno?: { cwd(): string; openSync(url: URL): Handle };
}
interface Handle extends Disposable {
  statSync(): FileStatus;
  seekSync(offset: number, whence: number): number;
  readSync(into: Bytes): number | null;
  read(into: Bytes): Promise<number | null>;
}
interface FileStatus {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly size: number;
  readonly mtime: Date | null;
}
const SEEK_START = 0;

const MILLISECOND: Nanos = 1_000_000;
/** Timers come up to this much late. */
const TIMER_SLACK: Nanos = 1_200_000;
/** The share of time that may go into waiting for a deadline more exactly than timers do. */
const SPIN_SHARE = 0.005;
const SPIN_MOST: Nanos = 5 * MILLISECOND;
/** The longest wait that timers take. */
const LONGEST = 2 ** 31 - 1;

/** Makes the port. `load` is the module's `import()`, which has to stand where bundlers can see it. */
export function createWebHost(load: (specifier: string) => Promise<unknown>): Host {
  const turn = createTurn();
  const now = (): Nanos => Math.floor(performance.now() * MILLISECOND);
  let spinning: Nanos = SPIN_MOST;
  let credited = now();

  /** Nanoseconds of exact waiting that are within the share now. */
  const credit = (): Nanos => {
    const time = now();
    spinning = Math.min(SPIN_MOST, spinning + (time - credited) * SPIN_SHARE);
    credited = time;
    return spinning;
  };

  return {
    now,
    wallTime: () => Math.floor(Date.now() * 1000),
    entropy: fillRandom,
    turn,

    async sleep(nanos, wake) {
      const end = now() + nanos;
      let awake = false;
      wake = wake.then(() => void (awake = true));
      const exact = nanos < Infinity && credit() >= TIMER_SLACK;
      const coarse = exact ? nanos - TIMER_SLACK : nanos;
      if (coarse > 0) await timer(coarse / MILLISECOND, wake);
      if (!exact) return;
      const start = now();
      while (!awake && now() < end) await turn();
      spinning -= now() - start;
    },

    resolve(location, base) {
      if (/^[a-z][a-z0-9+.-]+:/i.test(location)) return location;
      const from = base ?? (location.startsWith("/") ? "file:///" : workingDirectory());
      if (from === undefined) {
        throw new TypeError(`${location} is relative: wanted a base to resolve it against, got none`);
      }
      return new URL(literal(location), from).href;
    },

    async openFile(location) {
      const file = openOnDisk(location);
      if (file) return file;
      const answer = await fetch(location).catch(refuse);
      if (!answer.ok) throw new Error(`${location} answers ${answer.status} ${answer.statusText}`);
      return bytesFile(new Uint8Array(await answer.arrayBuffer()));
    },

    load,
  };
}

/** A path as a part of a URL, in which these mean nothing special. */
function literal(path: string): string {
  return path.replace(/[%#?]/g, encodeURIComponent);
}

/** The URL of the working directory, where there is one. */
function workingDirectory(): string | undefined {
  const path = (globalThis as FileSystem).Deno?.cwd();
  return path && new URL(`file://${path.startsWith("/") ? "" : "/"}${literal(path)}/`).href;
}

/** A file of the host's, where it is a plain one and there is a file system. */
function openOnDisk(location: string): BootFile | undefined {
  const { Deno: files } = globalThis as FileSystem;
  if (!files || !location.startsWith("file:")) return undefined;
  const url = new URL(location);
  return clearly(() => {
    using handle = files.openSync(url);
    const status = handle.statSync();
    if (status.isDirectory) throw new Error("it is a directory");
    return status.isFile ? new DiskFile(() => files.openSync(url), status) : undefined;
  });
}

/** A plain file. Each read has a handle, and so a position, of its own: several go on side by side. */
class DiskFile implements BootFile {
  readonly length: number;
  readonly #open: () => Handle;
  readonly #modified: number | undefined;

  constructor(open: () => Handle, { size, mtime }: FileStatus) {
    this.length = size;
    this.#open = open;
    this.#modified = mtime?.getTime();
  }

  slice(at: number, length: number): Bytes {
    return clearly(() => {
      using handle = this.#openAt(at);
      const bytes = new Uint8Array(Math.max(0, Math.min(length, this.length - at)));
      for (let done = 0; done < bytes.length;) done += some(handle.readSync(bytes.subarray(done)));
      return bytes;
    });
  }

  async read(at: number, into: Bytes): Promise<void> {
    using handle = clearly(() => this.#openAt(at));
    for (let done = 0; done < into.length;) {
      const read = await handle.read(into.subarray(done)).catch(refuse);
      done += some(read);
    }
  }

  /** A handle at a position of the file, which is still the one that was opened first. */
  #openAt(at: number): Handle {
    const handle = this.#open();
    try {
      const { size, mtime } = handle.statSync();
      if (size !== this.length || mtime?.getTime() !== this.#modified) throw changed();
      handle.seekSync(at, SEEK_START);
      return handle;
    } catch (error) {
      handle[Symbol.dispose]();
      throw error;
    }
  }
}

/** The bytes that a read gave: a file that was not cut short meanwhile has some. */
function some(read: number | null): number {
  if (read) return read;
  throw changed();
}

function changed(): Error {
  return new Error("it changed while it was being read");
}

/** What `act` gives. What it throws says why, and leaves to the caller what. */
function clearly<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    return refuse(error);
  }
}

function refuse(error: unknown): never {
  throw new Error(why(error));
}

/**
 * A turn of the event loop. Message channels are every browser's fastest; but in Deno they hold timers and files up
 * over a hundred messages, and an open one keeps the process alive. There, `setImmediate` does neither.
 */
function createTurn(): () => Promise<void> {
  const { setImmediate } = globalThis as Immediate;
  if (setImmediate) return () => new Promise((resolve) => setImmediate(resolve));
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port2.onmessage = () => waiting.shift()?.();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port1.postMessage(0);
    });
}

/** Settles after `milliseconds`, or as soon as `wake` settles. */
function timer(milliseconds: number, wake: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const handle = setTimeout(resolve, Math.min(milliseconds, LONGEST));
    wake.then(() => {
      clearTimeout(handle);
      resolve();
    });
  });
}
