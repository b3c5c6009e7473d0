// Builds a machine from its plan: back ends, engine, devices, wires, boot. What fails midway is closed again.

import { type OpenBackends, openBackends } from "./backends.ts";
import { bootLoader, openBootFiles } from "./boot.ts";
import { Bus } from "./bus.ts";
import { Alarms, HostTime, InstructionTime } from "./clock.ts";
import { Devices } from "./devices.ts";
import { messageOf, placed } from "./errors.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { Inbox, type InboxEvent } from "./inbox.ts";
import { Interrupts } from "./irq.ts";
import { Machine } from "./machine.ts";
import { GuestMemory } from "./memory.ts";
import { CORE_SERVICES, type Plan, planMachine, type PlannedDevice } from "./plan.ts";
import type {
  Bytes,
  Clock,
  CoreServices,
  Device,
  DeviceContext,
  Dma,
  Engine,
  Firmware,
  Keep,
  MachineDescription,
  Placeable,
  PlacedDevice,
  PluginDefinition,
  Region,
  ServiceName,
  StreamBackend,
} from "./plugin.ts";
import { Requests } from "./requests.ts";
import { show } from "./schema.ts";

/** How {@linkcode buildMachine} builds. */
export interface BuildOptions {
  readonly hypervisor: Hypervisor;
  /** The URL against which relative paths and specifiers resolve. */
  readonly base?: string;
  /** Plugins imported by the caller. */
  readonly plugins?: Readonly<Record<string, PluginDefinition>>;
  readonly log?: (line: string) => void;
  /** Fixes the instructions of a quantum. */
  readonly quantum?: number;
  /** Gets every input as it is delivered. */
  readonly record?: (event: InboxEvent) => void;
}

/** Builds a machine, paused before its first instruction. Throws one clear sentence for everything wrong. */
export async function buildMachine(description: MachineDescription, options: BuildOptions): Promise<Machine> {
  const { hypervisor, base, plugins } = options;
  const plan = await planMachine(description, {
    registry: hypervisor.registry,
    host: hypervisor.host,
    engines: hypervisor.engines,
    base,
    plugins,
  });
  const assembly = new Assembly(plan, options);
  try {
    const machine = await assembly.build();
    hypervisor.adopt(machine);
    return machine;
  } catch (error) {
    await assembly.close();
    throw error;
  }
}

/** A device between its creation and its place on the board. */
interface Created {
  readonly planned: PlannedDevice;
  readonly device: Device;
  readonly open: OpenBackends;
  readonly connect?: (input: number) => void;
}

/** The wall time at which a machine under the instruction clock is built: 2025-01-01, microseconds since 1970. */
const SEEDED_EPOCH = 1_735_689_600_000_000;

/** A machine being put together. */
class Assembly {
  readonly #plan: Plan;
  readonly #options: BuildOptions;
  readonly #log: (line: string) => void;
  readonly #requests: Requests;
  readonly #time: HostTime | InstructionTime;
  readonly #alarms: Alarms;
  readonly #inbox: Inbox;
  readonly #interrupts = new Interrupts();
  readonly #devices: Devices;
  readonly #bus: Bus;
  readonly #deterministic: boolean;
  readonly #closers: { readonly title: string; close(): void | Promise<void> }[] = [];
  /** Known once it is open: clocks and firmware are made before. */
  #engine: Engine | undefined;
  #memory: GuestMemory | undefined;
  #machine: Machine | undefined;
  #print: ((bytes: Bytes) => void) | undefined;

