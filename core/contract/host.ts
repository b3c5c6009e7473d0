// What core asks of its host.

import type { BootFile } from "./boot_file.ts";
import type { Bytes, Nanos } from "./values.ts";

/** What core asks of its host. */
export interface Host {
  /** Monotonic nanoseconds. */
  now(): Nanos;
  /** Microseconds since 1970 UTC. */
  wallTime(): number;
  /** Fills `into` with random bytes. */
  entropy(into: Bytes): void;
  /** Gives the event loop one turn. */
  turn(): Promise<void>;
  /** Settles after `nanos`, or as soon as `wake` settles. */
  sleep(nanos: Nanos, wake: Promise<void>): Promise<void>;
  /**
   * The absolute form of a path or URL; a relative one is against `base`, or else the working directory. Throws a
   * `TypeError` where there is neither.
   */
  resolve(location: string, base: string | undefined): string;
  /** Opens a file or URL, given in its absolute form, for reading in parts; reads it whole only where it has to. */
  openFile(location: string): Promise<BootFile>;
  /** Imports a plugin module and gives its default export. */
  load(specifier: string): Promise<unknown>;
}
