// A machine's life: run in quanta, pause, reset, power off, dispose.

import { InstructionTime } from "./clock.ts";
import type { Devices } from "./devices.ts";
import { messageOf } from "./errors.ts";
import { Loop, type LoopParts } from "./loop.ts";
import type { GuestMemory } from "./memory.ts";
import type { Bytes, StreamBackend } from "./plugin.ts";
import { StateHash } from "./state_hash.ts";

/** What a machine is doing. It is created `"paused"`. */
export type MachineStatus = "paused" | "running" | "off" | "failed" | "disposed";

/** What a machine is made of. */
export interface MachineParts extends LoopParts {
  readonly name: string;
  readonly memory: GuestMemory;
  readonly devices: Devices;
  /** The host's ends of streams without a back end, by device. */
  readonly pipes: ReadonlyMap<string, StreamBackend>;
  /** Loads the boot files and starts the first hart; gives the device tree. */
  readonly boot: () => Promise<Bytes>;
  /** What {@linkcode MachineParts.boot} gave at build. */
  readonly tree: Bytes;
  /** Disposes devices, engine and back ends. Does not throw. */
  readonly close: () => Promise<void>;
  readonly log: (line: string) => void;
}

/** Bytes of RAM hashed in one turn. */
const HASHED_AT_ONCE = 2 ** 22;

