// Booting: files are opened when they are needed, and read straight into guest RAM while the engine prepares itself.

import { messageOf } from "./errors.ts";
import type { GuestMemory } from "./memory.ts";
import {
  type Address,
  type Board,
  type BootContext,
  type BootDescription,
  type BootFile,
  type BootFiles,
  type Bytes,
  bytesFile,
  type Engine,
  type Host,
  type PlacedDevice,
} from "./plugin.ts";

/** What booting needs. */
export interface BootOptions {
  readonly host: Pick<Host, "resolve" | "openFile" | "entropy">;
  readonly base: string | undefined;
  readonly files: BootDescription;
  readonly board: Board;
  readonly engine: Engine;
  readonly memory: GuestMemory;
  readonly devices: readonly PlacedDevice[];
  /** Whether the same run is to come again: then nothing random of the host's may get in. */
  readonly deterministic: boolean;
}

/** Where boot files come from. */
export interface BootSource extends Pick<BootOptions, "base" | "files"> {
  readonly host: Pick<Host, "resolve" | "openFile">;
}

/** Opens the boot files. */
export async function openBootFiles(source: BootSource): Promise<BootFiles> {
  const [kernel, initrd, bios] = await Promise.all(NAMES.map((name) => openBootFile(name, source)));
  return { kernel, initrd, bios, append: source.files.append };
}

/**
 * A function that opens the boot files, lets the board load them and start, and gives the device tree. The first time
 * it takes those that were opened `ahead`.
 */
export function bootLoader(options: BootOptions, ahead: Promise<BootFiles>): () => Promise<Bytes> {
  const { board, engine, memory, devices, host, deterministic } = options;
  let first: Promise<BootFiles> | undefined = ahead;
  return async () => {
    const files = await (first ?? openBootFiles(options));
    first = undefined;
    const contents: Placed[] = [];
    const context: BootContext = {
      engine,
      files,
      write: (at, content) => {
        checkPlace(memory, at, content.length);
        contents.push({ at, content });
      },
      devices,
      seed: deterministic ? undefined : randomSeed(host),
    };
    board.boot(context);
    const loaded = load(contents, memory);
    try {
      engine.prepare?.();
      return board.describe(context);
    } finally {
      // RAM outlives every read into it.
      await loaded;
    }
  };
}

/** As many as a Linux kernel takes for full. */
const SEED_BYTES = 32;

/** What has to be in RAM, and where. */
interface Placed {
  readonly at: Address;
  readonly content: Bytes | BootFile;
}

/** Bytes that are read at one go: hosts have several threads for it, and memory touched first takes longer than files. */
const PIECE = 8 * 2 ** 20;
/** How many pieces are read side by side. */
const READS = 16;

/** Fills RAM; where contents overlap, the later one is found there. Has started the first reads when it returns. */
async function load(contents: readonly Placed[], memory: GuestMemory): Promise<void> {
  let reads: { readonly start: Address; readonly end: Address; readonly done: Promise<void> }[] = [];
  const settle = async (): Promise<void> => {
    const results = await Promise.allSettled(reads.map(({ done }) => done));
    reads = [];
    for (const result of results) if (result.status === "rejected") throw result.reason;
  };
  try {
    for (const { at, content } of contents) {
      for (let from = 0; from < content.length; from += PIECE) {
        const length = Math.min(PIECE, content.length - from);
        const start = at + from;
        const end = start + length;
        if (reads.length === READS || reads.some((read) => start < read.end && read.start < end)) await settle();
        if (content instanceof Uint8Array) memory.write(start, content.subarray(from, from + length));
        else reads.push({ start, end, done: memory.fill(start, length, (into) => content.read(from, into)) });
      }
    }
  } finally {
    await settle();
  }
}

function randomSeed(host: Pick<Host, "entropy">): Bytes {
  const seed = new Uint8Array(SEED_BYTES);
  host.entropy(seed);
  return seed;
}

function checkPlace({ base, size }: GuestMemory, at: Address, length: number): void {
  if (at >= base && at + length <= base + size) return;
  const [start, end] = [base, base + size].map((address) => `0x${address.toString(16)}`);
  throw new RangeError(`Cannot load ${length} bytes at 0x${at.toString(16)}: RAM reaches from ${start} to ${end}`);
}

const NAMES = ["kernel", "initrd", "bios"] as const;

/** Opens a boot file. What goes wrong with it, now or later, is told with its name. */
export async function openBootFile(
  which: typeof NAMES[number],
  { host, base, files: { [which]: location } }: BootSource,
): Promise<BootFile | undefined> {
  if (typeof location !== "string") return location && bytesFile(location);
  const failed = (cause: unknown): never => {
    throw new Error(`Cannot read ${which} ${location}: ${messageOf(cause)}`, { cause });
  };
  try {
    const file = await host.openFile(host.resolve(location, base));
    return {
      length: file.length,
      slice(at, length) {
        try {
          return file.slice(at, length);
        } catch (cause) {
          return failed(cause);
        }
      },
      read: (at, into) => file.read(at, into).catch(failed),
    };
  } catch (cause) {
    return failed(cause);
  }
}