  constructor(plan: Plan, options: BuildOptions) {
    const { host } = options.hypervisor;
    this.#plan = plan;
    this.#options = options;
    this.#log = options.log ?? (() => {});
    this.#deterministic = plan.description.clock === "instructions";
    const requests = this.#requests = new Requests(plan.description.name);
    const time = this.#time = this.#deterministic
      ? new InstructionTime(() => this.#engine?.retired ?? 0)
      : new HostTime(host);
    const failed = (owner: string, action: string, error: unknown): void =>
      requests.fail(`${owner} threw while ${action}: ${messageOf(error)}`, error);
    this.#alarms = new Alarms({
      time,
      earlier: (deadline) => requests.earlier(deadline),
      failed: (owner, alarm, error) => failed(owner, `serving its alarm ${alarm}`, error),
    });
    this.#inbox = new Inbox({
      now: () => time.now,
      deterministic: this.#deterministic,
      deliver: (device, event, token, payload) => this.#devices.deliver(device, event, token, payload),
      arrived: () => requests.poke(),
      scheduled: (at) => requests.earlier(at),
      log: this.#log,
      record: options.record,
    });
    this.#devices = new Devices({ alarms: this.#alarms, inbox: this.#inbox, interrupts: this.#interrupts, failed });
    this.#bus = new Bus({ unassigned: (at, width, write) => plan.board.unassigned(at, width, write), failed });
  }

  async build(): Promise<Machine> {
    const { devices, description } = this.#plan;
    const firmware = this.#firmware();
    const { hypervisor, base, quantum } = this.#options;
    const { host } = hypervisor;
    // What the host has to fetch is under way while the engine starts.
    const files = openBootFiles({ host, base, files: description.boot });
    files.catch(() => {}); // thrown where they are needed
    const keep = this.#keep();
    const opened: [PlannedDevice, OpenBackends][] = [];
    for (const planned of devices) opened.push([planned, await this.#openBackends(planned)]);
    this.#print = opened.find(([, { print }]) => print)?.[1].print;
    const engine = await this.#openEngine(firmware, keep);
    const memory = this.#memory = new GuestMemory(engine.ram, {
      written: (at, length) => engine.invalidate(at, length),
      privateLoans: this.#deterministic,
    });
    const placed = this.#place(opened.map(([planned, open]) => this.#create(planned, open)));
    const pipes = new Map<string, StreamBackend>();
    for (const [{ name }, { pipe }] of opened) if (pipe) pipes.set(name, pipe);

    const boot = bootLoader({
      host,
      base,
      files: description.boot,
      board: this.#plan.board,
      engine,
      memory,
      devices: placed,
      deterministic: this.#deterministic,
    }, files);
    const tree = await boot();
    this.#devices.refresh();
    if (this.#requests.failure) throw this.#requests.failure;
    const machine = this.#machine = new Machine({
      name: description.name,
      host,
      turns: hypervisor.turns,
      engine,
      memory,
      time: this.#time,
      alarms: this.#alarms,
      inbox: this.#inbox,
      devices: this.#devices,
      requests: this.#requests,
      pipes,
      quantum,
      boot,
      tree,
      close: async () => {
        hypervisor.release(this.#machine!);
        await this.close();
      },
      log: this.#log,
    });
    return machine;
  }

  /** Closes what is open, last first. What fails at that is logged. */
  async close(): Promise<void> {
    this.#inbox.clear();
    for (const { title, close } of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        this.#log(`Cannot close ${title}: ${messageOf(error)}`);
      }
    }
    this.#closers.length = 0;
  }

  #closing(title: string, close: () => void | Promise<void>): void {
    this.#closers.push({ title, close });
  }

  #openBackends(planned: PlannedDevice): Promise<OpenBackends> {
    const { hypervisor, base } = this.#options;
    const services = planned.definition.needs.filter((need) => !CORE_SERVICES.includes(need));
    return openBackends(planned, services, {
      deterministic: this.#deterministic,
      seed: this.#plan.description.seed,
      entropy: (into) => hypervisor.host.entropy(into),
      hold: (promise) => this.#requests.hold(promise),
      closing: (title, close) => this.#closing(title, close),
      context: (name) => ({
        name,
        base,
        shared: (key, make) => hypervisor.shared(key, make),
        log: (line) => this.#log(`${name}: ${line}`),
        quit: () => this.#machine ? this.#machine.powerOff() : this.#requests.askPower("off"),
      }),
    });
  }

  /** The board's firmware, which is asked for before there is an engine to serve. */
  #firmware(): Firmware | undefined {
    const { board, boardName, description } = this.#plan;
    if (description.boot.bios !== undefined) return undefined;
    const ram = (): GuestMemory => this.#memory!;
    const memory: Dma = {
      load: (at, width) => ram().load(at, width),
      store: (at, value, width) => ram().store(at, value, width),
      load64: (at) => ram().load64(at),
      borrow: (at, length, access) => ram().borrow(at, length, access),
      read: (at, into) => ram().read(at, into),
      write: (at, from) => ram().write(at, from),
    };
    return board.firmware?.({
      harts: () => this.#engine!.harts,
      clock: this.#alarms.clock(boardName),
      power: this.#requests.askPower,
      console: (bytes) => this.#print?.(bytes),
      memory,
    });
  }

  async #openEngine(firmware: Firmware | undefined, keep: Keep | undefined): Promise<Engine> {
    const { engine: { definition, config }, board, description } = this.#plan;
    const probe = await definition.probe();
    if (!probe.usable) throw new Error(`Cannot use the engine ${definition.name} here: ${probe.why}`);
    const engine = await definition.open({
      config,
      ram: { base: board.ramBase, size: description.memory, shared: description.sharedMemory },
      harts: description.cpus,
      bus: this.#bus,
      ports: board.ports,
      clock: this.#alarms.clock(definition.name),
      timebase: board.timebase,
      deterministic: this.#deterministic,
      console: (bytes) => this.#print?.(bytes),
      firmware,
      keep,
      power: this.#requests.askPower,
    });
    this.#closing(`the engine ${definition.name}`, () => engine.dispose());
    this.#engine = engine;
    this.#requests.attach(engine);
    return engine;
  }

  /**
   * Where the engine keeps something for machines that boot the same files, which is being read. Where that fails, it
   * does without.
   */
  #keep(): Keep | undefined {
    const { hypervisor: { keep, host }, base } = this.#options;
    const { description: { boot, cpus }, engine: { definition: { name: engine } } } = this.#plan;
    const files = [boot.kernel, boot.initrd, boot.bios];
    if (!keep || !files.every((file) => file === undefined || typeof file === "string")) return undefined;
    let key;
    try {
      key = JSON.stringify([engine, cpus, ...files.map((file) => file && host.resolve(file, base))]);
    } catch {
      return undefined; // a location that nothing is found at: told of by its name where it is opened
    }
    const failed = (what: string) => (error: unknown): undefined => {
      this.#log(`Cannot ${what} what the engine ${engine} keeps: ${messageOf(error)}`);
    };
    const place = keep(key);
    const loaded = place.load().catch(failed("read"));
    return {
      load: () => loaded,
      save: (bytes) => place.save(bytes).catch(failed("write")),
    };
  }

  #create(planned: PlannedDevice, open: OpenBackends): Created {
    const { name, definition, config } = planned;
    let connect: Created["connect"];
    const makers: { [N in keyof CoreServices]: () => CoreServices[N] } = {
      irq: () => {
        const line = this.#interrupts.line();
        connect = line.connect;
        return { set: line.set };
      },
      dma: () => this.#memory!,
      clock: (): Clock => this.#alarms.clock(name),
      inbox: () => this.#inbox.port(name),
      cpus: () => {
        const harts = this.#engine!.harts;
        return { count: harts.length, set: (cpu, line, level) => harts[cpu].setInterrupt(line, level) };
      },
      power: () => this.#requests.askPower,
      wallTime: () => this.#wallTime(),
    };
    const services = definition.needs.map((need) => [
      need,
      need in makers ? makers[need as keyof CoreServices]() : open.services[need],
    ]);
    const machine = this.#plan.description.name;
    const context = { ...Object.fromEntries(services), config, name, machine } as DeviceContext<ServiceName, unknown>;
    const device = createDevice(planned, Object.freeze(context));
    this.#closing(name, () => device.dispose?.());
    this.#devices.add({ name, definition, device, abandon: open.abandon, entropy: open.seeded });
    return { planned, device, open, connect };
  }

  #wallTime(): () => number {
    if (!this.#deterministic) return () => this.#options.hypervisor.host.wallTime();
    const start = SEEDED_EPOCH + this.#plan.description.seed * 1_000_000;
    return () => start + Math.floor(this.#time.now / 1000);
  }

  /** Gives every device its addresses and its interrupt. */
  #place(created: readonly Created[]): PlacedDevice[] {
    const { board } = this.#plan;
    const placeables = created.map(({ planned, device }): Placeable => ({
      name: planned.name,
      plugin: planned.definition.name,
      regions: device.regions.map(({ name, size }) => ({ name, size })),
      irq: planned.definition.needs.includes("irq"),
      at: planned.at,
      irqNumber: planned.irqNumber,
    }));
    const placements = board.place(placeables);
    created.forEach(({ planned: { name }, device, connect }, index) => {
      const { addresses, irq } = placements[index];
      device.regions.forEach((region, i) => this.#addRegion(name, region, addresses[i]));
      if (irq !== undefined) connect?.(irq);
    });
    this.#attachController(created);
    return placeables.map(({ irq: _asked, ...placeable }, i) => ({
      ...placeable,
      ...placements[i],
      tree: created[i].device.deviceTree,
    }));
  }

  #addRegion(name: string, region: Region, base: number): void {
    const ram = this.#memory!;
    if (base < ram.base + ram.size && ram.base < base + region.size) {
      throw new RangeError(`Cannot place ${name}.${region.name} at 0x${base.toString(16)}: it overlaps RAM`);
    }
    this.#bus.add(name, region, base);
  }

  #attachController(created: readonly Created[]): void {
    const controllers = created.filter(({ device }) => device.controller);
    if (controllers.length > 1) {
      const names = controllers.map(({ planned }) => planned.name).join(" and ");
      throw new TypeError(`Cannot wire interrupts: wanted one interrupt controller, got ${names}`);
    }
    const [only] = controllers;
    const { controller } = this.#engine!;
    if (controller) this.#interrupts.attach(`the engine ${this.#plan.engine.definition.name}`, controller);
    if (only) this.#interrupts.attach(only.planned.name, only.device.controller!);
  }
}

/** Calls a plugin's `create`. Throws a `TypeError` unless it gave a device. */
function createDevice({ name, definition }: PlannedDevice, context: DeviceContext<ServiceName, unknown>): Device {
  const place = `Cannot create ${name}: ${definition.name}.create`;
  let device;
  try {
    device = definition.create(context);
  } catch (error) {
    throw placed(error, place);
  }
  if (typeof device !== "object" || device === null) throw new TypeError(`${place} gave ${show(device)}, not a device`);
  if (!("state" in device)) throw new TypeError(`${place} gave a device without state`);
  if (!Array.isArray(device.regions)) throw new TypeError(`${place} gave a device without a list of regions`);
  for (const region of device.regions) {
    if (typeof region?.read !== "function" || typeof region.write !== "function" || !Array.isArray(region.widths)) {
      throw new TypeError(`${place} gave a region without name, size, widths, read or write`);
    }
  }
  return device;
}
