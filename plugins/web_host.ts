// The host port on web APIs, and a turn and a file of Deno's where it is there: it serves wherever there are timers and fetch.

import type { Bytes, Host, Nanos } from "../core/plugin.ts";

/** What a host in front of the web's APIs has besides: a turn of its event loop that waits for no timer. */
interface Immediate {
  readonly setImmediate?: (callback: () => void) => void;
}

/** Where there is a file system besides: a file at one go into its own bytes, which fetch reads in small pieces. */
interface FileSystem {
  readonly Deno?: { openSync(url: URL): OpenFile };
}
interface OpenFile extends Disposable {
  statSync(): { readonly isFile: boolean; readonly size: number };
  read(into: Uint8Array): Promise<number | null>;
}

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
      // A path, in which these mean nothing special.
      const path = location.replaceAll("%", "%25").replaceAll("#", "%23").replaceAll("?", "%3F");
      if (base === undefined && !path.startsWith("/")) {
        throw new TypeError(`${location} is relative: wanted a base to resolve it against, got none`);
      }
      return new URL(path, base ?? "file:///").href;
    },

    async readFile(location) {
      const bytes = await readWhole(location).catch((error) => {
        throw new Error(reason(error));
      });
      if (bytes) return bytes;
      const answer = await fetch(location).catch((error) => {
        throw new Error(reason(error)); // without the location, which the caller names
      });
      if (!answer.ok) throw new Error(`${location} answers ${answer.status} ${answer.statusText}`);
      return new Uint8Array(await answer.arrayBuffer());
    },

    load,
  };
}

/** A file of the host's, where it is a plain one and there is a file system. The read is under way at once. */
async function readWhole(location: string): Promise<Bytes | undefined> {
  const { Deno: files } = globalThis as FileSystem;
  if (!files || !location.startsWith("file:")) return undefined;
  using file = files.openSync(new URL(location));
  const { isFile, size } = file.statSync();
  if (!isFile) return undefined;
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const read = await file.read(bytes.subarray(at));
    if (read === null) return bytes.subarray(0, at);
    at += read;
  }
  return bytes;
}

/** Why a file can not be read, in the host's words. */
function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^Error fetching file '[^']*': |: open '.*'$/s, "");
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

/** The web gives at most 64 KiB a call, and none into shared memory. */
function fillRandom(into: Bytes): void {
  for (let at = 0; at < into.length; at += 65536) {
    const part = new Uint8Array(Math.min(65536, into.length - at));
    into.set(crypto.getRandomValues(part), at);
  }
}
