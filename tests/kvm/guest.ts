// The guest's user space in the kvm tests: Debian's busybox, as an initramfs and as a root file system.

import { join } from "@std/path";
import { cpio, type CpioEntry } from "../../cli/images/cpio.ts";
import { exists, kvmCache, output, run, unpackPackage } from "./host.ts";

/** Printed when the guest's shell reads commands. */
export const READY = "GUEST READY";

/** Mounts what there is, and serves as a shell on the serial port. */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin
echo "${READY}: $(nproc) CPUs"
exec setsid -c sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'
`;

const BUSYBOX = join(kvmCache(), "busybox");

/** Fetches busybox into the cache. */
export async function fetchBusybox(): Promise<void> {
  if (await exists(BUSYBOX)) return;
  const work = await Deno.makeTempDir();
  try {
    await unpackPackage("busybox-static", work);
    const found = (await output("find", work, "-path", "*bin/busybox"))!.split("\n")[0];
    await Deno.mkdir(kvmCache(), { recursive: true });
    await Deno.copyFile(found, `${BUSYBOX}.partial`);
    await Deno.rename(`${BUSYBOX}.partial`, BUSYBOX);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Whether it is there. */
export function hasBusybox(): Promise<boolean> {
  return exists(BUSYBOX);
}

async function files(): Promise<CpioEntry[]> {
  const init = new TextEncoder().encode(INIT);
  return [
    ...["bin", "sbin", "dev", "proc"].map((path) => ({ path })),
    { path: "bin/busybox", data: await Deno.readFile(BUSYBOX), executable: true },
    { path: "init", data: init, executable: true },
    { path: "sbin/init", data: init, executable: true },
  ];
}

/** An initramfs. */
export async function initramfs(): Promise<Uint8Array<ArrayBuffer>> {
  return cpio(await files());
}

/** An ext4 file system of 8 MiB with the same files, made by e2fsprogs; nothing without them. */
export async function rootDisk(): Promise<Uint8Array | undefined> {
  const folder = await Deno.makeTempDir();
  try {
    for (const { path, data, executable } of await files()) {
      if (data) await Deno.writeFile(join(folder, path), data, { mode: executable ? 0o755 : 0o644 });
      else await Deno.mkdir(join(folder, path));
    }
    const disk = `${folder}.raw`;
    const mke2fs = (await output("which", "mke2fs"))?.trim() || "/sbin/mke2fs";
    if (!await exists(mke2fs)) return undefined;
    await run(mke2fs, ["-q", "-t", "ext4", "-d", folder, disk, "8M"]);
    const bytes = await Deno.readFile(disk);
    await Deno.remove(disk);
    return bytes;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
