// Runs a bare-metal guest, assembled on the spot: no download, no permission. Run: deno run examples/hello.ts

import { assembleRiscv, createMachine } from "../mod.ts";
import { HELLO } from "./guests/hello.ts";

// The disk's first sector, in memory: a machine's description takes bytes as well as paths.
const content = new Uint8Array(4096);
content.set(new TextEncoder().encode("every device is a plugin.\n"));

const machine = await createMachine({
  memory: "4M",
  boot: { kernel: await assembleRiscv(HELLO) },
  devices: [
    { use: "serial_16550" },
    { use: "virtio_blk", backends: { block: { use: "memory_disk", config: { content } } } },
  ],
});

// What the guest sends through its serial port arrives here as a web stream.
const printed = machine.console.readable.pipeTo(Deno.stdout.writable, { preventClose: true });

const { code } = await machine.run();
await machine[Symbol.asyncDispose]();
await printed;
console.log(`The guest is off, with code ${code}.`);
