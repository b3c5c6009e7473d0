// A program that a boot file holds, whatever the file's format, and how it gets into RAM.

import type { Address, BootContext, BootFile } from "../../core/plugin.ts";

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
}

/** An error that says why a boot file is refused. */
export function refusal(role: Role, why: string): RangeError {
  return new RangeError(`Cannot boot the ${role}: ${why}`);
}

const ZEROES = new Uint8Array(64 * 1024);

/** Has a program's segments in RAM. */
export function load(write: BootContext["write"], { segments }: Program): void {
  for (const { at, content, zeroes } of segments) {
    write(at, content);
    for (let done = 0; done < zeroes; done += ZEROES.length) {
      write(at + content.length + done, ZEROES.subarray(0, Math.min(ZEROES.length, zeroes - done)));
    }
  }
}
