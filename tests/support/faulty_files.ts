// Files of a host that is in trouble: `Deno.openSync` and its files, with the faults that a test asks for.

import type { Bytes } from "../../core/plugin.ts";

/** What goes wrong. */
export interface Faults {
  /** The most bytes that a call moves. */
  most?: number;
  /** Thrown instead of moving bytes, or of making them durable. */
  read?: () => Error | undefined;
  write?: () => Error | undefined;
  sync?: () => Error | undefined;
  /** Milliseconds that a call takes which gives a promise. */
  delay?: number;
}

/** Errors as Deno makes them of the operating system's. */
export const EIO = (): Error => new Error("Input/output error (os error 5)");
export const ENOSPC = (): Error => new Error("No space left on device (os error 28)");

/** Has all files that are opened from now on fail as `faults` says at each call, until it is disposed. */
export function faultyFiles(faults: Faults): Disposable {
  const open = Deno.openSync;
  Deno.openSync = (path, options) => faulty(open(path, options), faults);
  return { [Symbol.dispose]: () => void (Deno.openSync = open) };
}

function faulty(file: Deno.FsFile, faults: Faults): Deno.FsFile {
  const few = (bytes: Bytes): Uint8Array<ArrayBuffer> => bytes.subarray(0, faults.most) as Uint8Array<ArrayBuffer>;
  const check = (kind: "read" | "write" | "sync"): void => {
    const error = faults[kind]?.();
    if (error) throw error;
  };
  const late = async (): Promise<void> => {
    if (faults.delay) await new Promise((settle) => setTimeout(settle, faults.delay));
  };
  const own: Partial<Deno.FsFile> = {
    readSync(bytes) {
      check("read");
      return file.readSync(few(bytes));
    },
    writeSync(bytes) {
      check("write");
      return file.writeSync(few(bytes));
    },
    async read(bytes) {
      await late();
      check("read");
      return await file.read(few(bytes));
    },
    async write(bytes) {
      await late();
      check("write");
      return await file.write(few(bytes));
    },
    async syncData() {
      await late();
      check("sync");
      await file.syncData();
    },
  };
  return new Proxy(file, {
    get(target, key) {
      const value = own[key as keyof Deno.FsFile] ?? target[key as keyof Deno.FsFile];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
