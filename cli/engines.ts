// `denovisor engines`: what can run guests on this host, and why the rest can not, in one line each.

import { BUILT_IN_PLUGINS, type EngineDefinition, ENGINES } from "../mod.ts";
import { noOperands, type Option, optionRows, parseOptions } from "./options.ts";
import { columns, type Help, helpPage, paint } from "./text.ts";

const OPTIONS: readonly Option[] = [{ name: "json", text: "print JSON" }];

const HELP: Help = {
  about: "Say which engines work on this host, best first, and why others do not.",
  usage: ["engines [--json]"],
  table: optionRows(OPTIONS),
  notes: [
    "run --engine auto, the default, takes the first that works and is for the kernel's architecture.",
    "The engine kvm needs --allow-ffi: that ends Deno's sandbox for the whole process. The engine riscv needs nothing.",
  ],
};

/** What an engine's probe found. */
interface Probed {
  readonly name: string;
  readonly architectures: readonly string[];
  readonly usable: boolean;
  /** Why not, or what to know. */
  readonly text?: string;
}

/** `denovisor engines …`; gives the exit code. */
export async function enginesCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(args, OPTIONS, "engines");
  if (parsed.flags.has("help")) {
    console.log(helpPage(HELP));
    return 0;
  }
  noOperands(parsed, "engines");
  const engines = await Promise.all(ENGINES.map(probed));
  console.log(parsed.flags.has("json") ? JSON.stringify(engines, null, 2) : columns(engines.map(row), paint.cyan));
  return 0;
}

async function probed(name: string): Promise<Probed> {
  const { architectures, probe } = (await BUILT_IN_PLUGINS[name]()).default as EngineDefinition;
  const found = await probe();
  return { name, architectures, usable: found.usable, text: found.usable ? found.note : found.why };
}

function row({ name, architectures, usable, text }: Probed): [string, string] {
  return [name, `${architectures.join(" ")}: ${usable ? "usable" : "not usable"}${text ? `: ${text}` : ""}`];
}
