// `denovisor devices`: the built-in plugins, what they need and provide, and their configuration.

import { BUILT_IN_PLUGINS, type PluginDefinition, type Schema } from "../mod.ts";
import { noOperands, type Option, optionRows, parseOptions } from "./options.ts";
import { columns, type Help, helpPage, paint } from "./text.ts";

const OPTIONS: readonly Option[] = [{ name: "json", text: "print JSON" }];

const HELP: Help = {
  about: "List the built-in plugins: devices, back ends, engines and boards.",
  usage: ["devices [--json]"],
  table: optionRows(OPTIONS),
  notes: ["Any module that Deno imports can be a plugin too: run --device ./my_device.ts"],
};

const HEADINGS = {
  device: "Devices",
  backend: "Back ends",
  engine: "Engines",
  board: "Boards",
} as const satisfies Record<PluginDefinition["kind"], string>;

/** A plugin as it is listed. */
interface Listed {
  readonly name: string;
  readonly kind: PluginDefinition["kind"];
  /** What it asks of the machine or gives to it. */
  readonly facts: Readonly<Record<string, string | readonly string[]>>;
  readonly config: Readonly<Record<string, { wanted: string; default?: unknown; required: boolean }>>;
}

/** `denovisor devices …`; gives the exit code. */
export async function devicesCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(args, OPTIONS, "devices");
  if (parsed.flags.has("help")) {
    console.log(helpPage(HELP));
    return 0;
  }
  noOperands(parsed, "devices");
  const plugins = await Promise.all(
    Object.entries(BUILT_IN_PLUGINS).map(async ([name, load]) =>
      listed(name, (await load()).default as PluginDefinition)
    ),
  );
  console.log(
    parsed.flags.has("json")
      ? JSON.stringify(plugins.map(({ facts, ...rest }) => ({ ...rest, ...facts })), null, 2)
      : table(plugins),
  );
  return 0;
}

function listed(name: string, plugin: PluginDefinition): Listed {
  return { name, kind: plugin.kind, facts: factsOf(plugin), config: configOf(plugin.config) };
}

function factsOf(plugin: PluginDefinition): Listed["facts"] {
  switch (plugin.kind) {
    case "device":
      return { needs: plugin.needs };
    case "backend":
      return { provides: plugin.provides, permissions: plugin.permissions };
    case "engine":
      return { architectures: plugin.architectures };
    case "board":
      return { architecture: plugin.architecture };
  }
}

function configOf({ fields = {} }: Schema<unknown>): Listed["config"] {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { wanted, optional }]) => [name, {
      wanted,
      required: !optional,
      ...(optional?.fallback === undefined ? {} : { default: optional.fallback }),
    }]),
  );
}

function table(plugins: readonly Listed[]): string {
  return Object.entries(HEADINGS).map(([kind, heading]) => {
    const rows = plugins.filter((plugin) => plugin.kind === kind).flatMap(({ name, facts, config }) => [
      [
        `  ${name}`,
        Object.entries(facts).map(([fact, value]) => `${fact} ${[value].flat().join(" ") || "-"}`).join("; "),
      ],
      ...Object.entries(config).map(([option, what]) => ["", `  ${option}: ${meaning(what)}`]),
    ]);
    return `${paint.bold(heading)}\n${columns(rows, paint.cyan)}`;
  }).join("\n\n");
}

function meaning(option: Listed["config"][string]): string {
  if (option.required) return `${option.wanted}; must be given`;
  return option.default === undefined ? option.wanted : `${option.wanted}; default ${JSON.stringify(option.default)}`;
}
