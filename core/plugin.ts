// Every contract between the core, its devices, its back ends, its boards and its engines: the file to read first.

import type { BackendServiceName, ServiceName } from "./contract/backends.ts";
import type { BoardDefinition } from "./contract/board.ts";
import type { BackendDefinition, DeviceDefinition, PluginHead } from "./contract/device.ts";
import type { EngineDefinition } from "./contract/engine.ts";
import type { Plain } from "./contract/values.ts";

export * from "./contract/values.ts";
export * from "./contract/services.ts";
export * from "./contract/backends.ts";
export * from "./contract/device.ts";
export * from "./contract/engine.ts";
export * from "./contract/board.ts";
export * from "./contract/boot_file.ts";
export * from "./contract/description.ts";
export * from "./contract/host.ts";

/** The contract's version. A plugin of another major, or of a later minor, is refused. */
export const API_VERSION = { major: 1, minor: 0 } as const;

/** Any plugin. */
export type PluginDefinition =
  // deno-lint-ignore no-explicit-any -- a list of plugins is heterogeneous in its config and state types
  | DeviceDefinition<any, any, any>
  // deno-lint-ignore no-explicit-any
  | BackendDefinition<any, any>
  // deno-lint-ignore no-explicit-any
  | EngineDefinition<any>
  // deno-lint-ignore no-explicit-any
  | BoardDefinition<any>;

/** What a maker such as {@linkcode defineDevice} takes: a definition without the head's `kind` and `api`, which it adds. */
export type DefinitionBody<D extends PluginHead<string>> = Omit<D, "kind" | "api">;

/** Makes a device plugin. Its module's default export should be the result. */
export function defineDevice<const N extends ServiceName, C, S extends Plain>(
  body: DefinitionBody<DeviceDefinition<N, C, S>>,
): DeviceDefinition<N, C, S> {
  return { kind: "device", api: API_VERSION, ...body };
}

/** Makes a back-end plugin. */
export function defineBackend<const P extends BackendServiceName, C>(
  body: DefinitionBody<BackendDefinition<P, C>>,
): BackendDefinition<P, C> {
  return { kind: "backend", api: API_VERSION, ...body };
}

/** Makes an engine plugin. */
export function defineEngine<C>(body: DefinitionBody<EngineDefinition<C>>): EngineDefinition<C> {
  return { kind: "engine", api: API_VERSION, ...body };
}

/** Makes a board plugin. */
export function defineBoard<C>(body: DefinitionBody<BoardDefinition<C>>): BoardDefinition<C> {
  return { kind: "board", api: API_VERSION, ...body };
}
