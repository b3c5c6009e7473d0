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

/**
 * The engine to use for a machine whose description says {@linkcode AUTO}. Throws an `Error` where the guest is plainly
 * for one that can not be used here.
 */
export async function chooseEngine(description: CheckedDescription, choice: EngineChoice): Promise<PluginUse> {
  const { registry, engines, plugins, base } = choice;
  const refused: { engine: EngineDefinition; why: string }[] = [];
  for (const use of engines.slice(0, -1)) {
    const engine = await registry.find("engine", use, { path: "machine.engine", plugins, base });
    const why = await reason(engine, description);
    if (why !== undefined) refused.push({ engine, why });
    else if (await isForGuest(engine, description, choice)) return { use };
  }
  // The last engine would say of such a guest only that it is another's.
  for (const { engine, why } of refused) {
    if (isFetched(description, choice) || !await isForGuest(engine, description, choice)) continue;
    throw new Error(
      `Cannot run the guest: it is for ${engine.architectures.join(", ")}, and the engine ${engine.name} can not be ` +
        `used here: ${why}`,
    );
  }
  return { use: engines[engines.length - 1] };
}

/** Why an engine can not be used, if it can not. */
async function reason(engine: EngineDefinition, { clock }: CheckedDescription): Promise<string | undefined> {
  if (clock === "instructions" && !engine.counts) {
    return `it does not count instructions, as the clock "${clock}" wants`;
  }
  const found = await engine.probe();
  return found.usable ? undefined : found.why;
}

/** Whether to look at the kernel takes more than to open a file. */
function isFetched({ boot: { kernel } }: CheckedDescription, { host, base }: EngineChoice): boolean {
  if (typeof kernel !== "string") return false;
  try {
    return !host.resolve(kernel, base).startsWith("file:");
  } catch {
    return false; // it is told where the kernel is booted
  }
}

/** Whether the board, or else the kernel, is for the engine's architecture. */
async function isForGuest(
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
