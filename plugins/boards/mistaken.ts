// Files that are often given in place of a kernel, told by their bytes.

import type { Bytes } from "../../core/plugin.ts";

/** A kind of file, by the bytes at an offset. */
export interface Mistaken {
  readonly at: number;
  readonly bytes: readonly number[];
  /** What is wrong with it, for a message. */
  readonly what: string;
}

/** Compressed files. */
const COMPRESSED: readonly Mistaken[] = [
  { at: 0, bytes: [0x1f, 0x8b], what: "it is compressed by gzip; decompress it first" },
  { at: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], what: "it is compressed by zstd; decompress it first" },
  { at: 0, bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a], what: "it is compressed by xz; decompress it first" },
  { at: 0, bytes: [0x42, 0x5a, 0x68], what: "it is compressed by bzip2; decompress it first" },
];

/** What is wrong with a file that begins with `head`: it is compressed, or of one of the `others`. */
export function mistake(head: Bytes, others: readonly Mistaken[] = []): string | undefined {
  return [...COMPRESSED, ...others].find(({ at, bytes }) => bytes.every((byte, i) => head[at + i] === byte))?.what;
}
