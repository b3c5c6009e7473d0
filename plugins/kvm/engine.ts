// The engine `kvm`: guest code run by the processor, through Linux's /dev/kvm (Linux, Documentation/virt/kvm/api.rst).

import {
  type Address,
  defineEngine,
  type Engine,
  type EngineContext,
  type EngineDefinition,
  type Exit,
  type Hart,
  type InterruptController,
  type Nanos,
  type Plain,
  type Ram,
  type Width,
} from "../../core/plugin.ts";
import { integer, object, optional } from "../../core/schema.ts";
import { askForHugePages } from "../host/huge_pages.ts";
import { CAP_TSC_DEADLINE_TIMER, KVM } from "./api.ts";
import { type Leaf, leavesOf, supportedLeaves } from "./cpuid.ts";
import { describeExit } from "./exits.ts";
import { maskForPvm, PVM_MODES, PVM_PATH, PVM_WORDS } from "./fixups.ts";
import { addressOf, Libc } from "./libc.ts";
import { Mailbox, mailboxBytes, STATE, Watch } from "./mailbox.ts";
import { DEVICE, probe } from "./probe.ts";
import { MODES } from "./registers.ts";
import { type Clocks, loadState, readClocks, saveState, type Stateful, stateMsrs } from "./state.ts";
import { Vcpu } from "./vcpu.ts";
import { type HostRam, type Notification, Vm } from "./vm.ts";
import { Waiting } from "./waiting.ts";
import type { WorkerStart } from "./vcpu_worker.ts";

/** The engine's options. */
export interface KvmConfig {
  /**
   * Microseconds for which the machine's thread and a vCPU look for each other's next word before they sleep: more of
   * it makes accesses to registers quicker, and costs processor time.
   */
  readonly spin: number;
}

const WASM_PAGE = 65536;
/** Inputs of the in-kernel interrupt controllers. */
const INPUTS = 24;
/** After the last access the thread stays blocked for so long, ready at once for the next, before others get it. */
const LINGER: Nanos = 100_000;
/** The longest that a run keeps the thread. */
const SLICE: Nanos = 1_000_000;
/** How often a vCPU looks for an answer in a microsecond, roughly. */
const LOOKS = 100;

/** Tokens of the files that the machine's thread listens to. */
const RESAMPLED = 1;
const FIRST_NOTIFICATION = 2;

const BUDGET: Exit = { reason: "budget" };

function now(): Nanos {
  return performance.now() * 1e6;
}

/** The CPUs and the RAM of one machine. */
class KvmEngine implements Engine {
  readonly ram: Ram;
  readonly harts: readonly Hart[];
  readonly description: Readonly<Record<string, Plain>>;
  readonly concurrent = true;
  /** Nobody counts them. */
  readonly retired = 0;
  readonly controller: InterruptController;
  readonly #context: EngineContext<KvmConfig>;
  readonly #libc = Libc.get();
  /** What was opened; it is given back in the opposite order. */
  readonly #opened: DisposableStack;
  readonly #kvm: number;
  readonly #pvm: boolean;
  readonly #hostRam: HostRam;
  readonly #waiting: Waiting;
  readonly #leaves: readonly (readonly Leaf[])[];
  readonly #vcpus: readonly Vcpu[];
  readonly #spin: Nanos;
  /** The eventfds of the interrupt inputs in use. */
  readonly #inputs = new Map<number, number>();
  /** The eventfds of the inputs whose lines are up. */
  readonly #raised = new Set<number>();
  /** Signalled when the guest has done with an interrupt. */
  readonly #resampled: number;
  /** By token. */
  #notifications: Notification[] = [];
  /** Eventfds that a reset has left without a register. */
  #spare: number[] = [];
  #vm: Vm;
  /** As the state was saved with them, until the vCPUs run again: they go on, but the state is to stay the same. */
  #clocks: Clocks | undefined;
  readonly #msrs: readonly number[];
  #kicked = false;
  #woken = Promise.withResolvers<void>();

