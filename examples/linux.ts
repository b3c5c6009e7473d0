// Boots Linux, types a command and reads its answer. Run: deno run -A examples/linux.ts

import { createMachine } from "../mod.ts";
import { image } from "./image.ts";
import { Shell } from "./shell.ts";

const { kernel, initrd } = await image();

// A machine is described as plain data. A device is named by the plugin it uses; this serial port has no back end
// of its own, so that its other end is here: `machine.console`.
await using machine = await createMachine({
  memory: "256M",
  boot: { kernel, initrd, append: "console=ttyS0 quiet" },
  devices: [{ use: "serial_16550" }],
});

// Settles when the guest powers off. The guest runs in turns with the rest of this program.
const ended = machine.run();

const shell = new Shell(machine.console);
console.log(await shell.ready());
console.log("uname says:", await shell.run("uname -srm"));
console.log("The guest counts to", await shell.run("seq 1 10 | tail -n 1"));

shell.type("poweroff");
const { code } = await ended;
console.log(`The guest is off, with code ${code}.`);
