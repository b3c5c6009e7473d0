// The choice of an engine where a description leaves it open: the first that works here and is for what is to boot.

import { openBootFile } from "./boot.ts";
import type { CheckedDescription } from "./description.ts";
import type { EngineDefinition, Host, PluginDefinition, PluginUse } from "./plugin.ts";
import type { Registry } from "./registry.ts";

/** The engine's name that stands for a choice. */
export const AUTO = "auto";

/** What the choice is made from. */
export interface EngineChoice {
  readonly registry: Registry;
  readonly host: Pick<Host, "resolve" | "openFile">;
  /** Names of engines, best first. The last one is taken where no other is fit. */
  readonly engines: readonly string[];
  readonly plugins?: Readonly<Record<string, PluginDefinition>>;
  readonly base?: string;
}

/** The engine to use for a machine whose description says {@linkcode AUTO}. */
export async function chooseEngine(description: CheckedDescription, choice: EngineChoice): Promise<PluginUse> {
  const { engines } = choice;
  for (const use of engines.slice(0, -1)) {
    if (await isFit(use, description, choice)) return { use };
  }
  return { use: engines[engines.length - 1] };
}

async function isFit(use: string, description: CheckedDescription, choice: EngineChoice): Promise<boolean> {
  const { registry, plugins, base } = choice;
  const place = { path: "machine.engine", plugins, base };
  const engine = await registry.find("engine", use, place);
  // Under the instruction clock an engine has to count.
  if (description.clock === "instructions" && !engine.counts) return false;
  // A kernel is looked at only where that decides something.
  return (await engine.probe()).usable && await forGuest(engine, description, choice);
}

/** Whether the board, or else the kernel, is for the engine's architecture. */
async function forGuest(
  engine: EngineDefinition,
  { board: named, boot: files }: CheckedDescription,
  { registry, host, plugins, base }: EngineChoice,
): Promise<boolean> {
  const find = (use: string) => registry.find("board", use, { path: "machine.board", plugins, base });
  if (named) return engine.architectures.includes((await find(named.use)).architecture);
  const board = await find(engine.defaultBoard);
  if (!board.takes) return false;
  // One that can not be read is told where it is booted.
  const kernel = await openBootFile("kernel", { host, base, files }).catch(() => undefined);
  return kernel !== undefined && board.takes(kernel);
}
