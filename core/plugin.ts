// Every contract between the core, its devices, its back ends, its boards and its engines: the file to read first.

import type { Schema } from "./schema.ts";

/** The contract's version. A plugin of another major, or of a later minor, is refused. */
export const API_VERSION = { major: 1, minor: 0 } as const;

// ---------------------------------------------------------------- values

/** A guest-physical address: a safe integer, in bytes. */
export type Address = number;
/** Virtual time since the machine was built, in nanoseconds: a safe integer. */
export type Nanos = number;
/** Bytes a device register access moves. The bus splits 8-byte accesses, low half first. */
export type Width = 1 | 2 | 4;
/** A view of bytes, shared or not. */
export type Bytes = Uint8Array<ArrayBufferLike>;
/** What device state, events and configuration are made of: it survives `structuredClone` and a snapshot. */
export type Plain =
  | number
  | bigint
  | boolean
  | string
  | null
  | undefined
  | Bytes
  | Plain[]
  | { [key: string]: Plain };

// ---------------------------------------------------------------- devices

/**
 * A window of device registers. It never learns its base address.
 * Values are unsigned and no wider than the access; core masks what is written and what is returned.
 */
export interface Region {
  /** Unique within the device, e.g. `"regs"`. */
  readonly name: string;
  /** Bytes, a multiple of 4. */
  readonly size: number;
  /** The access widths the registers take, besides the split of wider ones; any other access is a bus fault. */
  readonly widths: readonly Width[];
  /** Reads the register at `offset` (aligned to `width`). May have side effects. */
  read(offset: number, width: Width): number;
  /** Writes the register at `offset` (aligned to `width`). */
  write(offset: number, value: number, width: Width): void;
}

/** One interrupt line of a device, level-triggered. Lines that share an input are OR-ed. */
export interface IrqLine {
  /** Asserts or releases the line; setting the level it has is free. */
  set(level: boolean): void;
}

/** Guest memory lent to a device. */
export interface Borrowed {
  /** The bytes themselves (or, under the instruction clock, a private copy of them). Not to be kept after `done`. */
  readonly bytes: Bytes;
  /**
   * Gives the bytes back. `written` (default: the whole length for `"write"`, else 0) is how many bytes, from the
   * first on, the device changed: they become dirty and code compiled from them is dropped. Call it exactly once.
   */
  done(written?: number): void;
}

/** Bounds-checked access to guest RAM. An access outside of RAM throws a {@linkcode DmaFault}. */
export interface Dma {
  /** Reads a little-endian unsigned number. */
  load(at: Address, width: Width): number;
  /** Writes a little-endian number. */
  store(at: Address, value: number, width: Width): void;
  /** Reads 8 little-endian bytes; a value of 2^53 or more loses low bits, and is outside of every RAM. */
  load64(at: Address): number;
  /** Lends `length` bytes of RAM at `at`. Until `done`, pause and snapshot wait for it. */
  borrow(at: Address, length: number, access: "read" | "write"): Borrowed;
  /** Copies RAM into `into`. */
  read(at: Address, into: Bytes): void;
  /** Copies `from` into RAM. */
  write(at: Address, from: Bytes): void;
}

/** A guest-given address or length that does not lie in RAM: the device answers it as its specification says. */
export class DmaFault extends Error {
  /** Tells it from other errors. */
  override readonly name = "DmaFault";
  /** Made by core, for the range that was asked for. */
  constructor(readonly at: Address, readonly length: number) {
    super(`guest-physical 0x${at.toString(16)}+${length} is not RAM`);
  }
}

/** A named alarm. Core saves its deadline with the device's state. */
export interface Alarm {
  /** Fires once `now >= deadline`; replaces an earlier deadline. A deadline in the past fires at the next turn. */
  at(deadline: Nanos): void;
  /** Forgets the deadline. */
  cancel(): void;
}

/** Virtual time: it stands still while the machine is paused. */
export interface Clock {
  /** Nanoseconds since the machine was built, not counting pauses. */
  readonly now: Nanos;
  /** Creates an alarm; `name` is unique within the device. Call it from `create`, once a name. */
  alarm(name: string, fire: () => void): Alarm;
}

/**
 * How host results reach a device: as events between quanta, never from a promise.
 * `token` is the device's own name for the request, kept in its state while the request is in flight.
 */
