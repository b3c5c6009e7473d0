// What machines share: objects such as hubs, the cache of plugins, and turns on the one thread.

import type { Host, Keep } from "./plugin.ts";
import { type Builtins, type DefinitionOf, type Kind, type Place, Registry } from "./registry.ts";
import { Turns } from "./turns.ts";

/** The machines of one owner, and what they share. There is no state outside of it. */
export class Hypervisor implements AsyncDisposable {
  readonly host: Host;
  readonly registry: Registry;
  readonly turns: Turns;
  readonly #shared = new Map<string, unknown>();
  readonly #machines = new Set<AsyncDisposable>();
  #disposed = false;

  /**
   * `engines` names the engines to choose from where a description names none, best first; `keep` gives the place where
   * they keep something, by a key.
   */
  constructor(
    host: Host,
    builtins: Builtins,
    readonly engines: readonly string[],
    readonly keep?: (key: string) => Keep,
  ) {
    this.host = host;
    this.registry = new Registry(host, builtins);
    this.turns = new Turns(host);
  }

  /** As {@linkcode Registry.find}; an error's place is `the device` or the like unless one is given. */
  find<K extends Kind>(kind: K, use: string, place: Partial<Place> = {}): Promise<DefinitionOf<K>> {
    return this.registry.find(kind, use, { path: `the ${kind}`, ...place });
  }

  /** The object of that key, made at the first ask. */
  shared<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make());
    return this.#shared.get(key) as T;
  }

  /** Takes a machine in. Throws if the hypervisor is disposed. */
  adopt(machine: AsyncDisposable): void {
    if (this.#disposed) throw new Error("Cannot create a machine: its hypervisor is disposed");
    this.#machines.add(machine);
  }

  /** Lets go of a machine that is being disposed. */
  release(machine: AsyncDisposable): void {
    this.#machines.delete(machine);
  }

  /** Disposes all machines, then what they shared. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all([...this.#machines].map((machine) => machine[Symbol.asyncDispose]()));
    for (const value of this.#shared.values()) {
      const object = value as Partial<Disposable & AsyncDisposable> | undefined;
      await (object?.[Symbol.asyncDispose] ?? object?.[Symbol.dispose])?.call(object);
    }
    this.#shared.clear();
  }
}
