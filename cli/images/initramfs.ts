// Builds a guest image's initramfs: busybox, kernel modules and an init (Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst).

import { cpio, type CpioEntry } from "./cpio.ts";
import { stripModule } from "./elf_strip.ts";
import {
  GUEST_DHCP_SCRIPT,
  GUEST_INIT,
  GUEST_MODULES,
  GUEST_POWEROFF,
  GUEST_SHELL_START,
  moduleList,
} from "./guest_init.ts";

const FOLDERS = [
  "bin",
  "sbin",
  "usr",
  "usr/bin",
  "usr/sbin",
  "etc",
  "lib",
  "lib/modules",
  "dev",
  "proc",
  "sys",
  "tmp",
  "run",
  "mnt",
  "root",
];

/**
 * The archive, not compressed: unpacking it is copying, which an emulated processor does far faster than inflating.
 * `modules` holds each of `GUEST_MODULES` by its path, as an ELF file.
 */
export function initramfs(busybox: Uint8Array, modules: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const text = (path: string, content: string): CpioEntry => ({ path, data: new TextEncoder().encode(content) });
  const script = (path: string, content: string): CpioEntry => ({ ...text(path, content), executable: true });
  return cpio([
    ...FOLDERS.map((path) => ({ path })),
    script("init", GUEST_INIT),
    script("sbin/poweroff", GUEST_POWEROFF),
    { path: "sbin/reboot", target: "poweroff" },
    { path: "sbin/halt", target: "poweroff" },
    script("etc/udhcpc.sh", GUEST_DHCP_SCRIPT),
    text("etc/shrc", GUEST_SHELL_START),
    text("etc/modules", moduleList()),
    { path: "bin/busybox", data: busybox, executable: true },
    { path: "bin/sh", target: "busybox" },
    ...GUEST_MODULES.map(({ path }) => ({
      path: `lib/modules/${path.slice(path.lastIndexOf("/") + 1)}.ko`,
      data: stripModule(modules.get(path)!),
    })),
  ]);
}
