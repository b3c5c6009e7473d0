// A program that a boot file holds, whatever the file's format.

import type { Address, BootFile } from "../../core/plugin.ts";

/** What a boot file is for, in messages. */
export type Role = "kernel" | "bios";

/** RAM, as loaders check it. */
export interface Extent {
  readonly base: Address;
  readonly size: number;
}

/** A part of a file for RAM, followed by zeroes. */
export interface Segment {
  readonly at: Address;
  readonly content: BootFile;
  readonly zeroes: number;
}

/** A program to be loaded. */
export interface Program {
  readonly segments: readonly Segment[];
  readonly entry: Address;
  /** The first address that it occupies. */
  readonly start: Address;
  /** The first address beyond it: later than its bytes where it has asked for more memory. */
  readonly end: Address;
  /** The words by which a RISC-V test program speaks to its host. */
  readonly tohost?: Address;
  readonly fromhost?: Address;
}