export interface InboxPort {
  /** Host-timed input (console bytes, network frames): delivered, stamped, when `outcome` settles. */
  post(event: string, token: number, outcome: Plain | Promise<Plain>): void;
  /**
   * The completion of a request. With the host's clock a settled `outcome` is delivered before this call returns;
   * under the instruction clock it is delivered a fixed virtual latency later, and the machine waits for it then.
   * A rejected promise is delivered as `"error"`.
   */
  complete(event: string, token: number, outcome: Plain | Promise<Plain>): void;
}

/** Interrupt inputs of the CPUs, for interrupt controllers and timers. `line` is the architecture's number. */
export interface CpuPort {
  /** How many CPUs (harts) the machine has. */
  readonly count: number;
  /** Raises or lowers an interrupt line of a CPU. */
  set(cpu: number, line: number, level: boolean): void;
}

/** Ends the machine's run: `"off"` (with an exit code, default 0), `"reset"`. Takes effect after the current quantum. */
export type Power = (what: "off" | "reset", code?: number) => void;

/** Services every device may ask for, by the name it lists in `needs`. */
export interface CoreServices {
  /** The device's interrupt line. */
  irq: IrqLine;
  /** Guest memory. */
  dma: Dma;
  /** Virtual time and alarms. */
  clock: Clock;
  /** The way of host results to the device. */
  inbox: InboxPort;
  /** Interrupt inputs of the CPUs. */
  cpus: CpuPort;
  /** Power off, reset. */
  power: Power;
  /** The host's wall-clock time, microseconds since 1970 UTC (seeded under the instruction clock). */
  wallTime: () => number;
}

// ---------------------------------------------------------------- back ends

/** How an I/O request ended. */
export type IoResult = "ok" | "error" | "unsupported";

