// The command line: `denovisor run|images|devices|engines|fuzz|dtb|version|help`.

import config from "../deno.json" with { type: "json" };
import { report } from "./errors.ts";
import { UsageError } from "./options.ts";
import { type Help, helpPage } from "./text.ts";

interface Command {
  readonly about: string;
  load(): Promise<(args: readonly string[]) => Promise<number>>;
}

/** Each command's module is loaded only when the command is given. */
const COMMANDS: Readonly<Record<string, Command>> = {
  run: { about: "boot a guest and connect its console", load: async () => (await import("./run.ts")).runCommand },
  images: {
    about: "pull, list and remove guest images",
    load: async () => (await import("./images.ts")).imagesCommand,
  },
  devices: {
    about: "list the built-in plugins and their options",
    load: async () => (await import("./devices.ts")).devicesCommand,
  },
  engines: {
    about: "say which engines work on this host, and why others do not",
    load: async () => (await import("./engines.ts")).enginesCommand,
  },
  fuzz: {
    about: "look for what a hostile guest could do to a device, or what a back end fails at",
    load: async () => (await import("./fuzz.ts")).fuzzCommand,
  },
  dtb: { about: "print the device tree of a machine", load: async () => (await import("./dtb.ts")).dtbCommand },
};

const HELP: Help = {
  about: "A hypervisor for Linux that runs inside Deno; every device is a plugin.",
  usage: ["COMMAND [options]", "COMMAND --help"],
  table: [
    ...Object.entries(COMMANDS).map(([name, { about }]) => [name, about] as const),
    ["version", "print the version"],
    ["help [COMMAND]", "this page, or a command's"],
  ],
};

/** Runs a command line (without the program's name); gives the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args);
  } catch (error) {
    return report(error);
  }
}

async function dispatch([name, ...args]: readonly string[]): Promise<number> {
  switch (name) {
    case "help":
      return args.length ? await dispatch([args[0], "--help"]) : help(0);
    case "--help":
    case "-h":
      return help(0);
    case undefined:
      return help(1);
    case "version":
    case "--version":
      console.log(`denovisor ${config.version} (deno ${Deno.version.deno})`);
      return 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    throw new UsageError(`There is no command ${name}: wanted ${Object.keys(COMMANDS).join(", ")}, version or help`);
  }
  const command = await COMMANDS[name].load();
  return await command(args);
}

function help(code: number): number {
  console.log(helpPage(HELP));
  return code;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
