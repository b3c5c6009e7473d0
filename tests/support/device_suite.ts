// The conformance suite of the device contract: what core may do to any device, and what any guest will do to it.

import { assert, assertEquals } from "@std/assert";
import type {
  Bytes,
  Device,
  DeviceDefinition,
  DeviceTreePart,
  NetBackend,
  Plain,
  Region,
  ServiceName,
  StreamBackend,
} from "../../core/plugin.ts";
import { checkPlugin } from "../../core/registry.ts";
import { type FakeServices, fakeServices } from "./fake_services.ts";

/** How the suite runs over one device. */
export interface DeviceSuiteOptions {
  readonly config?: Plain;
  /** Does what a driver does, up to requests that the back ends have not answered: they are all slow here. */
  readonly work?: (device: Device, services: FakeServices) => void;
  /** Whether `work` leaves requests with the host. */
  readonly waits?: boolean;
}

// deno-lint-ignore no-explicit-any -- a suite over every device knows none of their config and state types
type AnyDevice = DeviceDefinition<any, any, any>;

const SERVICES: readonly ServiceName[] = [
  ...["irq", "dma", "clock", "inbox", "cpus", "power", "wallTime"] as const,
  ...["stream", "block", "net", "entropy"] as const,
];

/** A device in the middle of fakes. */
interface Rig {
  readonly device: Device;
  readonly services: FakeServices;
  /** The state as `create` made it. */
  readonly built: Plain;
  /** As core does it: drops what is under way, replaces the state, refreshes. */
  restore(state: Plain): void;
}

/** Back ends that never answer, and that mind when they are asked again before they did. */
class Silent {
  #asked = new Set<string>();

  readonly stream: StreamBackend = {
    read: () => this.#once("stream.read"),
    write: () => new Promise(() => {}),
  };
  readonly net: NetBackend = {
    offloads: true,
    linkUp: true,
    send() {},
    receive: () => this.#once("net.receive"),
    linkChange: () => new Promise(() => {}),
  };

  /** The device was reset, and its calls with it. */
  abandon(): void {
    this.#asked.clear();
  }

  #once(call: string): Promise<never> {
    if (this.#asked.has(call)) throw new Error(`${call} is called while a call is outstanding`);
    this.#asked.add(call);
    return new Promise(() => {});
  }
}

function assemble(definition: AnyDevice, { config = {} }: DeviceSuiteOptions, ram?: Bytes): Rig {
  const services = fakeServices({ ramSize: 256 * 1024, diskSize: 64 * 1024, cpus: 2 });
  if (ram) services.dma.ram.set(ram);
  services.block.slow = true;
  const silent = new Silent();
  const given: Record<string | symbol, unknown> = {
    ...services,
    stream: silent.stream,
    net: silent.net,
    config: definition.config.parse(config, definition.name),
    name: "device0",
  };
  const declared = new Set<string | symbol>([...definition.needs, "config", "name", "machine"]);
  const context = new Proxy(given, {
    get(target, key) {
      if (!declared.has(key)) throw new Error(`${definition.name} touches ${String(key)}, which it does not declare`);
      return target[key];
    },
    // A device may hand on all that it was given.
    ownKeys: () => [...declared],
  });
  const device: Device = definition.create(context as never);
  const built = structuredClone(device.state);
  services.bind(device);
  return {
    device,
    services,
    built,
    restore(state) {
      silent.abandon();
      device.state = structuredClone(state);
      device.refresh?.();
    },
  };
}

/** What the world sees of the device's interrupts. */
function lines({ services }: Rig): unknown {
  return [services.irq.level, [...services.cpus.lines].filter(([, level]) => level).map(([line]) => line).sort()];
}

/** Numbers below `limit`, the same in each run. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * limit);
  };
}

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x5555, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/** Reads and writes everywhere, in every width: what the guest's worst driver does. */
function molest(device: Device, seed: number): void {
  const random = randomNumbers(seed);
  for (const region of device.regions) {
    for (const offset of offsets(region, random)) {
      for (const width of region.widths) {
        const aligned = offset - offset % width;
        const value = random(4) ? random(2 ** 32) : EXTREMES[random(EXTREMES.length)];
        if (random(2)) region.write(aligned, width === 4 ? value : value % 2 ** (8 * width), width);
        const read = region.read(aligned, width);
        assert(
          Number.isInteger(read) && read >= 0 && read < 2 ** (8 * width),
          `${region.name}+0x${aligned.toString(16)} reads ${read} in ${width} bytes`,
        );
      }
    }
  }
}

