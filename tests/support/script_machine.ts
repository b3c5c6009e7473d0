// Machines whose guest is a script, on a fake host: for tests of the core from the outside.

import { createHypervisor, createMachine, type Hypervisor, type Machine, type MachineOptions } from "../../mod.ts";
import {
  defineDevice,
  type Device,
  type DeviceContext,
  type DeviceDefinition,
  type MachineDescription,
  type PluginDefinition,
  type ServiceName,
} from "../../core/plugin.ts";
import { object } from "../../core/schema.ts";
import { FakeHost } from "./fake_host.ts";
import { plainBoard, type Script, type ScriptEngine, scriptEngine } from "./script_engine.ts";

/** A machine and all around it. */
export interface ScriptMachine extends AsyncDisposable {
  readonly machine: Machine;
  readonly engine: ScriptEngine;
  readonly host: FakeHost;
  readonly hypervisor: Hypervisor;
  readonly lines: string[];
}

/** How {@linkcode scriptMachine} builds. */
export interface ScriptOptions extends Omit<MachineOptions, "plugins"> {
  readonly script?: Script;
  readonly host?: FakeHost;
  /** Plugins by name; each device among them is attached unless `description.devices` says otherwise. */
  readonly plugins?: Readonly<Record<string, PluginDefinition>>;
  readonly description?: MachineDescription;
}

/** A guest that waits for ever. */
export const waiting: Script = function* () {
  while (true) yield "wfi";
};

/** Builds a machine with 1 MiB of RAM, whose instructions take 100 ns of the host's time. */
export async function scriptMachine(options: ScriptOptions = {}): Promise<ScriptMachine> {
  const { script = waiting, host = new FakeHost(), plugins = {}, description, ...rest } = options;
  const hypervisor = rest.hypervisor ?? createHypervisor({ host });
  const engine = scriptEngine(script);
  const devices = Object.entries(plugins).filter(([, plugin]) => plugin?.kind === "device").map(([use]) => ({ use }));
  const lines: string[] = [];
  const machine = await createMachine({ engine: "script", memory: "1M", devices, ...description }, {
    log: (line) => lines.push(line),
    ...rest,
    hypervisor,
    plugins: { script: engine, plain: plainBoard, ...plugins },
  });
  engine.opened[0].tick = () => void (host.time += 100);
  const dispose = () => rest.hypervisor ? machine[Symbol.asyncDispose]() : hypervisor[Symbol.asyncDispose]();
  return { machine, engine: engine.opened[0], host, hypervisor, lines, [Symbol.asyncDispose]: dispose };
}

/** A device in a few words: `make` gets the context and gives what is not default. */
export function device<N extends ServiceName>(
  name: string,
  needs: readonly N[],
  // deno-lint-ignore no-explicit-any -- the configuration is empty
  make: (context: DeviceContext<N, any>) => Partial<Device> = () => ({}),
  head: Partial<DeviceDefinition> = {},
): PluginDefinition {
  return defineDevice({
    name,
    needs,
    config: object({}),
    stateVersion: 1,
    create(context): Device {
      const made = make(context);
      // Not a copy: the device reads its state where core replaces it.
      return Object.assign(made, { state: made.state ?? {}, regions: made.regions ?? [] });
    },
    ...head,
  } as DeviceDefinition);
}
