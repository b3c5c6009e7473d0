// The public API of denovisor: describe a machine as plain data, create it, run it.

import { buildMachine } from "./core/build.ts";
import { Hypervisor as CoreHypervisor } from "./core/hypervisor.ts";
import type { InboxEvent } from "./core/inbox.ts";
import type { Machine as CoreMachine, MachineStatus } from "./core/machine.ts";
import type { Host, Keep, MachineDescription, PluginDefinition } from "./core/plugin.ts";
import type { Builtins, Place as PluginPlace } from "./core/registry.ts";
import { createWebHost } from "./plugins/host/web_host.ts";
import { type HostStream, webStream } from "./plugins/host/web_streams.ts";

export type { Builtins, HostStream, InboxEvent, MachineStatus, PluginPlace };
export { CORE_SERVICES } from "./core/plan.ts";
export { keepFiles } from "./plugins/host/kept_files.ts";
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
  /**
   * The first of `streams`.
   *
   * @throws {TypeError} if there is none.
   */
  readonly console: HostStream;
  /**
   * Starts or continues. Settles when the guest powers off, with its exit code; stays pending over a pause or a reset.
   * Rejects when the machine fails, with what went wrong, and when it is aborted or disposed; and at once, with an
   * `Error`, if it is off, has failed or is disposed: {@linkcode Machine.reset} makes it one that can run again.
   */
  run(): Promise<{ code: number }>;
  /**
   * Stops the virtual clock and the guest; settles when no device has guest memory on loan. Nothing happens to a
   * machine that does not run. Rejects with an `Error` if it is disposed.
   */
  pause(): Promise<void>;
  /**
   * Starts, or continues after a pause, as `run` does, without waiting for the end. Nothing happens if it runs.
   *
   * @throws {Error} if it is off, has failed or is disposed.
   */
  resume(): void;
  /**
   * As the reset button: devices and CPUs at power-on, boot files loaded again. Keeps running if it was; a machine
   * that was off or had failed is paused then. Rejects with an `Error` if it is disposed, or can not boot again: then
   * it has failed.
   */
  reset(): Promise<void>;
  /**
   * As the power switch: `run` settles with `code`, which is 0 if not given. A running machine stops after the current
   * quantum. Nothing happens to one that is off, has failed or is disposed.
   */
  powerOff(code?: number): void;
  /**
   * Counters for people. Every machine has `instructions`, executed since it was built (0 where the engine does not count
   * them), and `nanoseconds` of virtual time since it was built. The others are the engine's own, numbers of events
   * unless the name says `Percent` or `Bytes`. Of `riscv`: `interpretedPercent` of the instructions, `compiledRuns`
   * (entries to compiled code), `traps`, `pageWalks`, `decoded` (instructions), `codeFlushes`, `adopted` (regions that an
   * earlier machine compiled), `regions`, `optimized`, `modules`, `compiledBytes`, `residentBytes` (those that are kept)
   * and `evictions` of the compiler, and `exitsTo…`, one for each way out of generated code.
   * Of `kvm`: `exits` of the virtual CPUs.
   */
  stats(): Record<string, number>;
  /**
   * A hash over RAM, CPUs, devices, alarms and pending completions, 16 hexadecimal digits: two runs that agree in it
   * are in the same state. It is no cryptographic hash. A running machine pauses for it, and continues.
   * Rejects with an `Error` if it is disposed.
   */
  stateHash(): Promise<string>;
  /**
   * Numbers of the pages of RAM, of 4 KiB, that guest or devices have written since the last call, in order; the first
   * call may give all of them. Memory that a device still has on loan counts when it is given back.
   *
   * @throws {Error} if it is disposed.
   */
  collectDirty(): number[];
  /** The flattened device tree that the guest was given, a copy; empty where the board has none. */
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

/**
 * What several machines share: hubs, loaded plugins, turns on the thread. Disposing it disposes its machines.
 * {@linkcode createHypervisor} makes one.
 */
export interface Hypervisor extends AsyncDisposable {
  /** The port to the host: what it was created with, or the default, to make one of one's own from. */
  readonly host: Host;
  /**
   * The plugin of that kind that `use` names, as it would in a description; each module is loaded once.
   *
   * @throws {TypeError} (as a rejection) for what is not there, is no plugin, or one of another kind.
   */
  find<K extends PluginDefinition["kind"]>(
    kind: K,
    use: string,
    place?: Partial<PluginPlace>,
  ): Promise<Extract<PluginDefinition, { kind: K }>>;
  /**
   * The object that back ends of its machines share under that key ({@linkcode BackendContext.shared}), made at the
   * first ask: for a program that opens a back end itself, e.g. to join a hub. What can be disposed is, at the end.
   */
  shared<T>(key: string, make: () => T): T;
  /** Disposes its machines, then what they shared. */
  [Symbol.asyncDispose](): Promise<void>;
}

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

