// `denovisor dtb`: the device tree that a machine's guest would find, as source text or as a blob.

import { createMachine, decodeTree, formatTree, type MachineDescription } from "../mod.ts";
import { CONFIG_OPTION, describe, MACHINE_OPTIONS } from "./describe.ts";
import { noOperands, type Option, optionRows, parseOptions, UsageError } from "./options.ts";
import { HOST_SOURCES } from "./run.ts";
import { type Help, helpPage } from "./text.ts";

const OPTIONS: readonly Option[] = [
  ...MACHINE_OPTIONS,
  CONFIG_OPTION,
  { name: "output", value: "FILE", text: "write the blob here instead of printing the source text" },
];

const HELP: Help = {
  about: "Print the device tree of a machine without running it.",
  usage: ["dtb --kernel FILE [options of run]", "dtb --image NAME [options of run]", "dtb --config FILE.json"],
  table: optionRows(OPTIONS),
};

/** `denovisor dtb …`; gives the exit code. */
export async function dtbCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(args, OPTIONS, "dtb");
  if (parsed.flags.has("help")) {
    console.log(helpPage(HELP));
    return 0;
  }
  noOperands(parsed, "dtb");
  const machines = await describe(parsed, HOST_SOURCES);
  if (machines.length > 1) throw new UsageError(`--config describes ${machines.length} machines: dtb takes one`);
  await using machine = await createMachine(unplugged(machines[0]));
  const blob = machine.deviceTree();
  if (!blob.length) throw new UsageError("This machine has no device tree: its board tells guests in another way");
  const output = parsed.one("output");
  if (output === undefined) console.log(formatTree(decodeTree(blob)).trimEnd());
  else await Deno.writeFile(output, blob);
  return 0;
}

/** The machine with its streams leading nowhere: nothing is to be said, and the terminal stays as it is. */
function unplugged(machine: MachineDescription): MachineDescription {
  const devices = machine.devices?.map((device) =>
    device.backends?.stream ? { ...device, backends: { ...device.backends, stream: { use: "null_stream" } } } : device
  );
  return { ...machine, devices };
}
