// Measurements one at a time: two that run side by side would measure each other.

import { join } from "@std/path";

/** Waits until no other measurement runs on this host; the claim ends with this process. */
export async function lockHost(): Promise<Disposable> {
  const folder = Deno.env.get("TMPDIR") ?? "/tmp";
  const file = await Deno.open(join(folder, "denovisor_bench.lock"), { read: true, write: true, create: true });
  if (!await file.tryLock(true)) {
    console.error("Another measurement runs: waiting for its end");
    await file.lock(true);
  }
  return file;
}
