// Makes the data disk of a guest image: a sparse raw file with an empty file system.

import { ext4 } from "./ext4.ts";

const SIZE = 64 * 1024 * 1024;
const LABEL = "data";

/** Makes the disk at `path`, which must not exist. */
export async function makeDataDisk(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  await file.truncate(SIZE);
  for (const [offset, bytes] of ext4(SIZE, LABEL, crypto.getRandomValues(new Uint8Array(16)))) {
    await file.seek(offset, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  }
}