/** The first registers, in and out of order, the last ones, and some of what lies between. */
function offsets({ size }: Region, random: (limit: number) => number): number[] {
  const head = Math.min(size, 0x200);
  return [
    ...Array.from({ length: head }, (_, i) => i),
    ...Array.from({ length: 1000 }, () => random(head)),
    ...Array.from({ length: 1000 }, () => random(size)),
    size - 8,
    size - 4,
  ];
}

function checkTree({ compatible, properties = {}, companions = {}, cpuLines = [] }: DeviceTreePart): void {
  for (const name of [compatible].flat()) assert(/^[\w.,-]+$/.test(name), `compatible ${name}`);
  const all = [properties, ...Object.values(companions)].flatMap((node) => Object.keys(node));
  for (const key of all) assert(/^[#\w,.+?-]{1,31}$/.test(key), `property ${key}`);
  for (const key of ["reg", "interrupts", "interrupts-extended", "phandle"]) {
    assert(!(key in properties), `${key} is the board's`);
  }
  for (const line of cpuLines) assert(Number.isSafeInteger(line) && line >= 0);
}

/** Registers the tests of the contract for one device. */
export function deviceSuite(definition: AnyDevice, options: DeviceSuiteOptions = {}): void {
  const { name } = definition;
  const build = (ram?: Bytes): Rig => assemble(definition, options, ram);

  Deno.test(`${name} is a device plugin that asks for services that there are`, () => {
    checkPlugin(definition, name);
    assertEquals(definition.kind, "device");
    assertEquals(definition.needs.filter((need) => !SERVICES.includes(need)), []);
    assertEquals(new Set(definition.needs).size, definition.needs.length);
  });

  Deno.test(`${name} describes its regions and its node of the device tree`, () => {
    const { device } = build();
    assertEquals(new Set(device.regions.map((region) => region.name)).size, device.regions.length);
    for (const { size, widths } of device.regions) {
      assert(Number.isSafeInteger(size) && size > 0 && size % 4 === 0);
      assert(widths.length > 0 && widths.every((width) => [1, 2, 4].includes(width)));
    }
    if (device.deviceTree) checkTree(device.deviceTree);
  });

  Deno.test(`${name} keeps its state plain and holds on to none of it`, () => {
    const { device, services } = build();
    options.work?.(device, services);
    const old = device.state;
    const copy = structuredClone(old);
    assertEquals(copy, old);
    device.state = structuredClone(old);
    for (const seed of [1, 2]) molest(device, seed);
    assertEquals(old, copy, "a state that was replaced changes no more");
  });

  Deno.test(`${name} takes hostile accesses without an exception`, () => {
    for (const seed of [1, 2, 3]) {
      const { device, services } = build();
      services.dma.ram.forEach((_, i, ram) => ram[i] = i * seed >> 3);
      molest(device, seed);
      services.clock.advance(1e9);
      options.work?.(device, services);
      molest(device, seed + 10);
    }
  });

  Deno.test(`${name} comes back from a reset as it was built`, () => {
    const fresh = build();
    const used = build();
    options.work?.(used.device, used.services);
    molest(used.device, 4);
    used.restore(used.built);
    assertEquals(used.device.state, fresh.device.state);
    assertEquals(lines(used), lines(fresh));
  });

  Deno.test(`${name} may be paused and resumed twice`, async () => {
    const { device, services } = build();
    options.work?.(device, services);
    const before = structuredClone(device.state);
    for (let time = 0; time < 2; time++) await device.pause?.();
    for (let time = 0; time < 2; time++) device.resume?.();
    assertEquals(device.state, before);
  });

  Deno.test(`${name} restores a snapshot from the middle of its work, in place and elsewhere`, () => {
    const rig = build();
    options.work?.(rig.device, rig.services);
    assertEquals(rig.services.inbox.pending > 0, options.waits ?? false);
    const state = structuredClone(rig.device.state);
    const ram = rig.services.dma.ram.slice();
    const seen = lines(rig);

    molest(rig.device, 5);
    rig.services.dma.ram.set(ram);
    rig.restore(state);
    assertEquals(rig.device.state, state);
    assertEquals(lines(rig), seen);

    const other = build(ram);
    other.services.clock.now = rig.services.clock.now;
    other.restore(state);
    assertEquals(other.device.state, state);
    assertEquals(lines(other), seen);
    assertEquals(other.services.inbox.pending > 0, options.waits ?? false, "requests in flight are issued again");
  });
}
