// The public API of denovisor: describe a machine as plain data, create it, run it.

import { buildMachine } from "./core/build.ts";
import { Hypervisor as CoreHypervisor } from "./core/hypervisor.ts";
import type { InboxEvent } from "./core/inbox.ts";
import type { Machine as CoreMachine, MachineStatus } from "./core/machine.ts";
import type { Host, MachineDescription, PluginDefinition } from "./core/plugin.ts";
import type { Builtins } from "./core/registry.ts";
import { createWebHost } from "./plugins/host/web_host.ts";
import { type HostStream, webStream } from "./plugins/host/web_streams.ts";

export type { Builtins, HostStream, InboxEvent, MachineStatus };
export { CORE_SERVICES } from "./core/plan.ts";
export * from "./core/plugin.ts";
export {
  type Cell,
  decodeTree,
  encodeTree,
  formatTree,
  node,
  type PropertyValue,
  type TreeNode,
} from "./core/device_tree.ts";
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

/** A machine: guest RAM, CPUs and devices. */
export interface Machine extends AsyncDisposable {
  /** The description's, or `"machine"`. */
  readonly name: string;
  /** What it is doing now. */
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
  /**
   * Numbers of the pages of RAM, of 4 KiB, that guest or devices have written since the last call, in order; the first
   * call may give all of them.
   */
  collectDirty(): number[];
  /** The flattened device tree that the guest was given; empty where the board has none. */
  deviceTree(): Uint8Array;
}

/** Options of {@linkcode createMachine}. */
export interface MachineOptions {
  /**
   * The URL against which relative paths and plugin specifiers of the description resolve, e.g. `import.meta.url`;
   * default: the working directory. Back ends' paths are of the host: a `base` other than `file:` does not count there.
   */
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
  /** Gets every input to the guest as it is delivered: a log of the run. */
  readonly record?: (event: InboxEvent) => void;
}

/** What several machines share: hubs, loaded plugins, turns on the thread. Disposing it disposes its machines. */
export type Hypervisor = CoreHypervisor;

/** The plugins that come with the package. Each is loaded when a description names it. */
export const BUILT_IN_PLUGINS: Builtins = {
  clint: () => import("./devices/clint.ts"),
  goldfish_rtc: () => import("./devices/goldfish_rtc.ts"),
  plic: () => import("./devices/plic.ts"),
  serial_16550: () => import("./devices/serial_16550.ts"),
  syscon: () => import("./devices/syscon.ts"),
  virtio_blk: () => import("./devices/virtio_blk.ts"),
  virtio_console: () => import("./devices/virtio_console.ts"),
  virtio_net: () => import("./devices/virtio_net.ts"),
  virtio_rng: () => import("./devices/virtio_rng.ts"),
  file_disk: () => import("./plugins/file_disk.ts"),
  file_stream: () => import("./plugins/file_stream.ts"),
  hub_net: () => import("./plugins/hub_net.ts"),
  memory_disk: () => import("./plugins/memory_disk.ts"),
  null_stream: () => import("./plugins/null_stream.ts"),
  random_entropy: () => import("./plugins/random_entropy.ts"),
  stdio_console: () => import("./plugins/stdio_console.ts"),
  kvm: () => import("./plugins/kvm/engine.ts"),
  pc_micro: () => import("./plugins/pc_micro/board.ts"),
  riscv: () => import("./plugins/riscv/engine.ts"),
  riscv_virt: () => import("./plugins/riscv_virt/board.ts"),
};

/** The engines among them, best first: what `engine: "auto"` chooses from. */
export const ENGINES: readonly string[] = ["kvm", "riscv"];

/** Creates a hypervisor. `host` replaces the port to the host, e.g. by one with a fake clock. */
export function createHypervisor(options: { readonly host?: Host } = {}): Hypervisor {
  const host = options.host ?? createWebHost(async (specifier) => (await import(specifier)).default);
  return new CoreHypervisor(host, BUILT_IN_PLUGINS, ENGINES);
}

/**
 * Builds a machine from its description: checked as a whole before anything is opened, created paused. Throws a
 * `TypeError` or `RangeError` with one sentence that names the place of what is wrong.
 *
 * @example A guest of one instruction, which jumps to itself
 * ```ts
 * import { createMachine } from "@denovisor/denovisor";
 *
 * await using machine = await createMachine({ memory: "16M", boot: { kernel: Uint8Array.of(0x6f, 0, 0, 0) } });
 * const run = machine.run();
 * machine.powerOff(3);
 * console.log(await run); // { code: 3 }
 * ```
 */
export async function createMachine(
  description: MachineDescription,
  { hypervisor, signal, ...options }: MachineOptions = {},
): Promise<Machine> {
  signal?.throwIfAborted();
  const own = hypervisor ? undefined : createHypervisor();
  try {
    const core = await buildMachine(description, { ...options, hypervisor: hypervisor ?? own! });
    const machine = new WebMachine(core, own, signal);
    if (!signal?.aborted) return machine;
    await machine[Symbol.asyncDispose]();
    throw signal.reason;
  } catch (error) {
    await own?.[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Assembles a program for the engine `riscv`, to be loaded at `base` (default: where RAM begins). The assembler is
 * loaded at the first call. Throws a `SyntaxError` that names the line for text that is no program.
 */
export async function assembleRiscv(
  source: string,
  options: { readonly base?: number } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { assemble } = await import("./plugins/riscv/assembler.ts");
  return assemble(source, options);
}

/** A machine of core's with the web's streams and signals. */
class WebMachine implements Machine {
  readonly streams: Readonly<Record<string, HostStream>>;
  readonly #core: CoreMachine;
  readonly #hypervisor: Hypervisor | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): Promise<void> => this.#dispose(this.#signal!.reason);

  constructor(core: CoreMachine, hypervisor: Hypervisor | undefined, signal: AbortSignal | undefined) {
    this.#core = core;
    this.#hypervisor = hypervisor;
    this.#signal = signal;
    this.streams = Object.fromEntries([...core.pipes].map(([device, pipe]) => [device, webStream(pipe)]));
    signal?.addEventListener("abort", this.#abort);
  }

  get name(): string {
    return this.#core.name;
  }

  get status(): MachineStatus {
    return this.#core.status;
  }

  get console(): HostStream {
    const [first] = Object.values(this.streams);
    if (first) return first;
    throw new TypeError(
      `Machine ${this.name} has no console: wanted a stream device without a back end of its own, got none`,
    );
  }

  run(): Promise<{ code: number }> {
    return this.#core.run();
  }

  pause(): Promise<void> {
    return this.#core.pause();
  }

  resume(): void {
    this.#core.resume();
  }

  reset(): Promise<void> {
    return this.#core.reset();
  }

  powerOff(code?: number): void {
    this.#core.powerOff(code);
  }

  stats(): Record<string, number> {
    return this.#core.stats();
  }

  stateHash(): Promise<string> {
    return this.#core.stateHash();
  }

  collectDirty(): number[] {
    return this.#core.collectDirty();
  }

  deviceTree(): Uint8Array {
    return this.#core.deviceTree();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#dispose();
  }

  async #dispose(reason?: unknown): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#abort);
    await this.#core.dispose(reason);
    await this.#hypervisor?.[Symbol.asyncDispose]();
  }
}
