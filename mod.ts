// The public API of denovisor: describe a machine as plain data, create it, run it.

import type { Bytes, Host, MachineDescription, PluginDefinition } from "./core/plugin.ts";

export * from "./core/plugin.ts";
export { decodeTree, formatTree, type TreeNode } from "./core/device_tree.ts";
export * as schema from "./core/schema.ts";
export {
  boolean,
  bytes,
  byteSize,
  integer,
  list,
  object,
  oneOf,
  optional,
  type Schema,
  string,
} from "./core/schema.ts";

/** A byte stream of a machine, seen from the host. */
export interface HostStream {
  /** What the guest sends. It ends when the machine is disposed. */
  readonly readable: ReadableStream<Bytes>;
  /** What the guest receives, as fast as its driver takes it. */
  readonly writable: WritableStream<Bytes>;
}

/** What a machine is doing. It is created `"paused"`. */
export type MachineStatus = "paused" | "running" | "off" | "failed" | "disposed";

/** A machine: guest RAM, CPUs and devices. */
export interface Machine extends AsyncDisposable {
  readonly name: string;
  readonly status: MachineStatus;
  /** By device name: the other ends of stream devices whose description gives no back end. */
  readonly streams: Readonly<Record<string, HostStream>>;
  /** The first of `streams`. Throws if there is none. */
  readonly console: HostStream;
  /**
   * Starts or continues. Settles when the guest powers off, with its exit code; stays pending over a pause.
   * Rejects when the machine fails, is aborted or disposed.
   */
  run(): Promise<{ code: number }>;
  /** Stops the virtual clock and the guest; settles when no device has guest memory on loan. */
  pause(): Promise<void>;
  /** Continues after a pause. */
  resume(): void;
  /** As the reset button: devices and CPUs at power-on, boot files loaded again. Keeps running if it was. */
  reset(): Promise<void>;
  /** As the power switch. */
  powerOff(code?: number): void;
  /** Counters for people. */
  stats(): Record<string, number>;
  /** A hash over RAM, CPUs, devices and pending events: two runs that agree in it are in the same state. */
  stateHash(): Promise<string>;
  /** The flattened device tree that the guest was given. */
  deviceTree(): Uint8Array;
}

/** Options of {@linkcode createMachine}. */
export interface MachineOptions {
  /** The URL against which relative paths and plugin specifiers of the description resolve. */
  readonly base?: string;
  /** Plugins imported by the caller, by the name that the description uses. */
  readonly plugins?: Readonly<Record<string, PluginDefinition>>;
  /** What the machine shares with others; default: one of its own. */
  readonly hypervisor?: Hypervisor;
  /** Disposes the machine; `run` rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Gets lines for the operator, e.g. failed disk requests. */
  readonly log?: (line: string) => void;
  /** Fixes the instructions of a quantum, which otherwise adapts to the host's speed. */
  readonly quantum?: number;
}

/** What several machines share: hubs, loaded plugins, turns on the thread. Disposing it disposes its machines. */
export interface Hypervisor extends AsyncDisposable {
  /** The object of that key, made at the first ask. */
  shared<T>(key: string, make: () => T): T;
}

/** Creates a hypervisor. `host` replaces the port to the host, e.g. with a fake clock. */
export function createHypervisor(_options: { readonly host?: Host } = {}): Hypervisor {
  throw new Error("not built yet");
}

/** Builds a machine from its description: checked as a whole before anything is opened, and created paused. */
export function createMachine(_description: MachineDescription, _options: MachineOptions = {}): Promise<Machine> {
  throw new Error("not built yet");
}
