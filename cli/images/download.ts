// Fetches files whose length and hash are known beforehand, or a short text (Fetch standard).

import { basename } from "@std/path";
import { ImageError, InterruptedError, reason } from "./errors.ts";

/** What a file must be. */
export interface Expected {
  /** Bytes. */
  readonly size: number;
  /** In hexadecimal digits. */
  readonly sha256: string;
}

const SILENCE_MS = 30_000;
const AGAIN = "check the network or give another --mirror, then run the command again";

/**
 * Fetches `url` into a new file at `path`; `advance` hears of each piece.
 * Throws an {@linkcode ImageError} when the file cannot be had whole and as expected (if anything is).
 */
export async function download(
  url: string,
  path: string,
  { expected, signal, advance }: { expected?: Expected; signal: AbortSignal; advance?: (bytes: number) => void },
): Promise<void> {
  // Loaded here: it would take a third of the time in which any command starts.
  const { createHash } = await import("node:crypto");
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const hash = createHash("sha256");
  let size = 0;
  using file = await Deno.open(path, { write: true, createNew: true });
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, silence.signal]) });
    if (!response.ok) {
      await response.body?.cancel();
      throw new ImageError(`${url} answers ${response.status} ${response.statusText}: give another --mirror`);
    }
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      hash.update(chunk);
      size += chunk.length;
      if (expected && size > expected.size) break;
      await writeAll(file, chunk);
      advance?.(chunk.length);
    }
  } catch (error) {
    if (signal.aborted) throw new InterruptedError("Interrupted");
    if (silence.signal.aborted) throw new ImageError(`${url} has fallen silent: ${AGAIN}`);
    if (error instanceof TypeError) throw new ImageError(`Cannot fetch ${url} (${reason(error)}): ${AGAIN}`);
    throw error;
  } finally {
    clearTimeout(timer);
  }

  if (!expected) return;
  if (size < expected.size) throw new ImageError(`${url} was cut after ${size} of ${expected.size} bytes: ${AGAIN}`);
  if (size > expected.size || hash.digest("hex") !== expected.sha256) {
    throw new ImageError(
      `${basename(path)} is not the file of the archive's index (its hash differs): the mirror may be changing, ` +
        "so run the command again later or give another --mirror",
    );
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