/** A byte stream: a console, a file, a socket. Both directions have flow control. */
export interface StreamBackend {
  /** At least 1 and at most `max` bytes, as soon as there are any; `null` for the end. One call at a time. */
  read(max: number): Bytes | null | Promise<Bytes | null>;
  /** Writes all of `bytes` (copied before the call returns). A promise means: hold further writes until it settles. */
  write(bytes: Bytes): void | Promise<void>;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** A block device of whole 512-byte sectors. Positions and lengths are bytes. */
export interface BlockBackend {
  /** Bytes, a multiple of 512. */
  readonly size: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Up to 20 bytes of ASCII, given to the guest as the disk's serial number. */
  readonly id?: string;
  /** Fills `into`, in order, from `position`. Straight into guest RAM: no buffer in between. */
  read(position: number, into: readonly Bytes[]): IoResult | Promise<IoResult>;
  /** Writes `from`, in order, at `position`. */
  write(position: number, from: readonly Bytes[]): IoResult | Promise<IoResult>;
  /** Makes every completed write durable. */
  flush(): IoResult | Promise<IoResult>;
  /** Tells that the range is no longer needed; it reads as anything. Absent: unsupported. */
  discard?(position: number, length: number): IoResult | Promise<IoResult>;
  /** Makes the range read as zeroes. Absent: the device writes zeroes itself. */
  writeZeroes?(position: number, length: number): IoResult | Promise<IoResult>;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** An Ethernet frame, with the offloads that its sender left undone (as in virtio 1.2 section 5.1.6). */
export type Packet = {
  readonly frame: Bytes;
  /** The checksum is still to be summed from byte `start` on and stored at `start + offset`. */
  readonly checksum?: { readonly start: number; readonly offset: number };
  /** The frame is still to be cut into segments of `size` payload bytes; `headerLength` is a hint. */
  readonly segmentation?: {
    readonly kind: "tcp4" | "tcp6" | "udp";
    readonly size: number;
    readonly headerLength: number;
    readonly ecn: boolean;
  };
};

/** A network: it carries Ethernet frames, and may drop them. */
export interface NetBackend {
  /** Whether packets may carry undone checksums and segmentation, both ways. */
  readonly offloads: boolean;
  /** Whether the cable is plugged in now. */
  readonly linkUp: boolean;
  /** Sends a packet; its bytes are copied before the call returns. */
  send(packet: Packet): void;
  /** All packets waiting (at least 1, at most `max`), as soon as there are any; `null` for the end. One call at a time. */
  receive(max: number): Packet[] | null | Promise<Packet[] | null>;
  /** Settles when `linkUp` changes; a network without it never changes. */
  linkChange?(): Promise<boolean>;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** A source of random bytes. */
export interface EntropyBackend {
  /** Fills `into` with random bytes. */
  fill(into: Bytes): void;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** Services that back ends provide: an open set. Extend it by declaration merging. */
export interface BackendServices {
  /** Bytes in both directions. */
  stream: StreamBackend;
  /** A disk. */
  block: BlockBackend;
  /** A network. */
  net: NetBackend;
  /** Random bytes. */
  entropy: EntropyBackend;
}

/** The services that core provides. */
export type CoreServiceName = keyof CoreServices;
/** The services that back ends provide. */
export type BackendServiceName = keyof BackendServices;
/** All services. */
export type ServiceName = CoreServiceName | BackendServiceName;
/** All services by name. */
export type Services = CoreServices & BackendServices;

// ---------------------------------------------------------------- device definitions

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
  readonly controller?: { readonly inputs: number; set(input: number, level: boolean): void };
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

// ---------------------------------------------------------------- engines

/** Guest RAM: `size` bytes of `buffer` from `offset` on, seen by the guest at `base`. All are multiples of 4096. */
export interface Ram {
  /** The buffer RAM lies in. */
  readonly buffer: ArrayBufferLike;
  /** RAM's first byte in the buffer. */
  readonly offset: number;
  /** RAM's first guest-physical address. */
  readonly base: Address;
  /** Bytes. */
  readonly size: number;
}

/** How an engine reaches device registers. */
export interface EngineBus {
  /** The register's value, or -1 for an access fault. */
  read(at: Address, width: Width): number;
  /** Whether the access was taken; `false` is an access fault. */
  write(at: Address, value: number, width: Width): boolean;
}

/** Why `run` came back. */
export type Exit =
  /** The budget is used up, or an interrupt of the run was asked for. */
  | { readonly reason: "budget" }
  /** Every hart waits for an interrupt. */
  | { readonly reason: "idle" }
  /** The guest ended the machine by a way of the engine's own (HTIF, shutdown). */
  | { readonly reason: "off"; readonly code: number }
  /** The guest can not go on: a sentence for the host. */
  | { readonly reason: "error"; readonly message: string };

/** One CPU as boards and debuggers see it. */
export interface Hart {
  /** A register by its architectural name: `"pc"`, `"a0"`, `"satp"`… */
  get(register: string): bigint;
  /** Changes a register. */
  set(register: string, value: bigint): void;
  /**
   * Starts a stopped hart at physical `pc`, address translation and interrupts off, the other registers given set.
   * A hart started in mode `"M"` is its own firmware: its CSRs stand as at power-on (nothing delegated), and the
   * engine hands none of its calls to {@linkcode Firmware}.
   */
  start(entry: { pc: bigint; mode: string; registers?: Readonly<Record<string, bigint>> }): void;
  /** Stops the hart until `start`. */
  stop(): void;
  /** Whether it is stopped. */
  readonly stopped: boolean;
  /** Raises or lowers an interrupt input by the architecture's number. */
  setInterrupt(line: number, level: boolean): void;
  /** Forgets cached address translations. */
  flushTranslations(): void;
}

/** An opened engine: the CPUs and the RAM of one machine. */
export interface Engine {
  /** The machine's RAM. */
  readonly ram: Ram;
  /** The CPUs. */
  readonly harts: readonly Hart[];
  /** Instructions retired by all harts since the start; exact whenever the engine calls out. */
  readonly retired: number;
  /** Facts for boards and device trees, e.g. the ISA string. */
  readonly description: Readonly<Record<string, Plain>>;
  /** Runs at most `instructions` more. Waiting harts are looked at again at each call. */
  run(instructions: number): Exit | Promise<Exit>;
  /**
   * Makes a running `run` return soon. From inside a call of the engine's (bus, clock, firmware) it returns right after
   * the instruction that made the call: the instruction clock counts on it.
   */
  kick(): void;
  /** RAM was changed from outside: drops code predecoded or compiled from it. */
  invalidate(at: Address, length: number): void;
  /** Page numbers (of 4 KiB, from RAM's base) the harts have written since the last call. */
  collectDirty(): number[];
  /** Harts back to their state at power-on, all stopped. RAM is left alone. */
  reset(): void;
  /** Everything but RAM and caches. */
  save(): Plain;
  /** What `save` gave, in an engine of the same shape. */
  load(state: Plain): void;
  /**
   * Watches the HTIF words of a RISC-V test program: a store to `tohost` ends the run (`Exit` `"off"`) or prints.
   * The board calls it before it starts the harts; `reset` forgets it.
   */
  htif?(tohost: Address, fromhost?: Address): void;
  /** Counters for people: instructions, misses, exits by cause… */
  stats?(): Record<string, number>;
  /** Frees what it holds. */
  dispose(): void;
}

/** What calls of firmware (SBI, PSCI) the engine hands to the board. */
export interface Firmware {
  /** Serves the call that `hart` made; results go to its registers. The engine then steps past the call. */
  call(hart: number): void;
}

/** What an engine is opened with. */
export interface EngineContext<C> {
  /** Its checked configuration. */
  readonly config: C;
  /** Where RAM is to be, and whether in a SharedArrayBuffer. */
  readonly ram: { readonly base: Address; readonly size: number; readonly shared: boolean };
  /** How many harts. */
  readonly harts: number;
  /** Device registers. */
  readonly bus: EngineBus;
  /** Virtual time, and alarms such as a hart's timer. */
  readonly clock: Clock;
  /** Ticks a second of the architecture's timer. */
  readonly timebase: number;
  /** Whether time is counted in instructions: then nothing but `retired` and inputs may show. */
  readonly deterministic: boolean;
  /** Writes to the machine's first stream, for firmware's own console. */
  readonly console: (bytes: Bytes) => void;
  /** Absent when the guest brings its own firmware. */
  readonly firmware?: Firmware;
  /** Power off, reset. */
  readonly power: Power;
}

/** An engine plugin: executes guest code. */
export interface EngineDefinition<C = unknown> extends PluginHead<"engine"> {
  /** Architectures it runs, best first, e.g. `["riscv64"]`. */
  readonly architectures: readonly string[];
  /** The board used when the description names none. */
  readonly defaultBoard: string;
  /** Checks its configuration. */
  readonly config: Schema<C>;
  /** Whether this host can run it, and why not. */
  probe(): Promise<{ usable: true } | { usable: false; why: string }>;
  /** Makes the CPUs and the RAM of one machine, harts stopped. */
  open(context: EngineContext<C>): Engine | Promise<Engine>;
}

// ---------------------------------------------------------------- boards

/** A device to be placed on a board. */
export interface Placeable {
  /** The device's name in this machine. */
  readonly name: string;
  /** The plugin's name. */
  readonly plugin: string;
  /** Its register windows. */
  readonly regions: readonly Pick<Region, "name" | "size">[];
  /** Whether it asked for an interrupt line. */
  readonly irq: boolean;
  /** Pinned by the description: the first region's address, the interrupt number. */
  readonly at?: Address;
  /** The interrupt controller's input, pinned by the description. */
  readonly irqNumber?: number;
}

/** Where a device is on its board. */
export interface Placement {
  /** One address per region, in order. */
  readonly addresses: readonly Address[];
  /** The interrupt controller's input. */
  readonly irq?: number;
}

/** What is loaded at start. */
export interface BootFiles {
  /** The kernel: an Image, an ELF or a flat binary. */
  readonly kernel?: Bytes;
  /** The initial RAM disk. */
  readonly initrd?: Bytes;
  /** The guest's own firmware. */
  readonly bios?: Bytes;
  /** The kernel's command line. */
  readonly append?: string;
}

/** All that a board needs to build the device tree and to start the harts. */
export interface BootContext {
  /** The CPUs to start. */
  readonly engine: Engine;
  /** What to load. */
  readonly files: BootFiles;
  /** Copies into guest RAM; throws a `RangeError` outside of it. */
  write(at: Address, bytes: Bytes): void;
  /** All devices, placed. */
  readonly devices: readonly (Omit<Placeable, "irq"> & Placement & { readonly tree?: DeviceTreePart })[];
  /** Ticks a second of the architecture's timer. */
  readonly timebase: number;
}

/** A board, made for one machine. */
export interface Board {
  /** RAM's first address. */
  readonly ramBase: Address;
  /** Ticks a second of the architecture's timer. */
  readonly timebase: number;
  /** Devices every machine of this board has, unless the description names one of the same plugin. */
  readonly defaultDevices: readonly DeviceDescription[];
  /** Places all devices at once; throws a `RangeError` for a pinned place that can not be had. */
  place(devices: readonly Placeable[]): Placement[];
  /** Answers a register access to nothing: a value, or a fault (-1). */
  unassigned(at: Address, width: Width, write: boolean): number;
  /** Served firmware calls; asked for after the engine is open. Absent under `bios`. */
  firmware?(
    access: {
      harts: () => readonly Hart[];
      clock: Clock;
      power: Power;
      console: (bytes: Bytes) => void;
      /** Guest RAM. */
      memory: Dma;
    },
  ): Firmware;
  /** Loads the boot files and starts the first hart(s). Throws with one clear sentence. */
  boot(context: BootContext): void;
  /** The machine's description for the guest (an FDT blob), as `boot` would place it. */
  describe(context: BootContext): Bytes;
}

/** A board plugin: what differs between machines of an architecture. */
export interface BoardDefinition<C = unknown> extends PluginHead<"board"> {
  /** The architecture, as engines name it. */
  readonly architecture: string;
  /** Checks its configuration. */
  readonly config: Schema<C>;
  /** Makes the board of one machine. */
  create(context: { config: C; harts: number; ramSize: number; bios: boolean; bootargs?: string }): Board;
}

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

// ---------------------------------------------------------------- descriptions

/** A plugin by built-in name or import specifier, with its configuration. */
export interface PluginUse {
  /** A built-in name, a name of the caller's `plugins`, or an import specifier. */
  readonly use: string;
  /** What the plugin's `config` checks. */
  readonly config?: { readonly [key: string]: Plain };
}

/** A device of a machine. */
export interface DeviceDescription extends PluginUse {
  /** Unique in the machine; default: the plugin's name and a number. */
  readonly name?: string;
  /** Back ends by the service they provide. A `stream` left out is the machine's own, see `Machine.streams`. */
  readonly backends?: { readonly [service: string]: PluginUse };
  /** Pins the first region's address. */
  readonly at?: Address;
  /** Pins the interrupt number. */
  readonly irq?: number;
}

/** A whole machine, as JSON. */
export interface MachineDescription {
  /** For messages and for devices that have to differ between machines; default `"machine"`. */
  readonly name?: string;
  /** Default `"riscv"`. */
  readonly engine?: string | PluginUse;
  /** Default: the engine's. */
  readonly board?: string | PluginUse;
  /** Bytes of RAM, or text such as `"256M"`. */
  readonly memory?: number | string;
  /** Harts; default 1. */
  readonly cpus?: number;
  /** `"host"` (default) or `"instructions"`: virtual time by instructions executed, the same run to the bit. */
  readonly clock?: "host" | "instructions";
  /** Seeds entropy and wall time under the instruction clock; default 1. */
  readonly seed?: number;
  /** RAM as a SharedArrayBuffer. */
  readonly sharedMemory?: boolean;
  /** What to load at start. */
  readonly boot?: {
    /** Paths or URLs (against `base`), or the bytes themselves. */
    readonly kernel?: string | Bytes;
    readonly initrd?: string | Bytes;
    readonly bios?: string | Bytes;
    readonly append?: string;
  };
  /** Besides the board's own. */
  readonly devices?: readonly DeviceDescription[];
}

// ---------------------------------------------------------------- the host

/** What core asks of its host. */
export interface Host {
  /** Monotonic nanoseconds. */
  now(): Nanos;
  /** Microseconds since 1970 UTC. */
  wallTime(): number;
  /** Fills `into` with random bytes. */
  entropy(into: Bytes): void;
  /** Gives the event loop one turn. */
  turn(): Promise<void>;
  /** Settles after `nanos`, or as soon as `wake` settles. */
  sleep(nanos: Nanos, wake: Promise<void>): Promise<void>;
  /** The absolute form of a path or URL. Throws a `TypeError` for a relative one if there is no `base`. */
  resolve(location: string, base: string | undefined): string;
  /** Reads a whole file or URL, given in its absolute form. */
  readFile(location: string): Promise<Bytes>;
  /** Imports a plugin module and gives its default export. */
  load(specifier: string): Promise<unknown>;
}

// ---------------------------------------------------------------- makers

/** A definition without what its maker adds. */
export type Body<D extends PluginHead<string>> = Omit<D, "kind" | "api">;

/** Makes a device plugin. Its module's default export should be the result. */
export function defineDevice<const N extends ServiceName, C, S extends Plain>(
  body: Body<DeviceDefinition<N, C, S>>,
): DeviceDefinition<N, C, S> {
  return { kind: "device", api: API_VERSION, ...body };
}

/** Makes a back-end plugin. */
export function defineBackend<const P extends BackendServiceName, C>(
  body: Body<BackendDefinition<P, C>>,
): BackendDefinition<P, C> {
  return { kind: "backend", api: API_VERSION, ...body };
}

/** Makes an engine plugin. */
export function defineEngine<C>(body: Body<EngineDefinition<C>>): EngineDefinition<C> {
  return { kind: "engine", api: API_VERSION, ...body };
}

/** Makes a board plugin. */
export function defineBoard<C>(body: Body<BoardDefinition<C>>): BoardDefinition<C> {
  return { kind: "board", api: API_VERSION, ...body };
}
