// A file to boot from: headers are read from it at once, the rest straight into guest RAM.

import type { Bytes } from "./values.ts";

/**
 * A file, or a part of one, of which only what is asked for is read. Nothing of it is open between reads, so that it
 * need not be closed; a read throws if the file has changed since it was opened.
 */
export interface BootFile {
  /** Bytes. */
  readonly length: number;
  /** `length` bytes from `at` on, fewer where the file ends: for headers, not for what is large. To be left unchanged. */
  slice(at: number, length: number): Bytes;
  /** Fills `into` with the bytes from `at` on, on a thread of the host's where it has one. Throws where they are too few. */
  read(at: number, into: Bytes): Promise<void>;
}

/** A file whose bytes are there already. */
export function bytesFile(bytes: Bytes): BootFile {
  return {
    length: bytes.length,
    slice: (at, length) => bytes.subarray(at, at + length),
    // deno-lint-ignore require-await -- where it throws it rejects
    async read(at, into) {
      const part = bytes.subarray(at, at + into.length);
      if (part.length < into.length) throw cutOff(at, into.length, bytes.length);
      into.set(part);
    },
  };
}

/** `length` bytes of a file, from `at` on, as a file of their own. Throws a `RangeError` where the file has fewer. */
export function filePart(file: BootFile, at: number, length: number): BootFile {
  if (!(at >= 0 && length >= 0 && at + length <= file.length)) throw cutOff(at, length, file.length);
  return {
    length,
    slice: (from, count) => file.slice(at + from, Math.min(count, Math.max(0, length - from))),
    // deno-lint-ignore require-await
    async read(from, into) {
      if (from + into.length > length) throw cutOff(from, into.length, length);
      return file.read(at + from, into);
    },
  };
}

function cutOff(at: number, length: number, has: number): RangeError {
  return new RangeError(`Cannot read ${length} bytes from ${at} on: there are ${has}`);
}