/** Options of {@linkcode createHypervisor}. */
export interface HypervisorOptions {
  /** Replaces the port to the host, e.g. by one with a clock of its own. */
  readonly host?: Host;
  /**
   * Where engines keep something for the next machine that boots the same files, by a key, so that it is faster:
   * `riscv` the code that it compiled, a few megabytes. For files, {@linkcode keepFiles}; default: nothing is kept.
   * A kernel given as bytes has no key.
   */
  readonly keep?: (key: string) => Keep;
}

/** Creates a hypervisor. */
export function createHypervisor(options: HypervisorOptions = {}): Hypervisor {
  const host = options.host ?? createWebHost(async (specifier) => (await import(specifier)).default);
  return new CoreHypervisor(host, BUILT_IN_PLUGINS, ENGINES, options.keep);
}

/**
 * Builds a machine from its description; it is created paused. The description is checked as a whole, and the plugins
 * that it names are imported, before a back end or an engine is opened. Where it leaves the engine open, the choice
 * asks the host what works here, and may read from the kernel what it is for.
 *
 * What went wrong is told in one sentence that names the place of it, and whatever was opened is closed again.
 *
 * @throws {TypeError | RangeError} for a description that can not be: of the wrong shape, with a plugin that can not be
 * loaded, a value out of its bounds, a device where it finds no room, a kernel that the board can not boot.
 * @throws {Error} for what the host can not do: a boot file that can not be read, an engine that does not work here, a
 * back end that can not be opened; for what a plugin throws; and where the hypervisor is disposed.
 * @throws the signal's reason, if it is aborted.
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
  const home = hypervisor ?? createHypervisor();
  if (!(home instanceof CoreHypervisor)) {
    throw new TypeError("Cannot create a machine: wanted a hypervisor made by createHypervisor");
  }
  const own = hypervisor ? undefined : home;
  try {
    const core = await buildMachine(description, { ...options, hypervisor: home });
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
 * Assembles a program for the engine `riscv`, to be loaded at `base` (default: where RAM begins, 0x8000_0000). The
 * assembler is loaded at the first call.
 *
 * - **Statements** stand on a line each, or between `;`; a comment goes from `#` or `//` to the line's end. Nothing is
 *   compressed and there are no sections: what stands first comes first.
 * - **Instructions** are all of the engine's, in the syntax of GNU as, and the usual pseudo-instructions: `li`, `la`,
 *   `mv`, `call`, `ret`, `beqz`, `csrr`…
 * - **Labels**: `name:`, and numbers such as `1:`, which stand any number of times; `1b` is the last one before,
 *   `1f` the next one.
 * - **Expressions** are of numbers (`10`, `0x1f`, `0b101`, `'c'`), symbols, `.` (the address of the instruction or of
 *   the number), parentheses, `+ - ~`, C's binary operators `| ^ & << >> + - * / %` with C's precedence, `%hi(…)` and
 *   `%lo(…)`.
 * - **Directives**: `.byte`, `.half` (`.short`, `.2byte`), `.word` (`.4byte`) and `.dword` (`.quad`, `.8byte`) with
 *   numbers; `.ascii`, `.asciz` and `.string` with texts in quotes; `.align N` (to 2^N bytes), `.balign BYTES`,
 *   `.zero BYTES`, `.equ NAME, VALUE`; `.globl` does nothing. What `li`, `.align`, `.balign`, `.zero` and `.equ` are
 *   given must be known where they stand.
 *
 * @throws {SyntaxError} (as a rejection) for text that is no program: one sentence with the line, what was wanted and
 * what was found.
 * @throws {RangeError} (as a rejection) for a `base` that is no whole number.
 *
 * @example Three turns of a loop
 * ```ts
 * import { assembleRiscv } from "@denovisor/denovisor";
 *
 * const program = await assembleRiscv(`
 *         li   a0, 3
 * again:  addi a0, a0, -1
 *         bnez a0, again
 * `);
 * console.log(program.length); // 12
 * ```
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
