// A machine around one device: its guest is the fuzzer's hand, its clock and its back ends are the fuzzer's too.

import { REG } from "../../devices/virtio/registers.ts";
import {
  type Address,
  type BootFile,
  type Bytes,
  createHypervisor,
  createMachine,
  defineBoard,
  defineDevice,
  defineEngine,
  type DeviceDescription,
  type Engine,
  type EngineBus,
  type EngineContext,
  type Exit,
  type Hart,
  type Host,
  type Hypervisor,
  type IrqLine,
  type Machine,
  type Nanos,
  object,
  type Plain,
  type PluginUse,
  type Ram,
  type Region,
  type Width,
} from "../../mod.ts";
import { ANSWER_SECONDS } from "./backend_bench.ts";
import { BackendWatch } from "./backend_watch.ts";
import { Backends } from "./backends.ts";
import { Random } from "./random.ts";
import { Referee } from "./referee.ts";
import { type DriverMemory, IDENTITY, type Registers } from "./virtio_driver.ts";
import { type AnyDevice, Finding, Watch } from "./watch.ts";

/** Where RAM begins. */
export const RAM_BASE = 0x8000_0000;
/** Bytes of RAM: the least a machine has. */
export const RAM_SIZE = 1 << 20;
const DEVICE_BASE = 0x1000_0000;
/** Virtual time a step takes. */
const STEP_TIME: Nanos = 1000;
/** Interrupt inputs that helpers pull, in case the device is an interrupt controller. */
const HELPERS = 3;
/** Turns of the event loop without progress after which the host answers what it holds back. */
const PATIENCE = 8;
/** So often, before it does its work at once. */
const ANSWERS = 32;
/** And after which the machine is stuck, for good. */
const STUCK = 20_000;

/** The device under test. */
export interface DeviceSubject {
  readonly definition: AnyDevice;
  readonly config?: PluginUse["config"];
  /** Back ends for services that the fuzzer has none for. */
  readonly backends?: Readonly<Record<string, PluginUse>>;
  /** Loads what `backends` names. */
  readonly hypervisor: Hypervisor;
}

/** How a bench is set up. */
export interface BenchOptions {
  readonly seed: number;
  readonly clock: "host" | "instructions";
  readonly sharedMemory: boolean;
  /** Keeps a line for each thing the guest does. */
  readonly trace?: string[];
}

/** The fuzzer's host: time passes when the guest does something. */
class BenchHost implements Host {
  time: Nanos = 0;
  /** Microseconds since 1970 at the host's time 0. */
  epoch = 1_700_000_000_000_000;
  work: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #real: Host;

  constructor(real: Host) {
    this.#real = real;
  }

  now(): Nanos {
    return this.time;
  }

  wallTime(): number {
    return this.epoch + Math.floor(this.time / 1000);
  }

  entropy(into: Bytes): void {
    into.fill(0x5a);
  }

  turn(): Promise<void> {
    return this.#real.turn();
  }

  async sleep(_nanos: Nanos, wake: Promise<void>): Promise<void> {
    await Promise.race([wake, this.work.promise]);
  }

  resolve(location: string, base: string | undefined): string {
    return this.#real.resolve(location, base);
  }

  openFile(location: string): Promise<BootFile> {
    return this.#real.openFile(location);
  }

  load(specifier: string): Promise<unknown> {
    return this.#real.load(specifier);
  }
}

/** The CPU: it does what it is handed. */
class Guest implements Engine {
  readonly ram: Ram;
  readonly harts: readonly Hart[];
  readonly description: Record<string, Plain> = {};
  readonly bus: EngineBus;
  /** What is to be done, in order. */
  readonly acts: (() => void)[] = [];
  /** Whether the loop found nothing to do since the last act. */
  idle = false;
  retired = 0;
  /** Raised interrupt lines, `cpu:line`. */
  readonly lines = new Set<string>();
  readonly #host: BenchHost;
  readonly #restarted: () => void;

  constructor(
    { ram: { base, size, shared }, bus, harts }: EngineContext<unknown>,
    host: BenchHost,
    restarted: () => void,
  ) {
    this.ram = { buffer: shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size), offset: 0, base, size };
    this.bus = bus;
    this.#host = host;
    this.#restarted = restarted;
    this.harts = Array.from({ length: harts }, (_, cpu) => ({
      get: () => 0n,
      set: () => {},
      start: () => {},
      stop: () => {},
      stopped: false,
      setInterrupt: (line: number, level: boolean) =>
        void (level ? this.lines.add(`${cpu}:${line}`) : this.lines.delete(`${cpu}:${line}`)),
      flushTranslations: () => {},
    }));
  }

  run(): Exit {
    const act = this.acts.shift();
    this.idle = act === undefined;
    if (!act) return { reason: "idle" };
    this.retired += STEP_TIME / 5;
    this.#host.time += STEP_TIME;
    act();
    return { reason: "budget" };
  }

  kick(): void {}
  invalidate(): void {}
  collectDirty(): number[] {
    return [];
  }
  reset(): void {
    this.lines.clear();
    this.#restarted();
  }
  save(): Plain {
    return null;
  }
  load(): void {}
  dispose(): void {}
}

