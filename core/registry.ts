// The registry: finds plugins by name or specifier and refuses what is not one, each fault in one sentence.

import { messageOf } from "./errors.ts";
import { API_VERSION, type Host, type PluginDefinition } from "./plugin.ts";
import { show } from "./schema.ts";

/** Plugins that come with the package, by name; loaded when named. */
export type Builtins = Readonly<Record<string, () => Promise<{ readonly default: unknown }>>>;

/** A plugin's kind. */
export type Kind = PluginDefinition["kind"];
/** The definition of a kind. */
export type DefinitionOf<K extends Kind> = Extract<PluginDefinition, { kind: K }>;

/** Where a use of a plugin stands. */
export interface Place {
  /** For errors, e.g. `machine.devices[0].use`. */
  readonly path: string;
  /** The caller's own plugins, by the names that the description uses. */
  readonly plugins?: Readonly<Record<string, PluginDefinition>>;
  /** The URL against which relative specifiers resolve. */
  readonly base?: string;
}

const isPath = (use: string): boolean => /^\.{0,2}\//.test(use);
const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isFunction = (value: unknown): boolean => typeof value === "function";
const isSchema = (value: unknown): boolean => isFunction((value as { parse?: unknown } | undefined)?.parse);

type Check = readonly [wanted: string, accept: (value: unknown) => boolean];
const TEXT: Check = ["text", isText];
const TEXTS: Check = ["a list of texts", isTexts];
const FUNCTION: Check = ["a function", isFunction];
const SCHEMA: Check = ["a schema", isSchema];

/** What a definition of each kind holds besides its head. */
const SHAPES: Readonly<Record<Kind, Readonly<Record<string, Check>>>> = {
  device: {
    needs: TEXTS,
    config: SCHEMA,
    stateVersion: ["a whole number from 1", (v) => Number.isSafeInteger(v) && (v as number) >= 1],
    create: FUNCTION,
  },
  backend: { provides: TEXT, permissions: TEXTS, config: SCHEMA, open: FUNCTION },
  engine: { architectures: TEXTS, defaultBoard: TEXT, config: SCHEMA, probe: FUNCTION, open: FUNCTION },
  board: { architecture: TEXT, config: SCHEMA, create: FUNCTION },
};

/** Throws a `TypeError` unless `value` is a plugin that this API can drive. `origin` says where it came from. */
export function checkPlugin(value: unknown, origin: string): asserts value is PluginDefinition {
  const found = value as Record<string, unknown> | null | undefined;
  if (typeof found !== "object" || found === null || !Object.hasOwn(SHAPES, found.kind as string)) {
    throw new TypeError(
      `Cannot use ${origin}: wanted a plugin made by defineDevice, defineBackend, defineEngine or defineBoard ` +
        `as its default export, got ${show(value)}`,
    );
  }
  if (typeof found.name !== "string" || !/^[a-z][a-z0-9_]*$/.test(found.name)) {
    throw new TypeError(`Cannot use ${origin}: wanted a snake_case name, got ${show(found.name)}`);
  }
  const api = found.api as { major?: unknown; minor?: unknown } | undefined;
  if (api?.major !== API_VERSION.major || !(Number(api?.minor) <= API_VERSION.minor)) {
    throw new TypeError(
      `Cannot use ${origin}: ${found.name} is made for plugin API ${api?.major}.${api?.minor}, ` +
        `this is ${API_VERSION.major}.${API_VERSION.minor}`,
    );
  }
  for (const [key, [wanted, accept]] of Object.entries(SHAPES[found.kind as Kind])) {
    if (!accept(found[key])) {
      throw new TypeError(`Cannot use ${origin}: wanted ${wanted} as ${found.name}.${key}, got ${show(found[key])}`);
    }
  }
}

/** Loads plugins, each once. */
export class Registry {
  readonly #host: Pick<Host, "load" | "resolve">;
  readonly #builtins: Builtins;
  readonly #loaded = new Map<string, Promise<unknown>>();

  constructor(host: Pick<Host, "load" | "resolve">, builtins: Builtins) {
    this.#host = host;
    this.#builtins = builtins;
  }

  /** The plugin that `use` names: one of the caller's, a built-in one, or a module to import. */
  async find<K extends Kind>(kind: K, use: string, place: Place): Promise<DefinitionOf<K>> {
    const [origin, value] = await this.#value(use, place);
    checkPlugin(value, origin);
    if (value.kind !== kind) {
      const article = kind === "engine" ? "an" : "a";
      throw new TypeError(
        `Cannot configure ${place.path}: wanted ${article} ${kind} plugin, got ${value.kind} ${value.name}`,
      );
    }
    return value as DefinitionOf<K>;
  }

  async #value(use: string, { path, plugins, base }: Place): Promise<[origin: string, value: unknown]> {
    if (plugins && Object.hasOwn(plugins, use)) return [`plugins.${use}`, plugins[use]];
    if (Object.hasOwn(this.#builtins, use)) {
      return [use, await this.#once(use, async () => (await this.#builtins[use]()).default)];
    }
    if (/^\w*$/.test(use)) {
      const known = [...Object.keys(plugins ?? {}), ...Object.keys(this.#builtins)].join(", ");
      throw new TypeError(`Cannot configure ${path}: no plugin is named ${show(use)} (known: ${known})`);
    }
    try {
      const specifier = isPath(use) ? this.#host.resolve(use, base) : use;
      return [use, await this.#once(specifier, () => this.#host.load(specifier))];
    } catch (cause) {
      const hint = /^[^:]+\.[cm]?[jt]sx?$/.test(use) && !isPath(use) ? `; write "./${use}" for a file` : "";
      throw new TypeError(`Cannot configure ${path}: ${use} can not be loaded: ${messageOf(cause)}${hint}`, { cause });
    }
  }

  /** A module that failed to load may be tried again. */
  #once(key: string, load: () => Promise<unknown>): Promise<unknown> {
    let loading = this.#loaded.get(key);
    if (!loading) {
      this.#loaded.set(key, loading = load());
      loading.catch(() => this.#loaded.delete(key));
    }
    return loading;
  }
}
