// The public API: what comes with the package.

import { assertEquals, assertRejects } from "@std/assert";
import { createHypervisor, createMachine, type Hypervisor } from "../mod.ts";
import * as api from "../mod.ts";

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
    found.push((await hypervisor.find("device", name)).name);
  }
  for (const name of BACKENDS) found.push((await hypervisor.find("backend", name)).name);
  found.push((await hypervisor.find("engine", "riscv")).name);
  found.push((await hypervisor.find("board", "riscv_virt")).name);
  assertEquals(found, [...DEVICES, ...VIRTIO, ...BACKENDS, "riscv", "riscv_virt"]);
});

Deno.test("the package exports these names, and none of its own inside", () => {
  const makers = ["defineBackend", "defineBoard", "defineDevice", "defineEngine"];
  const schemas = ["boolean", "byteSize", "bytes", "integer", "list", "object", "oneOf", "optional", "string"];
  const trees = ["decodeTree", "encodeTree", "formatTree", "node"];
  const files = ["bytesFile", "filePart"];
  const machines = ["assembleRiscv", "createHypervisor", "createMachine", "keepFiles"];
  const others = ["API_VERSION", "BUILT_IN_PLUGINS", "CORE_SERVICES", "DmaFault", "ENGINES"];
  assertEquals(Object.keys(api).sort(), [...makers, ...schemas, ...trees, ...files, ...machines, ...others].sort());
});

Deno.test("a machine wants a hypervisor that createHypervisor made", async () => {
  await using hypervisor = createHypervisor();
  const copy: Hypervisor = {
    host: hypervisor.host,
    find: (kind, use) => hypervisor.find(kind, use),
    shared: (_key, make) => make(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  await assertRejects(
    () => createMachine({}, { hypervisor: copy }),
    TypeError,
    "Cannot create a machine: wanted a hypervisor made by createHypervisor",
  );
});

Deno.test("a hypervisor finds what a description would, and says what it does not find", async () => {
  await using hypervisor = createHypervisor();
  const { name } = await hypervisor.find("device", "../examples/devices/thermometer.ts", { base: import.meta.url });
  assertEquals(name, "thermometer");
  await assertRejects(() => hypervisor.find("board", "riscv"), TypeError, "Cannot configure the board: wanted a board");
});
