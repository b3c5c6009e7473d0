// A host whose time, files and modules are the test's: nothing in it waits for a real clock.

import { type BootFile, type Bytes, bytesFile, type Host, type Nanos } from "../../core/plugin.ts";

/** A host with a clock that moves when someone sleeps or a test says so. */
export class FakeHost implements Host {
  time: Nanos = 0;
  readonly files = new Map<string, Bytes | BootFile>();
  readonly modules = new Map<string, unknown>();
  /** What was loaded, in order. */
  readonly loaded: string[] = [];
  /** What was slept, in order. */
  readonly sleeps: Nanos[] = [];
  turns = 0;

  now(): Nanos {
    return this.time;
  }

  wallTime(): number {
    return 1_000_000 + this.time / 1000;
  }

  entropy(into: Bytes): void {
    into.fill(0x5a);
  }

  turn(): Promise<void> {
    this.turns++;
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  async sleep(nanos: Nanos, wake: Promise<void>): Promise<void> {
    this.sleeps.push(nanos);
    const woken = wake.then(() => true);
    if (nanos === Infinity) return await wake;
    if (await Promise.race([woken, this.turn()])) return;
    this.time += nanos;
  }

  resolve(location: string, base: string | undefined): string {
    if (base === undefined && location.startsWith(".")) throw new TypeError(`${location} is relative, without a base`);
    return new URL(location, base ?? "file:///").href;
  }

  openFile(location: string): Promise<BootFile> {
    const file = this.files.get(location);
    if (!file) return Promise.reject(new Error(`${location} does not exist`));
    return Promise.resolve(file instanceof Uint8Array ? bytesFile(file) : file);
  }

  load(specifier: string): Promise<unknown> {
    this.loaded.push(specifier);
    if (!this.modules.has(specifier)) return Promise.reject(new Error(`Module not found "${specifier}"`));
    return Promise.resolve(this.modules.get(specifier));
  }
}
