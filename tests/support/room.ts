// What a back end finds around it, without a machine: for tests of back ends.

import type { BackendContext, BackendDefinition, BackendServiceName, BackendServices } from "../../core/plugin.ts";
import { checkPlugin } from "../../core/registry.ts";

/** What surrounds a back end under test; `shared` objects live as long as the room. */
export class Room {
  readonly lines: string[] = [];
  readonly #shared: Map<string, unknown> = new Map();

  /** Opens a back end as core does. */
  async open<P extends BackendServiceName, C>(
    definition: BackendDefinition<P, C>,
    config: unknown,
    context: Partial<BackendContext<C>> = {},
  ): Promise<BackendServices[P]> {
    checkPlugin(definition, definition.name);
    const name = context.name ?? "device0";
    return await definition.open({
      name,
      shared: <T>(key: string, make: () => T): T => {
        if (!this.#shared.has(key)) this.#shared.set(key, make());
        return this.#shared.get(key) as T;
      },
      log: (line) => void this.lines.push(line),
      ...context,
      config: definition.config.parse(config, name),
    });
  }
}