/** A machine, as core knows it: byte streams are plain ports. */
export class Machine implements AsyncDisposable {
  readonly #parts: MachineParts;
  readonly #loop: Loop;
  #status: MachineStatus = "paused";
  #tree: Bytes;
  /** From `run` or `resume` until the machine stops, for whatever reason. */
  #life: Promise<void> | undefined;
  #outcome: PromiseWithResolvers<{ code: number }> | undefined;
  /** Pauses and resets, one after the other. */
  #controls: Promise<unknown> = Promise.resolve();
  #disposal: Promise<void> | undefined;

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.#loop = new Loop(parts);
    this.#tree = parts.tree;
  }

  get name(): string {
    return this.#parts.name;
  }

  get status(): MachineStatus {
    return this.#status;
  }

  /** The host's ends of streams without a back end, by device. */
  get pipes(): ReadonlyMap<string, StreamBackend> {
    return this.#parts.pipes;
  }

  /** Starts or continues. Settles at power-off; rejects when the machine fails or is disposed. */
  run(): Promise<{ code: number }> {
    if (this.#disposal || (this.#status !== "running" && this.#status !== "paused")) {
      return Promise.reject(this.#refusal("run"));
    }
    const { promise } = this.#outcome ??= Promise.withResolvers();
    this.resume();
    return promise;
  }

  /** Continues after a pause; nothing happens if it runs. Throws an `Error` if it is off, failed or disposed. */
  resume(): void {
    if (this.#status === "running") return;
    if (this.#disposal || this.#status !== "paused") throw this.#refusal("resume");
    this.#status = "running";
    this.#parts.devices.resume();
    this.#life = this.#live();
  }

  /** Stops the guest and its clock; settles when no device has guest memory on loan. */
  pause(): Promise<void> {
    return this.#control(async () => {
      if (this.#status !== "running") return;
      await this.#halt();
      // The guest may have powered itself off in its last quantum.
      if (this.#status === "running") this.#status = "paused";
    });
  }

  /** As the reset button. Keeps running if it was; a machine that was off or had failed is paused then. */
  reset(): Promise<void> {
    return this.#control(async () => {
      const running = this.#status === "running";
      const { requests } = this.#parts;
      await this.#halt();
      requests.clear();
      try {
        await this.#restart();
      } catch (error) {
        requests.fail(messageOf(error), error);
        this.#fail();
        throw requests.failure;
      }
      this.#status = "paused";
      if (running && !this.#disposal) this.resume();
    });
  }

  /** As the power switch. Nothing happens to a machine that is off. */
  powerOff(code = 0): void {
    if (this.#status === "running") this.#parts.requests.askPower("off", code);
    else if (this.#status === "paused") this.#powerOff(code);
  }

  /** Counters: the engine's own, instructions, virtual nanoseconds. */
  stats(): Record<string, number> {
    const { engine, time } = this.#parts;
    return { ...engine.stats?.(), instructions: engine.retired, nanoseconds: time.now };
  }

  /**
   * Numbers of the pages of RAM, of 4 KiB, that the guest or a device has written since the last call, in order. The
   * first call may give all of them. Memory that a device still has on loan counts when it is given back.
   */
  collectDirty(): number[] {
    if (this.#disposal) throw this.#refusal("collect the dirty pages of");
    const { engine, memory } = this.#parts;
    const pages = new Set([...engine.collectDirty(), ...memory.collectDirty()]);
    return [...pages].sort((a, b) => a - b);
  }

  /** A hash over RAM, CPUs, devices, alarms and pending completions. A running machine pauses for it. */
  async stateHash(): Promise<string> {
    if (this.#status === "disposed") throw this.#refusal("hash");
    const running = this.#status === "running";
    await this.pause();
    const { engine, devices, memory, turns } = this.#parts;
    const hash = new StateHash();
    hash.plain({ engine: engine.save(), ...devices.save() });
    for (let at = 0; at < memory.size; at += HASHED_AT_ONCE) {
      hash.memory(at, memory.bytes.subarray(at, at + HASHED_AT_ONCE));
      await turns.take();
    }
    if (running && this.#status === "paused" && !this.#disposal) this.resume();
    return hash.digest();
  }

  /** The device tree that the guest was given. */
  deviceTree(): Bytes {
    return this.#tree.slice();
  }

  /** Ends the machine; an unfinished run rejects with `reason`. Further calls wait for the first. */
  dispose(reason: unknown = new Error(`Machine ${this.name} was disposed`)): Promise<void> {
    return this.#disposal ??= this.#dispose(reason);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  // ---------------------------------------------------------------- control

  #control(action: () => Promise<void>): Promise<void> {
    const done = this.#controls.then(() => {
      if (this.#disposal) throw this.#refusal("control");
      return action();
    });
    this.#controls = done.catch(() => {});
    return done;
  }

  #refusal(action: string): Error {
    const { failure } = this.#parts.requests;
    const status = this.#disposal ? "disposed" : this.#status;
    return new Error(`Cannot ${action} machine ${this.name}: it is ${status}`, { cause: failure });
  }

  /** Runs until the host, the guest or a failure stops the machine. */
  async #live(): Promise<void> {
    const { requests, devices } = this.#parts;
    try {
      while (true) {
        const end = await this.#loop.run();
        if (end.reason === "stop") return;
        if (end.reason === "off") return this.#powerOff(end.code);
        await this.#quiesce();
        await this.#restart();
        devices.resume();
      }
    } catch (error) {
      requests.fail(messageOf(error), error);
      this.#fail();
    }
  }

  /** Stops the loop, the clock and the devices. */
  async #halt(): Promise<void> {
    const { requests } = this.#parts;
    requests.askStop();
    await this.#life;
    requests.stop = false;
    await this.#quiesce();
  }

  /** Lets the devices finish what they have guest memory on loan for. Private loans may wait. */
  async #quiesce(): Promise<void> {
    const { memory, inbox, requests, devices, time } = this.#parts;
    await devices.pause();
    while (!memory.privateLoans && memory.lent > 0 && !this.#disposal) {
      const rung = requests.bell.wait();
      inbox.drain(time.now);
      if (memory.lent > 0) await rung;
    }
  }

  /** Power-on state for everything; the clock goes on counting. */
  async #restart(): Promise<void> {
    const { memory, devices, engine, time, boot } = this.#parts;
    if (this.#disposal) return;
    const now = time.now;
    memory.forgetPrivateLoans();
    devices.reset();
    engine.reset();
    if (time instanceof InstructionTime) time.skip(now);
    this.#tree = await boot();
    if (!this.#disposal) devices.refresh();
  }

  #powerOff(code: number): void {
    this.#status = "off";
    this.#outcome?.resolve({ code });
    this.#outcome = undefined;
  }

  #fail(): void {
    const { requests, log } = this.#parts;
    this.#status = "failed";
    log(requests.failure!.message);
    this.#outcome?.reject(requests.failure);
    this.#outcome = undefined;
  }

  async #dispose(reason: unknown): Promise<void> {
    const { requests, inbox, close } = this.#parts;
    // What waits for a device or for the host sees #disposal at the next ring.
    await Promise.resolve();
    requests.askStop();
    await this.#controls;
    await this.#life;
    this.#status = "disposed";
    inbox.clear();
    // Whoever did not wait for the run does not wait for this either.
    this.#outcome?.promise.catch(() => {});
    this.#outcome?.reject(reason);
    this.#outcome = undefined;
    await close();
  }
}
