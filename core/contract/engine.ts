// What executes guest code: RAM, harts, and how they are run.

import type { Schema } from "../schema.ts";
import type { InterruptController, PluginHead } from "./device.ts";
import type { Clock, Power } from "./services.ts";
import type { Address, Bytes, Nanos, Plain, Width } from "./values.ts";

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

/** How a hart is started. */
export interface HartEntry {
  /** The physical address of its first instruction. */
  readonly pc: bigint;
  /**
   * The mode it begins in, by the architecture's name: `"M"`, `"S"` or `"U"` for riscv64; `"real"`, `"protected"` or
   * `"long"` for x86_64, of which {@linkcode Engine.description} says those that the engine has.
   */
  readonly mode: string;
  /** Further registers to be set, by name. */
  readonly registers?: Readonly<Record<string, bigint>>;
}

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
  start(entry: HartEntry): void;
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
  /**
   * Facts for boards, by name; a board does without one that it does not find, if it can. Of riscv64, `isa`: the ISA
   * string, e.g. `"rv64imafdc_zicsr"`, and `mmu`: the device tree's `mmu-type`, e.g. `"riscv,sv39"`. Of x86_64,
   * `modes`: a list of the modes in which harts can be started ({@linkcode HartEntry}), and `append`: words that a
   * Linux kernel needs on its command line to run on this engine.
   */
  readonly description: Readonly<Record<string, Plain>>;
  /**
   * Whether the CPUs run beside the caller's thread, from the first `run` up to `pause`: `run` then serves their
   * accesses, goes by time instead of instructions, and never says that they wait.
   */
  readonly concurrent?: boolean;
  /** An interrupt controller of the engine's own, to which the devices' lines are wired. */
  readonly controller?: InterruptController;
  /**
   * Makes what the first run needs and is not made yet, such as code. Called while boot files are being read into RAM;
   * `run` does it otherwise.
   */
  prepare?(): void;
  /**
   * Runs at most `instructions` more; the machine's next event is `nanos` away. Waiting harts are looked at again at
   * each call.
   */
  run(instructions: number, nanos?: Nanos): Exit | Promise<Exit>;
  /** Settles when all CPUs stand still and nothing of an access is left over; `run` lets them go on. */
  pause?(): Promise<void>;
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
  /**
   * Stores of these values to a register only tell its device to look: a guest whose CPUs run by themselves need not
   * wait for it, and several may become one. The board calls it before it starts the harts; `reset` forgets it.
   */
  notify?(at: Address, width: Width, values: readonly number[]): void;
  /** Counters for people: instructions, misses, exits by cause… */
  stats?(): Record<string, number>;
  /** Frees what it holds. */
  dispose(): void | Promise<void>;
}

/** What calls of firmware (SBI, PSCI) the engine hands to the board. */
export interface Firmware {
  /** Serves the call that `hart` made; results go to its registers. The engine then steps past the call. */
  call(hart: number): void;
}

/**
 * What an engine keeps from one machine to the next that boots the same files: what takes time to make, and can be done
 * without. It checks what it finds, which may be anything.
 */
export interface Keep {
  /** What was saved last, if anything was and can be read. */
  load(): Promise<Bytes | undefined>;
  /** Puts these bytes in its place. */
  save(bytes: Bytes): Promise<void>;
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
  /** Where on the bus the architecture's I/O ports begin, if the board has any: port p is the register at `ports + p`. */
  readonly ports?: Address;
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
  /** Absent where nothing is kept. */
  readonly keep?: Keep;
  /** Power off, reset. */
  readonly power: Power;
}

/** An engine plugin: executes guest code. */
export interface EngineDefinition<C = unknown> extends PluginHead<"engine"> {
  /** Architectures it runs, best first, e.g. `["riscv64"]`. */
  readonly architectures: readonly string[];
  /** The board used when the description names none. */
  readonly defaultBoard: string;
  /** Whether it counts instructions, as the instruction clock wants. */
  readonly counts?: boolean;
  /** Checks its configuration. */
  readonly config: Schema<C>;
  /** Whether this host can run it, with what people should know of it, or why not. It asks for no permission. */
  probe(): Promise<{ usable: true; note?: string } | { usable: false; why: string }>;
  /** Makes the CPUs and the RAM of one machine, harts stopped. */
  open(context: EngineContext<C>): Engine | Promise<Engine>;
}
