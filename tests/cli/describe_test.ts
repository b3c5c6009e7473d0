// cli/describe.ts and cli/options.ts: what a command line means.

import { assertEquals, assertRejects } from "@std/assert";
import { CONFIG_OPTION, describe, MACHINE_OPTIONS, type Sources } from "../../cli/describe.ts";
import { JsonError } from "../../cli/json.ts";
import { parseOptions, UsageError } from "../../cli/options.ts";

const SOURCES: Sources = {
  readText: (path) => Promise.resolve(path),
  findImage: (name) => Promise.resolve({ kernel: `/images/${name}/vmlinux`, initrd: `/images/${name}/initrd` }),
};

function read(...args: string[]) {
  return describe(parseOptions(args, [...MACHINE_OPTIONS, CONFIG_OPTION], "run"), SOURCES);
}

const STDIO = { use: "serial_16550", backends: { stream: { use: "stdio_console" } } };

Deno.test("a kernel alone gives a machine with a serial console", async () => {
  assertEquals(await read("--kernel", "Image"), [{ memory: "256M", boot: { kernel: "Image" }, devices: [STDIO] }]);
});

Deno.test("every option of a machine reaches its description", async () => {
  const [machine] = await read(
    ...["--kernel", "Image", "--initrd=initrd", "--append", "console=ttyS0 quiet", "--bios", "fw.bin"],
    ...[
      "--memory",
      "1G",
      "--cpus",
      "2",
      "--engine",
      'riscv,{"compiler": false}',
      "--clock",
      "instructions",
      "--serial",
      "file:out,1.txt",
    ],
    ...["--disk", "a.raw", "--disk", "b,c.raw,ro", "--net", "hub:lan", "--net", "hub:wan"],
    ...["--device", "./thermometer.ts", "--device", 'https://a.example/x.ts?a,b,{"degrees": [1, 2]}'],
  );
  assertEquals(machine, {
    engine: { use: "riscv", config: { compiler: false } },
    memory: "1G",
    cpus: 2,
    clock: "instructions",
    boot: { kernel: "Image", bios: "fw.bin", initrd: "initrd", append: "console=ttyS0 quiet" },
    devices: [
      { use: "serial_16550", backends: { stream: { use: "file_stream", config: { path: "out,1.txt" } } } },
      { use: "virtio_blk", backends: { block: { use: "file_disk", config: { path: "a.raw" } } } },
      { use: "virtio_blk", backends: { block: { use: "file_disk", config: { path: "b,c.raw", readOnly: true } } } },
      { use: "virtio_net", backends: { net: { use: "hub_net", config: { hub: "lan" } } } },
      { use: "virtio_net", backends: { net: { use: "hub_net", config: { hub: "wan" } } } },
      { use: "./thermometer.ts" },
      { use: "https://a.example/x.ts?a,b", config: { degrees: [1, 2] } },
    ],
  });
});

Deno.test("an image brings kernel, initrd, entropy and a console, and gives way to what is written", async () => {
  const [machine] = await read("--image", "debian-13", "--initrd", "mine", "--serial", "null");
  assertEquals(machine.boot, {
    kernel: "/images/debian-13/vmlinux",
    initrd: "mine",
    append: "console=ttyS0 cryptomgr.notests",
  });
  assertEquals(machine.devices, [
    { use: "serial_16550", backends: { stream: { use: "null_stream" } } },
    { use: "virtio_rng", backends: { entropy: { use: "random_entropy" } } },
  ]);
});

Deno.test("a configuration file holds one machine or several", async () => {
  assertEquals(await read("--config", '{"name": "a"}'), [{ name: "a" }]);
  assertEquals(await read("--config", '[{"name": "a"}, {"name": "b"}]'), [{ name: "a" }, { name: "b" }]);
});

const REFUSED: readonly [args: string[], why: string][] = [
  [[], "There is nothing to boot: give --kernel, --bios, --image or --config"],
  [["--kernel", "k", "--bogus"], "There is no option --bogus: see denovisor run --help"],
  [["--kernel", "k", "-z"], "There is no option -z: see denovisor run --help"],
  [["--kernel"], "--kernel wants FILE: see denovisor run --help"],
  [["--kernel", "--initrd", "i"], "--kernel wants FILE: see denovisor run --help"],
  [["--kernel", "a", "--kernel", "b"], "--kernel was given 2 times: see denovisor run --help"],
  [["--kernel", "k", "--cpus", "two"], '--cpus wants a whole number from 1 on, got "two"'],
  [["--kernel", "k", "--cpus", "0"], '--cpus wants a whole number from 1 on, got "0"'],
  [["--kernel", "k", "--clock", "sundial"], '--clock wants host or instructions, got "sundial"'],
  [["--kernel", "k", "--serial", "usb"], '--serial wants stdio, null or file:PATH, got "usb"'],
  [["--kernel", "k", "--net", "tap"], '--net wants none or hub:NAME, got "tap"'],
  [["--kernel", "k", "--net", "none", "--net", "hub:a"], "--net none does not go together with another --net"],
  [["--config", "{}", "--memory", "1G"], "--config describes the whole machine: leave out --memory"],
  [["--config", "[]"], "Cannot run []: the list of machines is empty"],
  [["--config", "[1]"], "Cannot run [1]: machine 1 is not an object"],
];

for (const [args, why] of REFUSED) {
  Deno.test(`run ${args.join(" ")} is refused in a sentence`, async () => {
    const error = await assertRejects(async () => await read(...args), UsageError);
    assertEquals(error.message, why);
  });
}

Deno.test("a device's broken configuration is refused with its place", async () => {
  const error = await assertRejects(() => read("--kernel", "k", "--device", "./x.ts,{a}"), JsonError);
  assertEquals(error.message, 'Cannot read --device ./x.ts:1:2: wanted a name in double quotes, got "a"');
});
