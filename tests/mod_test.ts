// The public API: what comes with the package.

import { assertEquals } from "@std/assert";
import { createHypervisor } from "../mod.ts";

const DEVICES = ["clint", "goldfish_rtc", "plic", "serial_16550", "syscon"];
const VIRTIO = ["virtio_blk", "virtio_console", "virtio_net", "virtio_rng"];
const BACKENDS = [
  "file_disk",
  "file_stream",
  "hub_net",
  "memory_disk",
  "null_stream",
  "random_entropy",
  "stdio_console",
];

Deno.test("every built-in plugin loads, is of its kind and of its name", async () => {
  await using hypervisor = createHypervisor();
  const found: string[] = [];
  for (const name of [...DEVICES, ...VIRTIO]) {
    found.push((await hypervisor.registry.find("device", name, { path: "test" })).name);
  }
  for (const name of BACKENDS) found.push((await hypervisor.registry.find("backend", name, { path: "test" })).name);
  found.push((await hypervisor.registry.find("engine", "riscv", { path: "test" })).name);
  found.push((await hypervisor.registry.find("board", "riscv_virt", { path: "test" })).name);
  assertEquals(found, [...DEVICES, ...VIRTIO, ...BACKENDS, "riscv", "riscv_virt"]);
});
