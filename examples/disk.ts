// Gives a guest a disk that is a file, and finds what the guest wrote in that file. Run: deno run -A examples/disk.ts

import { createMachine } from "../mod.ts";
import { image } from "./image.ts";
import { Shell } from "./shell.ts";

const { kernel, initrd } = await image();

// A raw disk is a file of whole sectors. A sparse one takes no room until the guest writes.
const path = await Deno.makeTempFile({ suffix: ".raw" });
await Deno.truncate(path, 16 * 1024 * 1024);

try {
  await using machine = await createMachine({
    boot: { kernel, initrd, append: "console=ttyS0 quiet" },
    devices: [
      { use: "serial_16550" },
      // The guest's driver talks to the device; the device asks its back end, which touches the host.
      { use: "virtio_blk", backends: { block: { use: "file_disk", config: { path } } } },
    ],
  });
  const ended = machine.run();
  const shell = new Shell(machine.console);
  await shell.ready();

  await shell.run("echo 'written by the guest' | dd of=/dev/vda seek=100 conv=fsync");
  console.log("The guest's hash:", await shell.run("sha256sum < /dev/vda"));
  shell.type("poweroff");
  await ended;

  const bytes = await Deno.readFile(path);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  console.log("The host's hash: ", hash);
  console.log("Sector 100 holds:", new TextDecoder().decode(bytes.subarray(100 * 512, 100 * 512 + 20)));
} finally {
  await Deno.remove(path);
}
