// Two guests on one network: one serves a page, the other pings it and fetches it. Run: deno run -A examples/two_machines.ts

import { createHypervisor, createMachine, type Machine } from "../mod.ts";
import { image } from "./image.ts";
import { Shell } from "./shell.ts";

const { kernel, initrd } = await image();

// What machines share belongs to a hypervisor: here the hub "lan", which is made when the first card is plugged in.
await using hypervisor = createHypervisor();

function machineAt(address: string): Promise<Machine> {
  return createMachine({
    name: `machine-${address}`,
    memory: "128M",
    boot: { kernel, initrd, append: `console=ttyS0 quiet denovisor.ip=${address}/24` },
    devices: [
      { use: "serial_16550" },
      { use: "virtio_net", backends: { net: { use: "hub_net", config: { hub: "lan" } } } },
    ],
  }, { hypervisor });
}

await using server = await machineAt("10.0.0.1");
await using client = await machineAt("10.0.0.2");

// Both run at the same time, in turns on this thread.
const ended = Promise.all([server.run(), client.run()]);
const [one, two] = [new Shell(server.console), new Shell(client.console)];
await Promise.all([one.ready(), two.ready()]);

await one.run("mkdir /www; echo 'Hello from the other machine' > /www/index.html; httpd -h /www");
console.log(await two.run("ping -c 3 10.0.0.1"));
console.log(await two.run("wget -q -O - http://10.0.0.1/"));

one.type("poweroff");
two.type("poweroff");
await ended;
