// Boot files: read when they are needed, so that a kernel of 31 MB is not kept for a reset that may never come.

import type { CheckedDescription } from "./description.ts";
import type { GuestMemory } from "./memory.ts";
import {
  type Board,
  type BootContext,
  type BootFiles,
  type Bytes,
  DmaFault,
  type Engine,
  type Host,
} from "./plugin.ts";

/** What booting needs. */
export interface BootOptions {
  readonly host: Pick<Host, "resolve" | "readFile" | "entropy">;
  readonly base: string | undefined;
  readonly files: CheckedDescription["boot"];
  readonly board: Board;
  readonly engine: Engine;
  readonly memory: GuestMemory;
  readonly devices: BootContext["devices"];
  /** Whether the same run is to come again: then nothing random of the host's may get in. */
  readonly deterministic: boolean;
}

/** Reads the boot files. */
export async function readBootFiles(options: Pick<BootOptions, "host" | "base" | "files">): Promise<BootFiles> {
  const [kernel, initrd, bios] = await Promise.all(NAMES.map((name) => read(name, options)));
  return { kernel, initrd, bios, append: options.files.append };
}

/**
 * A function that reads the boot files, lets the board load them and start, and gives the device tree. The first time
 * it takes those that are `ahead`.
 */
export function bootLoader(options: BootOptions, ahead: Promise<BootFiles>): () => Promise<Bytes> {
  const { board, engine, memory, devices, host, deterministic } = options;
  let first: Promise<BootFiles> | undefined = ahead;
  const write = (at: number, bytes: Bytes): void => {
    try {
      memory.write(at, bytes);
    } catch (error) {
      if (!(error instanceof DmaFault)) throw error;
      const [start, end] = [memory.base, memory.base + memory.size].map((address) => `0x${address.toString(16)}`);
      throw new RangeError(
        `Cannot load ${bytes.length} bytes at 0x${at.toString(16)}: RAM reaches from ${start} to ${end}`,
      );
    }
  };
  const entropy = (length: number): Bytes => {
    const bytes = new Uint8Array(length);
    host.entropy(bytes);
    return bytes;
  };
  return async () => {
    const files = await (first ?? readBootFiles(options));
    first = undefined;
    const context: BootContext = {
      engine,
      files,
      write,
      devices,
      entropy: deterministic ? undefined : entropy,
      timebase: board.timebase,
    };
    board.boot(context);
    return board.describe(context);
  };
}

const NAMES = ["kernel", "initrd", "bios"] as const;

async function read(
  which: typeof NAMES[number],
  options: Parameters<typeof readBootFiles>[0],
): Promise<BootFiles["kernel"]> {
  const { host, base, files: { [which]: file } } = options;
  if (typeof file !== "string") return file;
  try {
    return await host.readFile(host.resolve(file, base));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot read ${which} ${file}: ${why}`, { cause });
  }
}
