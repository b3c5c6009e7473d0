// What every part of the benchmark is given.

import type { GuestImage } from "../../cli/images.ts";
import type { GuestShell } from "../support/linux_guest.ts";
import type { Contestant } from "./contestants.ts";
import type { Results, Row } from "./results.ts";

/** A run of the benchmark. */
export interface Bench {
  /** Denovisor, and QEMU where it is installed: they take turns. */
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  readonly image: GuestImage;
  /** A folder for files that go at the end. */
  readonly folder: string;
  /** Whether the guests' programs can be compiled. */
  readonly compiler: boolean;
  readonly results: Results;
  /** Whether the person wants this row. */
  readonly wants: (row: Row) => boolean;
}

/** Has the kernel leave out the self-tests of its ciphers, which go on behind the prompt. */
export const NO_SELF_TESTS = "cryptomgr.notests";
/** The command line of guests that run programs. */
export const CONSOLE = `console=ttyS0 quiet ${NO_SELF_TESTS}`;

/** Seconds, by the host's clock, that a guest's command takes. */
export async function timed(shell: GuestShell, command: string): Promise<number> {
  const started = performance.now();
  await shell.get(command, 300);
  return (performance.now() - started) / 1000;
}