  constructor(context: EngineContext<KvmConfig>) {
    const { base, size, shared } = context.ram;
    this.#context = context;
    const libc = this.#libc;
    using opened = new DisposableStack();
    this.#kvm = libc.open(DEVICE);
    opened.defer(() => libc.close(this.#kvm));
    this.#pvm = libc.exists(PVM_PATH);
    const pages = Math.ceil(size / WASM_PAGE);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
    askForHugePages(memory.buffer, 0, size);
    this.ram = { buffer: memory.buffer, offset: 0, base, size };
    this.#hostRam = { address: addressOf(memory.buffer), base, size };
    this.#spin = context.config.spin * 1000;
    this.description = {
      architecture: "x86_64",
      modes: [...this.#pvm ? PVM_MODES : MODES],
      ...this.#pvm ? { append: PVM_WORDS } : {},
    };

    const mailboxes = new SharedArrayBuffer(mailboxBytes(context.harts));
    this.#waiting = opened.adopt(new Waiting(libc, new Watch(mailboxes)), (waiting) => waiting.close());
    this.#resampled = opened.adopt(libc.eventfd(), (fd) => libc.close(fd));
    this.#waiting.add(this.#resampled, RESAMPLED);
    const start: Omit<WorkerStart, "vcpu"> = {
      mailboxes,
      doorbell: this.#waiting.doorbell,
      signal: libc.kickSignal,
      ram: this.#hostRam,
      ports: context.ports ?? NO_PORTS,
      runSize: libc.ioctl("asking for a size", this.#kvm, KVM.GET_VCPU_MMAP_SIZE),
      pvm: this.#pvm,
      looks: context.config.spin * LOOKS,
    };
    this.#msrs = stateMsrs(libc, this.#kvm);
    const supported = supportedLeaves(libc, this.#kvm);
    const leaves = this.#pvm ? maskForPvm(supported) : supported;
    const deadline = !this.#pvm &&
      libc.ioctl("asking for a capability", this.#kvm, KVM.CHECK_EXTENSION, CAP_TSC_DEADLINE_TIMER) > 0;
    const ids = Array.from({ length: context.harts }, (_, id) => id);
    this.#leaves = ids.map((id) => leavesOf(id, context.harts, leaves, deadline));
    this.#vm = new Vm(libc, this.#kvm, this.#hostRam);
    opened.defer(() => this.#vm.close());
    this.#vcpus = ids.map((vcpu) =>
      opened.adopt(new Vcpu(libc, { ...start, vcpu }, () => this.#woken.resolve()), (vcpu) => vcpu.close())
    );
    this.harts = this.#vcpus;
    this.#attach();
    this.controller = { inputs: INPUTS, set: (input, level) => this.#setInput(input, level) };
    this.#opened = opened.move();
  }

  // ---------------------------------------------------------------- running

  run(_instructions: number, nanos: Nanos = Infinity): Exit | Promise<Exit> {
    this.#kicked = false;
    this.#clocks = undefined;
    this.#waiting.asleep = false;
    const started = now();
    for (const vcpu of this.#vcpus) vcpu.go();
    const exit = this.#attend(started, Math.min(nanos, SLICE));
    if (exit || nanos <= SLICE) return this.#leave(exit ?? BUDGET);
    return this.#sleep(started + nanos);
  }

  /** Serves the vCPUs as long as they keep this thread busy, at most for so long. */
  #attend(started: Nanos, nanos: Nanos): Exit | undefined {
    let served = started;
    let looked = -Infinity;
    while (true) {
      const busy = this.#serve();
      let time = now();
      if (busy) served = time;
      // A thread that answers accesses without a pause still has to see what else has signalled.
      if (time - looked > LINGER / 4) {
        looked = time;
        if (this.#notified()) served = time;
      }
      const exit = this.#end();
      if (exit) return exit;
      const left = started + nanos - time;
      if (left <= 0) return undefined;
      if (time - served < this.#spin) continue;
      if (time - served > LINGER && left > LINGER && nanos === SLICE) return undefined;
      this.#waiting.asleep = true;
      if (!this.#pending) this.#waiting.block(Math.min(left, LINGER));
      this.#waiting.asleep = false;
      time = now();
      if (this.#notified()) served = time;
      looked = time;
    }
  }

  /** Lets the event loop have the thread until something happens. */
  async #sleep(until: Nanos): Promise<Exit> {
    this.#waiting.asleep = true;
    while (!this.#pending && !this.#kicked) {
      const time = now();
      // The last part is waited for exactly, by the next run.
      if (until - time < SLICE) break;
      // Anew for each wait: a promise keeps what has waited for it.
      this.#woken = Promise.withResolvers();
      await Promise.race([this.#waiting.wait(time, until - time), this.#woken.promise]);
      if (this.#notified()) break;
    }
    this.#serve();
    return this.#leave(this.#end() ?? BUDGET);
  }

  /** Workers ring for what comes between two runs. */
  #leave(exit: Exit): Exit {
    this.#waiting.asleep = true;
    return exit;
  }

  /** Why the run is to end. */
  #end(): Exit | undefined {
    for (const [id, vcpu] of this.#vcpus.entries()) {
      if (vcpu.failure !== undefined) return { reason: "error", message: `vCPU ${id} failed: ${vcpu.failure}` };
      switch (vcpu.mailbox.state) {
        case STATE.FAULT: {
          const { run, registers, mailbox } = vcpu;
          return { reason: "error", message: describeExit(id, mailbox.errno, run, registers, this.#hostRam) };
        }
        case STATE.OFF:
          return { reason: "off", code: 0 };
        case STATE.RESET:
          this.#context.power("reset");
          return BUDGET;
      }
    }
    return this.#kicked ? BUDGET : undefined;
  }

  /** Whether a vCPU waits for this thread. */
  get #pending(): boolean {
    return this.#vcpus.some(({ mailbox: { state }, failure }) => state > STATE.RUNNING || failure !== undefined);
  }

  /** Answers all accesses that are put up; whether there was one. */
  #serve(): boolean {
    let any = false;
    for (const { mailbox } of this.#vcpus) {
      if (mailbox.state !== STATE.ACCESS) continue;
      any = true;
      this.#access(mailbox);
    }
    return any;
  }

  #access(mailbox: Mailbox): void {
    const { bus } = this.#context;
    const { address, width } = mailbox;
    if (!mailbox.write) return mailbox.reply(bus.read(address, width));
    bus.write(address, mailbox.value, width);
    mailbox.reply(0);
  }

  /** Does the stores that came as signals, and raises again what is up; whether anything has signalled. */
  #notified(): boolean {
    const tokens = this.#waiting.ready();
    for (const token of tokens) {
      if (token === RESAMPLED) {
        this.#libc.takeSignal(this.#resampled);
        for (const fd of this.#raised) this.#libc.signal(fd);
        continue;
      }
      const { fd, at, value, width } = this.#notifications[token - FIRST_NOTIFICATION];
      if (this.#libc.takeSignal(fd)) this.#context.bus.write(at, value, width);
    }
    return tokens.length > 0;
  }

  kick(): void {
    this.#kicked = true;
    this.#woken.resolve();
  }

  async pause(): Promise<void> {
    for (const vcpu of this.#vcpus) vcpu.halt();
    while (true) {
      this.#waiting.asleep = true;
      this.#serve();
      if (this.#vcpus.every((vcpu) => vcpu.halted)) break;
      if (!this.#pending) await this.#waiting.wait(now(), SLICE);
      this.#waiting.ready();
    }
    // Notifications that the guest made before it stopped are not to be lost.
    this.#notified();
    await this.#waiting.settle();
  }

  // ---------------------------------------------------------------- for the board

  notify(at: Address, width: Width, values: readonly number[]): void {
    const { ports } = this.#context;
    const port = ports !== undefined && at >= ports;
    for (const value of values) {
      const spare = this.#spare.pop();
      const fd = spare ?? this.#eventfd();
      const notification = { at: port ? at - ports : at, port, width, value, fd };
      this.#vm.connectNotification(notification);
      const token = FIRST_NOTIFICATION + this.#notifications.push({ ...notification, at }) - 1;
      // An eventfd keeps its token over resets.
      if (spare === undefined) this.#waiting.add(fd, token);
    }
  }

  #setInput(input: number, level: boolean): void {
    let fd = this.#inputs.get(input);
    if (fd === undefined) {
      fd = this.#eventfd();
      this.#inputs.set(input, fd);
      this.#vm.connectInterrupt(input, fd, this.#resampled);
    }
    // KVM itself lowers an input, when the guest has done with the interrupt.
    if (!level) return void this.#raised.delete(fd);
    this.#raised.add(fd);
    this.#libc.signal(fd);
  }

  #eventfd(): number {
    return this.#opened.adopt(this.#libc.eventfd(), (fd) => this.#libc.close(fd));
  }

  invalidate(): void {}

  collectDirty(): number[] {
    return this.#vm.collectDirty();
  }

  // ---------------------------------------------------------------- its life

  /** A VM made anew has everything at power-on: RAM stays, and so do the eventfds. */
  reset(): void {
    for (const vcpu of this.#vcpus) vcpu.detach();
    this.#vm.close();
    this.#vm = new Vm(this.#libc, this.#kvm, this.#hostRam);
    for (const [gsi, fd] of this.#inputs) {
      this.#libc.takeSignal(fd);
      this.#vm.connectInterrupt(gsi, fd, this.#resampled);
    }
    this.#raised.clear();
    this.#clocks = undefined;
    this.#spare = this.#notifications.map(({ fd }) => fd).reverse();
    this.#notifications = [];
    for (const fd of this.#spare) this.#libc.takeSignal(fd);
    this.#attach();
  }

  #attach(): void {
    this.#vcpus.forEach((vcpu, id) => vcpu.attach(this.#vm, this.#leaves[id]));
  }

  get #stateful(): Stateful {
    return { vm: this.#vm.fd, vcpus: this.#vcpus.map(({ fd }) => fd), msrs: this.#msrs };
  }

  save(): Plain {
    this.#clocks ??= readClocks(this.#libc, this.#stateful);
    return saveState(this.#libc, this.#stateful, this.#clocks);
  }

  load(state: Plain): void {
    for (const { mailbox } of this.#vcpus) mailbox.renew();
    this.#clocks = loadState(this.#libc, this.#stateful, state);
  }

  stats(): Record<string, number> {
    const exits = this.#vcpus.reduce((sum, { mailbox }) => sum + mailbox.exits, 0);
    return { exits };
  }

  async dispose(): Promise<void> {
    await this.pause();
    await Promise.all(this.#vcpus.map((vcpu) => vcpu.end()));
    await this.#waiting.settle();
    this.#opened.dispose();
  }
}

/** Where ports go on a board that has none: nowhere. */
const NO_PORTS = 2 ** 52;

/** The engine `kvm`. */
const kvm: EngineDefinition<KvmConfig> = defineEngine<KvmConfig>({
  name: "kvm",
  architectures: ["x86_64"],
  defaultBoard: "pc_micro",
  config: object({ spin: optional(integer({ min: 0, max: 1000 }), 20) }),
  probe: () => Promise.resolve(probe()),
  open(context) {
    if (context.deterministic) {
      throw new TypeError(
        `Cannot use the engine kvm with the clock "instructions": processors do not tell their count`,
      );
    }
    return new KvmEngine(context);
  },
});

export default kvm;