/** One device on its bench. */
export class Bench {
  readonly watch: Watch;
  /** The fuzzer's own back ends. */
  readonly backends: Backends;
  /** Those that somebody else wrote. */
  readonly foreign: BackendWatch;
  readonly memory: DriverMemory;
  readonly host: BenchHost;
  readonly options: BenchOptions;
  /** The device's windows, by what it said of them. */
  regions: readonly Pick<Region, "name" | "size" | "widths">[] = [];
  /** The first region as a virtio driver sees it. */
  readonly registers: Registers;
  #guest!: Guest;
  #machine!: Machine;
  #hypervisor!: Hypervisor;
  #addresses: readonly Address[] = [];
  #helpers: IrqLine[] = [];
  /** Services that the fuzzer's own back ends provide. */
  #own: readonly string[] = [];
  #off = false;
  #closing = false;
  #patient = false;
  #failure: Finding | undefined;
  readonly #trace: string[] | undefined;

  private constructor(host: Host, options: BenchOptions) {
    this.options = options;
    this.#trace = options.trace;
    this.host = new BenchHost(host);
    this.watch = new Watch();
    this.backends = new Backends(
      new Random(options.seed, 0xba),
      () => this.watch.called(),
      (sentence) => this.watch.found(sentence),
    );
    const { watch } = this;
    this.foreign = new BackendWatch((sentence) => watch.found(sentence));
    this.memory = {
      load: (at, width) => this.#view(at, width, (view) => load(view, width)),
      read: (at, into) => into.set(this.#bytes(at, into.length)),
      store: (at, value, width) => {
        this.#view(at, width, (view) => store(view, value, width));
        watch.guestWrote(at, width);
        watch.referee?.changed();
      },
      write: (at, from) => {
        this.#bytes(at, from.length).set(from);
        watch.guestWrote(at, from.length);
        watch.referee?.changed();
      },
    };
    this.registers = {
      regions: [{
        read: (offset, width) => this.read(0, offset, width),
        write: (offset, value, width) => this.write(0, offset, value, width),
      }],
    };
  }

  /** Builds the machine. Throws what building one throws. */
  static async open(subject: DeviceSubject, options: BenchOptions): Promise<Bench> {
    const bench = new Bench(subject.hypervisor.host, options);
    await bench.#build(subject);
    return bench;
  }

  /** Notes a broken promise; the first one counts. */
  found(sentence: string): void {
    this.watch.found(sentence);
  }

  /** Ends the machine. What it throws is a finding, too. */
  async close(): Promise<void> {
    this.#closing = true;
    this.backends.heal();
    await this.#until(this.#hypervisor[Symbol.asyncDispose]());
  }

  /** Whether the device says that it is a virtio device, of a transport that the fuzzer speaks. */
  get virtio(): boolean {
    return this.watch.referee !== undefined;
  }

  /** Whether the fuzzer's own back end provides a service. */
  owns(service: string): boolean {
    return this.#own.includes(service);
  }

  /** Packets that were sent. */
  get sent(): number {
    return this.backends.sent + this.foreign.sent;
  }

  /** What was printed or sent last. */
  get output(): Bytes {
    return this.backends.outputs.at(-1) ?? this.foreign.output ?? new Uint8Array(0);
  }

  /** Nanoseconds of the machine's time. */
  get time(): Nanos {
    return this.#machine.stats().nanoseconds;
  }

  /** Lets the guest do these things, and waits until it did and the machine is idle. */
  async run(...acts: readonly (() => void)[]): Promise<void> {
    for (const act of acts) {
      this.#guest.acts.push(() => {
        if (!this.watch.finding) act();
      });
    }
    this.#guest.idle = false;
    this.host.work.resolve();
    this.host.work = Promise.withResolvers();
    await this.#until(() => this.#guest.idle && this.#guest.acts.length === 0);
    this.watch.checkState();
  }

  /** Lets virtual time pass; alarms fire. */
  async advance(nanos: Nanos): Promise<void> {
    this.note(`${nanos} ns pass`);
    this.host.time += nanos;
    await this.run(() => {});
  }

  /** Waits for the answers of back ends that somebody else wrote, and lets the device take them. */
  async answered(): Promise<void> {
    if (this.foreign.pending.size === 0) return;
    await this.#until(() => this.foreign.pending.size === 0);
    await this.run(() => {});
  }

  /** Pauses, looks at RAM and state, and resumes. */
  async pause(): Promise<void> {
    this.note("the machine pauses");
    await this.#until(this.#machine.stateHash());
    await this.#until(this.#machine.pause());
    this.check();
    this.#start();
  }

  /** The host is well again, and has nothing more for the device. */
  heal(): void {
    this.backends.heal();
    // Core keeps what came for a device that was reset in the middle of a call.
    const { stream, net } = this.watch.services;
    if (this.owns("stream")) drain(() => stream!.read(2 ** 20));
    if (this.owns("net")) drain(() => net!.receive(2 ** 20));
  }

  /** Resets the machine. */
  async reset(): Promise<void> {
    this.note("the machine is reset");
    await this.#until(this.#machine.reset());
    this.#start();
    await this.run(() => {});
  }

  /** Looks at what can be looked at at any time. */
  check(): void {
    const { watch } = this;
    if (watch.lent === 0) watch.checkRam();
    watch.checkState();
    if (watch.finding) throw watch.finding;
  }

  /** All interrupt lines that are up. */
  get lines(): string {
    return [...this.#guest.lines].sort().join(" ");
  }

  /** An access of the guest's; -1 is a fault. */
  read(region: number, offset: number, width: Width): number {
    const value = this.#guest.bus.read(this.#addresses[region] + offset, width);
    this.note(`${this.#place(region, offset)} is ${hex(value)} (${width})`);
    return value;
  }

  /** An access of the guest's; `false` is a fault. */
  write(region: number, offset: number, value: number, width: Width): boolean {
    this.note(`${this.#place(region, offset)} := ${hex(value)} (${width})`);
    const referee = region === 0 && width === 4 ? this.watch.referee : undefined;
    if (offset === REG.Status && value === 0) referee?.reset();
    referee?.before(offset, value);
    const taken = this.#guest.bus.write(this.#addresses[region] + offset, value, width);
    const complaint = referee?.after(offset, value, (at) => this.#guest.bus.read(this.#addresses[0] + at, 4));
    if (complaint) this.watch.found(complaint);
    return taken;
  }

  /** Pulls a line of an interrupt controller. */
  pull(line: number, level: boolean): void {
    this.note(`interrupt ${line + 1} goes ${level ? "up" : "down"}`);
    this.#helpers[line % HELPERS].set(level);
  }

  /** Puts a line into the trace. */
  note(line: string): void {
    this.#trace?.push(line);
  }

  // ---------------------------------------------------------------- inside

  async #build({ definition, config, backends = {}, hypervisor }: DeviceSubject): Promise<void> {
    const { watch, host } = this;
    this.#patient = Object.keys(backends).length > 0;
    this.#hypervisor = createHypervisor({ host });
    const helpers = Array.from(
      { length: HELPERS },
      (_, i): DeviceDescription => ({ use: "fuzz_line", name: `line${i}` }),
    );
    const own = Object.keys(this.backends.plugins).filter((service) =>
      definition.needs.includes(service) && !Object.hasOwn(backends, service)
    );
    this.#own = own;
    const plugins = {
      subject: watch.around(definition),
      fuzz_line: this.#helper(),
      fuzz_engine: this.#engine(),
      fuzz_board: this.#board(),
      ...Object.fromEntries(own.map((service) => [`fuzz_${service}`, this.backends.plugins[service]])),
      ...Object.fromEntries(
        await Promise.all(
          Object.values(backends).map(async ({ use }) =>
            [
              use,
              this.foreign.around(await hypervisor.find("backend", use, { path: "--backend" })),
            ] as const
          ),
        ),
      ),
    };
    const services = Object.fromEntries(own.map((service) => [service, { use: `fuzz_${service}` }]));
    this.#machine = await createMachine({
      engine: "fuzz_engine",
      board: "fuzz_board",
      memory: RAM_SIZE,
      cpus: 2,
      clock: this.options.clock,
      sharedMemory: this.options.sharedMemory,
      devices: [{ use: "subject", name: "device0", config, backends: { ...services, ...backends } }, ...helpers],
    }, { plugins, hypervisor: this.#hypervisor });
    this.regions = watch.device!.regions;
    this.#start();
    const magic = this.regions[0]?.size >= 0x100 && this.regions[0].widths.includes(4);
    await this.run(() => {
      if (!magic || this.read(0, REG.MagicValue, 4) !== IDENTITY.magic) return;
      if (this.read(0, REG.Version, 4) !== IDENTITY.version) return;
      watch.referee = new Referee(this.memory, RAM_BASE, RAM_SIZE);
    });
  }

  #engine() {
    return defineEngine({
      name: "fuzz_engine",
      architectures: ["fuzz"],
      defaultBoard: "fuzz_board",
      config: object({}),
      probe: () => Promise.resolve({ usable: true }),
      open: (context) => {
        this.#guest = new Guest(context, this.host, () => this.watch.referee?.reset());
        this.watch.attach(this.#guest.ram);
        return this.#guest;
      },
    });
  }

  #board() {
    return defineBoard({
      name: "fuzz_board",
      architecture: "fuzz",
      config: object({}),
      create: () => ({
        ramBase: RAM_BASE,
        timebase: 10_000_000,
        defaultDevices: [],
        place: (devices) => {
          let next = DEVICE_BASE;
          let irq = 1;
          const placements = devices.map((device) => ({
            addresses: device.regions.map(({ size }) => {
              const at = next;
              // A gap between two windows, so that an access beyond the end meets nothing.
              next += Math.ceil(size / 0x1000) * 0x1000 + 0x1000;
              return at;
            }),
            irq: device.irq && device.name !== "device0" ? irq++ : undefined,
          }));
          this.#addresses = placements[0].addresses;
          return placements;
        },
        unassigned: () => -1,
        boot: () => {},
        describe: () => new Uint8Array(0),
      }),
    });
  }

  #helper() {
    return defineDevice({
      name: "fuzz_line",
      needs: ["irq"],
      config: object({}),
      stateVersion: 1,
      create: ({ irq }) => {
        this.#helpers.push(irq);
        return { state: null, regions: [] };
      },
    });
  }

  /** Lets the machine run, again where it was off. */
  #start(): void {
    this.#off = false;
    this.#machine.run().then(
      () => this.#off = true,
      (error) => {
        if (!this.#closing) this.#failure ??= new Finding(String(error?.message ?? error));
      },
    );
  }

  /** Waits; what stands in the way is cleared by the host's answers, or found to be stuck. */
  async #until(done: Promise<unknown> | (() => boolean)): Promise<void> {
    let settled = false;
    let failed: unknown;
    if (done instanceof Promise) {
      done.then(() => settled = true, (error) => {
        settled = true;
        failed = error;
      });
    }
    let answers = 0;
    const started = performance.now();
    const isDone = typeof done === "function" ? done : () => settled;
    for (let turns = 1; !isDone(); turns++) {
      await this.host.turn();
      if (this.watch.finding) throw this.watch.finding;
      if (this.#failure) throw this.#failure;
      if (this.#off && typeof done === "function") {
        this.note("the machine is off");
        await this.#machine.reset();
        this.#start();
      }
      if (turns % PATIENCE === 0 && this.backends.settle()) {
        // A slow host is slow for a while.
        if (++answers > ANSWERS) this.backends.heal();
        turns = 1;
      }
      // What a host refuses it refuses for a while, too: there may be much that it refuses piece by piece.
      if (turns === STUCK / 2) this.backends.heal();
      // A disk of the host's takes its time, if it is no disk of the fuzzer's.
      if (turns > STUCK && (!this.#patient || performance.now() - started > ANSWER_SECONDS * 1000)) {
        const [request] = this.foreign.pending;
        throw new Finding(request ? `it does not answer ${request.what}` : "the machine is stuck");
      }
    }
    if (this.watch.finding) throw this.watch.finding;
    if (failed) throw new Finding(String((failed as Error)?.message ?? failed));
  }

  #place(region: number, offset: number): string {
    return `${this.regions[region].name}+0x${offset.toString(16)}`;
  }

  #bytes(at: Address, length: number): Uint8Array<ArrayBufferLike> {
    const { buffer, base, size } = this.#guest.ram;
    if (at < base || at + length > base + size) throw new RangeError(`The fuzzer left RAM: ${hex(at)}+${length}`);
    return new Uint8Array(buffer, at - base, length);
  }

  #view<T>(at: Address, width: number, act: (view: DataView) => T): T {
    const bytes = this.#bytes(at, width);
    return act(new DataView(bytes.buffer, bytes.byteOffset, width));
  }
}

/** Takes what there is, until it has to be waited for. */
function drain(take: () => unknown): void {
  for (;;) {
    const answer = take();
    if (answer instanceof Promise) return void answer.catch(() => {});
  }
}

function load(view: DataView, width: Width): number {
  return width === 4 ? view.getUint32(0, true) : width === 2 ? view.getUint16(0, true) : view.getUint8(0);
}

function store(view: DataView, value: number, width: Width): void {
  if (width === 4) view.setUint32(0, value, true);
  else if (width === 2) view.setUint16(0, value, true);
  else view.setUint8(0, value);
}

function hex(value: number): string {
  return value < 0 ? "a fault" : `0x${value.toString(16)}`;
}
