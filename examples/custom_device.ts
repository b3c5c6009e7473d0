// Adds a device of one's own to a Linux machine and uses it from the guest. Run: deno run -A examples/custom_device.ts

import { createMachine } from "../mod.ts";
import { image } from "./image.ts";
import { Shell } from "./shell.ts";

const { kernel, initrd } = await image();

await using machine = await createMachine({
  boot: { kernel, initrd, append: "console=ttyS0 quiet" },
  devices: [
    { use: "serial_16550" },
    // Anything that `import()` takes names a plugin: a path, a URL, a package. It is checked before the machine is built.
    { use: "./devices/thermometer.ts", config: { celsius: 25 } },
  ],
}, { base: import.meta.url });

const ended = machine.run();
const shell = new Shell(machine.console);
await shell.ready();

// The guest finds the device where its device tree says; `reg` holds the address in its second 4 bytes.
const node = await shell.run("find /proc/device-tree/ -name 'thermometer@*'");
console.log("The guest sees a device:", await shell.run(`tr '\\0' '\\n' < ${node}/compatible`));
const address = `0x${await shell.run(`hexdump -s 4 -n 4 -e '4/1 "%02x"' ${node}/reg; echo`)}`;

const degrees = async () => Number(await shell.run(`devmem ${address} 32`)) / 1000;
console.log(`It is ${await degrees()} °C at ${address}.`);
await shell.run(`devmem $((${address} + 4)) 32 10000`);
console.log(`Trimmed by 10 degrees, it is ${await degrees()} °C.`);

shell.type("poweroff");
await ended;
