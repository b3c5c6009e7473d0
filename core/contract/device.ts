// A device as core drives it, and the definitions of device and back-end plugins.

import type { Schema } from "../schema.ts";
import type { BackendServiceName, BackendServices, ServiceName, Services } from "./backends.ts";
import type { Region } from "./services.ts";
import type { Plain } from "./values.ts";

/** A value of a device-tree property; `"self"` stands for the phandle of the device's own node. */
export type TreeValue = number | bigint | boolean | string | readonly (number | string)[] | { phandle: "self" };

/** What a device says of itself in the device tree; the board adds `reg` and `interrupts`. */
export interface DeviceTreePart {
  /** The generic node name; default: the plugin's name. */
  readonly node?: string;
  /** What drivers look for, most specific first. */
  readonly compatible: string | readonly string[];
  /** Further properties of the node. */
  readonly properties?: Readonly<Record<string, TreeValue>>;
  /** CPU interrupt lines that the device drives on each CPU, in the order of `interrupts-extended`. */
  readonly cpuLines?: readonly number[];
  /** Nodes beside the device's own that refer to it, e.g. `syscon-poweroff`. */
  readonly companions?: Readonly<Record<string, Readonly<Record<string, TreeValue>>>>;
}

/** What devices' interrupt lines are wired to: a device, or a part of the engine. */
export interface InterruptController {
  /** How many inputs it has, numbered from 0. */
  readonly inputs: number;
  /** Tells an input's level: whether any line that is wired to it is asserted. */
  set(input: number, level: boolean): void;
}

/** A device as core drives it. Core owns `state`: it may replace the object between any two calls. */
export interface Device<S extends Plain = Plain> {
  /** All of the device's state, requests in flight included. */
  state: S;
  /** Its register windows. */
  readonly regions: readonly Region[];
  /** What it says of itself in the device tree. */
  readonly deviceTree?: DeviceTreePart;
  /** What the inbox delivers, by event name. */
  readonly events?: Readonly<Record<string, (token: number, outcome: Plain) => void>>;
  /** For an interrupt controller: the inputs that devices' lines are wired to. */
  readonly controller?: InterruptController;
  /** After build, reset and restore: derive interrupt lines and alarms from `state`, issue requests in flight again. */
  refresh?(): void;
  /** Stop starting new host work; core then waits until nothing is borrowed. */
  pause?(): void | Promise<void>;
  /** Start host work again. */
  resume?(): void;
  /** The machine ends. */
  dispose?(): void | Promise<void>;
}

/** What `create` gets: the services the plugin listed in `needs`, and nothing else. */
export type DeviceContext<N extends ServiceName, C> = Pick<Services, N> & {
  readonly config: C;
  /** The device's name in this machine, e.g. `"disk0"`. */
  readonly name: string;
  /** The machine's name: what tells two like devices of two machines apart. */
  readonly machine: string;
};

/** What every kind of plugin definition shares. */
export interface PluginHead<K extends string> {
  /** What it is. */
  readonly kind: K;
  /** The contract it was made for: {@linkcode API_VERSION} then. */
  readonly api: { readonly major: number; readonly minor: number };
  /** snake_case, the plugin's own name. */
  readonly name: string;
}

/** A device plugin: the default export of its module, made by {@linkcode defineDevice}. */
export interface DeviceDefinition<N extends ServiceName = ServiceName, C = unknown, S extends Plain = Plain>
  extends PluginHead<"device"> {
  /** The services its context holds. */
  readonly needs: readonly N[];
  /** Checks its configuration. */
  readonly config: Schema<C>;
  /** Counts up when the meaning of `state` changes. */
  readonly stateVersion: number;
  /** Turns state saved by an older version into today's, or throws. */
  migrate?(state: Plain, fromVersion: number): S;
  /** Makes the device; nothing of the host is touched by that. */
  create(context: DeviceContext<N, C>): Device<S>;
}

/** What a back end finds besides its configuration. */
export interface BackendContext<C> {
  /** Its checked configuration. */
  readonly config: C;
  /** The name of the device it serves. */
  readonly name: string;
  /** Objects that the machines of one hypervisor share, such as a hub; made at the first ask for the key. */
  shared<T>(key: string, make: () => T): T;
  /** The URL against which relative paths in the configuration resolve, if the caller gave one. */
  readonly base?: string;
  /** Tells the person at the host what no guest can tell, e.g. a full file system; core adds the name. */
  log?(line: string): void;
  /** The person at the host asks for the machine's end, e.g. by a key of the console: like `powerOff()`. */
  quit?(): void;
}

/** A back-end plugin: a host's side of a service. */
export interface BackendDefinition<P extends BackendServiceName = BackendServiceName, C = unknown>
  extends PluginHead<"backend"> {
  /** The service it provides. */
  readonly provides: P;
  /** Deno permissions it asks for, for documentation, e.g. `["read", "write"]`. */
  readonly permissions: readonly string[];
  /** Checks its configuration. */
  readonly config: Schema<C>;
  /** Opens the host's side; throws with one clear sentence. */
  open(context: BackendContext<C>): BackendServices[P] | Promise<BackendServices[P]>;
}
