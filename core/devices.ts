// The devices of a machine as core drives them: events in, state out, and back to where they were.

import type { Alarms, SavedAlarms } from "./clock.ts";
import type { Inbox, SavedCompletion } from "./inbox.ts";
import type { Interrupts } from "./irq.ts";
import { checkPlain, clonePlain } from "./plain.ts";
import type { Device, DeviceDefinition, Plain } from "./plugin.ts";
import type { SeededEntropy } from "./random.ts";

/** A device in its machine. */
export interface AttachedDevice {
  readonly name: string;
  readonly definition: Pick<DeviceDefinition, "name" | "stateVersion" | "migrate">;
  readonly device: Device;
  /** Tells the guards of its back ends that it forgot its calls. */
  readonly abandon?: () => void;
  /** Its seeded entropy, under the instruction clock. */
  readonly entropy?: SeededEntropy;
}

/** The state of all devices, plain. */
export type SavedDevices = {
  devices: { [name: string]: { plugin: string; version: number; state: Plain; entropy?: number } };
  alarms: SavedAlarms;
  completions: SavedCompletion[];
};

/** What the devices' state lies in besides their own. */
export interface DevicesOptions {
  readonly alarms: Alarms;
  readonly inbox: Inbox;
  readonly interrupts: Interrupts;
  /** Told when a device throws where no caller of the host's waits for it. */
  readonly failed: (device: string, action: string, error: unknown) => void;
}

/** All devices of a machine, in the order they were created. */
export class Devices {
  readonly #options: DevicesOptions;
  readonly #devices = new Map<string, AttachedDevice & { readonly initial: Plain }>();

  constructor(options: DevicesOptions) {
    this.#options = options;
  }

  /** Takes a device in; what it is now is what a reset gives back. Throws a `TypeError` if its state is not plain. */
  add(attached: AttachedDevice): void {
    checkPlain(attached.device.state, `${attached.name}.state`);
    this.#devices.set(attached.name, { ...attached, initial: clonePlain(attached.device.state) });
  }

  /** Hands an event to its device. */
  deliver(name: string, event: string, token: number, payload: Plain): void {
    try {
      const handler = this.#devices.get(name)?.device.events?.[event];
      if (!handler) throw new TypeError("it has no such event");
      handler(token, payload);
    } catch (error) {
      this.#options.failed(name, `handling ${event}`, error);
    }
  }

  /** Everything that makes the devices what they are. The copy is the caller's. */
  save(): SavedDevices {
    const { alarms, inbox } = this.#options;
    const devices = [...this.#devices.values()].map(({ name, definition, device, entropy }) => {
      checkPlain(device.state, `${name}.state`);
      const saved = { plugin: definition.name, version: definition.stateVersion, state: clonePlain(device.state) };
      return [name, entropy ? { ...saved, entropy: entropy.state } : saved] as const;
    });
    return { devices: Object.fromEntries(devices), alarms: alarms.save(), completions: inbox.save() };
  }

  /**
   * Makes the devices what they were. Nothing may be on loan. Throws a `TypeError`, with nothing changed, for a state
   * of other devices or of a version that can not be migrated.
   */
  restore(saved: SavedDevices): void {
    const states = [...this.#devices.values()].map((attached) => [attached, savedState(attached, saved)] as const);
    for (const name of Object.keys(saved.devices)) {
      if (!this.#devices.has(name)) throw new TypeError(`Cannot restore ${name}: this machine has no such device`);
    }
    this.reset();
    for (const [{ name, device, entropy }, state] of states) {
      device.state = state;
      if (entropy) entropy.state = saved.devices[name].entropy ?? entropy.state;
    }
    this.#options.alarms.load(saved.alarms);
    this.#options.inbox.restore(saved.completions, () => this.refresh());
  }

  /** Makes the devices what they were at the start. Nothing may be on loan. Call {@linkcode refresh} after it. */
  reset(): void {
    const { alarms, inbox, interrupts } = this.#options;
    inbox.clear();
    alarms.cancelAll();
    interrupts.clear();
    for (const { device, initial, abandon } of this.#devices.values()) {
      abandon?.();
      device.state = clonePlain(initial);
    }
  }

  /** Lets the devices derive from their state what is not state. */
  refresh(): void {
    for (const { device } of this.#devices.values()) device.refresh?.();
    this.#options.interrupts.refresh();
  }

  async pause(): Promise<void> {
    await Promise.all([...this.#devices.values()].map(async ({ name, device }) => {
      try {
        await device.pause?.();
      } catch (error) {
        this.#options.failed(name, "pausing", error);
      }
    }));
  }

  resume(): void {
    for (const { name, device } of this.#devices.values()) {
      try {
        device.resume?.();
      } catch (error) {
        this.#options.failed(name, "resuming", error);
      }
    }
  }
}

/** A device's saved state, of today's version and checked. */
function savedState({ name, definition }: AttachedDevice, { devices }: SavedDevices): Plain {
  const saved = Object.hasOwn(devices, name) ? devices[name] : undefined;
  if (saved?.plugin !== definition.name) {
    throw new TypeError(
      `Cannot restore ${name}: wanted the state of ${definition.name}, got ${saved?.plugin ?? "none"}`,
    );
  }
  checkPlain(saved.state, `${name}.state`);
  if (saved.version === definition.stateVersion) return clonePlain(saved.state);
  if (saved.version < definition.stateVersion && definition.migrate) {
    return definition.migrate(clonePlain(saved.state), saved.version);
  }
  throw new TypeError(
    `Cannot restore ${name}: wanted version ${definition.stateVersion} of the state of ${definition.name}, ` +
      `got ${saved.version}`,
  );
}
