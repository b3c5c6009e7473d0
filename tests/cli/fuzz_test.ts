// cli/fuzz.ts before devices: it finds each kind of broken promise, cuts the case down, and makes it again from its seed.

import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { fuzz, type Report } from "../../cli/fuzz/fuzz.ts";
import { loadDevice } from "../../cli/fuzz/subject.ts";
import { type AnyDevice, LIMITS } from "../../cli/fuzz/watch.ts";
import {
  type BackendServices,
  type CoreServices,
  defineDevice,
  type Device,
  object,
  type Plain,
  type Region,
  type ServiceName,
} from "../../mod.ts";
import { REG } from "../../devices/virtio/registers.ts";
import serial16550 from "../../devices/serial_16550.ts";
import virtioBlk from "../../devices/virtio_blk.ts";
import virtioConsole from "../../devices/virtio_console.ts";
import virtioNet from "../../devices/virtio_net.ts";
import virtioRng from "../../devices/virtio_rng.ts";
import { denovisor } from "../support/denovisor.ts";

/** A device of one 4-byte register at each multiple of 4. */
function device(
  needs: ServiceName[],
  make: (
    services: Record<string, never>,
  ) => { state: Plain; write(offset: number, value: number): void } & Partial<Device>,
): AnyDevice {
  return defineDevice({
    name: "faulty",
    needs,
    config: object({}),
    stateVersion: 1,
    create: (services) => {
      const made = make(services as never);
      const region = { name: "regs", size: 0x40, widths: [4] as const, read: () => 0, write: made.write };
      return Object.assign(made, { regions: made.regions ?? [region] });
    },
  });
}

async function fuzzed(definition: AnyDevice, seed = 1): Promise<Report> {
  const subject = await loadDevice({ use: "syscon" });
  return await fuzz({ ...subject, definition }, { seed, cases: 40 });
}

const RAM = 0x8000_0000;

/** What a device may be given. */
type Services = CoreServices & BackendServices;

/** A device, and how often its machine was reset. */
function counted(device: Device): { device: Device; resets: () => number } {
  let resets = -1; // it is refreshed when it was built, too
  const refresh = device.refresh?.bind(device);
  Object.defineProperty(device, "refresh", {
    value() {
      resets++;
      refresh?.();
    },
  });
  return { device, resets: () => resets };
}

/** Something with other members. */
function other(thing: object, members: object): object {
  return Object.create(
    thing,
    Object.fromEntries(Object.entries(members).map(([name, value]) => [name, { value, enumerable: true }])),
  );
}

/** A built-in device that has some of its services otherwise. */
function otherwise(
  definition: AnyDevice,
  change: (services: Services, resets: () => number) => { [S in keyof Services]?: Partial<Services[S]> },
): AnyDevice {
  return {
    ...definition,
    create(context) {
      const services = context as unknown as Services;
      const changes = Object.entries(change(services, () => resets()));
      const replaced = changes.map(([name, members]) => [name, other(services[name as keyof Services], members)]);
      const { device, resets } = counted(definition.create({ ...context, ...Object.fromEntries(replaced) }));
      return device;
    },
  };
}

/** A built-in device that has its registers otherwise. */
function changed(
  definition: AnyDevice,
  change: (region: Region, resets: () => number) => Partial<Region>,
): AnyDevice {
  return {
    ...definition,
    create(context) {
      const { device, resets } = counted(definition.create(context));
      const [region] = device.regions;
      return Object.defineProperty(device, "regions", { value: [other(region, change(region, resets))] });
    },
  };
}

/** Each breaks one promise, and how the fuzzer says so. */
const FAULTS: Record<string, readonly [definition: AnyDevice, sentence: RegExp]> = {
  "throws in a register": [
    device([], () => ({
      state: 0,
      write(offset, value) {
        if (offset === 0x10 && value > 0xffff) throw new RangeError("no such mode");
      },
    })),
    /device0 threw while writing regs\+0x10: no such mode/,
  ],
  "throws what its memory throws": [
    device(
      ["dma"],
      ({ dma }) => ({ state: 0, write: (_, value) => (dma as { load(at: number, w: number): void }).load(value, 4) }),
    ),
    /is not RAM/,
  ],
  "throws in an alarm": [
    device(["clock"], ({ clock }) => {
      type Clock = { now: number; alarm(name: string, fire: () => void): { at(at: number): void } };
      const alarm = (clock as Clock).alarm("tick", () => {
        throw new Error("tick");
      });
      return { state: 0, write: () => alarm.at((clock as Clock).now) };
    }),
    /threw while serving its alarm tick/,
  ],
  "works without a bound": [
    device(["dma"], ({ dma }) => ({
      state: 0,
      write(_, value) {
        for (let i = 0; i < value; i++) (dma as { load(at: number, w: number): void }).load(RAM, 4);
      },
    })),
    /works without a bound: \d+ operations/,
  ],
  "grows": [
    device([], () => {
      const self = {
        state: [] as Plain[],
        write: () => void self.state.push(new Uint8Array(100_000)),
      };
      return self;
    }),
    /its state grew from 8 to \d+ bytes/,
  ],
  "keeps what is not plain": [
    device([], () => {
      const self: { state: Plain; write(): void } = {
        state: {},
        write: () => self.state = { when: new Date() as never },
      };
      return self;
    }),
    /wanted plain data, got a Date/,
  ],
  "remembers beyond a reset": [
    device([], () => {
      let hidden = 0;
      return {
        state: 0,
        write: (_, value) => void (hidden = value),
        regions: [{
          name: "regs",
          size: 16,
          widths: [4] as const,
          read: () => hidden,
          write: (_offset: number, value: number) => void (hidden = value),
        }],
      };
    }),
    /after a reset it is not as it was new: wanted regs\+0x0 as 0, got regs\+0x0 as \d+/,
  ],
  "writes to memory that it gave back": [
    device(["dma"], ({ dma }) => {
      type Loans = {
        borrow(at: number, length: number, access: "write"): { bytes: Uint8Array; done(n?: number): void };
      };
      let kept: Uint8Array | undefined;
      return {
        state: 0,
        write() {
          if (kept) return void kept[0]++;
          const loan = (dma as Loans).borrow(RAM, 16, "write");
          kept = loan.bytes;
          loan.done();
        },
      };
    }),
    /RAM at 0x80000000 changed, and nobody said so/,
  ],
  "fails with its host": [
    device(["block", "inbox"], ({ block }) => ({
      state: 0,
      write: () => void (block as { flush(): unknown }).flush(),
    })),
    /(threw while writing regs\+0x\w+|looks at no promise that is refused): EIO/,
  ],
  "writes beside a chain": [
    otherwise(virtioRng, ({ dma }) => ({ dma: { write: (at, bytes) => dma.write(at + 1, bytes) } })),
    /wrote \d+ bytes at 0x\w+, which no chain offers/,
  ],
  "writes to a chain that it gave back": [
    otherwise(virtioRng, ({ dma }) => {
      let before = 0;
      return {
        dma: {
          write(at, bytes) {
            dma.write(at, bytes);
            if (before) dma.write(before, bytes.subarray(0, 1));
            before = bytes.length > 0 ? at : before;
          },
        },
      };
    }),
    /wrote 1 bytes at 0x\w+, which no chain offers/,
  ],
  "gives a chain back before the host gives back its memory": [
    otherwise(virtioBlk, ({ dma }) => ({
      dma: {
        borrow(at, length, access) {
          const loan = dma.borrow(at, length, access);
          return { bytes: loan.bytes, done: (written) => void Promise.resolve().then(() => loan.done(written)) };
        },
        // Of the number of bytes it says nothing wrong.
        store: (at, value, width) => dma.store(at, width === 4 && at % 8 === 0 ? 0 : value, width),
      },
    })),
    /wrote \d+ bytes at 0x\w+, which no chain offers/,
  ],
  "says that it wrote more than there is room for": [
    otherwise(virtioRng, ({ dma }) => ({
      dma: { store: (at, value, width) => dma.store(at, width === 4 && value > 64 ? value + 1 : value, width) },
    })),
    /says that it wrote \d+ bytes to a chain that has \d+ to be written/,
  ],
  "says that it wrote more than it did": [
    otherwise(
      virtioRng,
      ({ dma }) => ({ dma: { write: (at, bytes) => dma.write(at, bytes.subarray(0, bytes.length - 1)) } }),
    ),
    /says that it wrote \d+ bytes to a chain, and did not write all of them/,
  ],
  "gives back what it was not offered": [
    otherwise(virtioRng, ({ dma }) => ({
      dma: { store: (at, value, width) => dma.store(at, width === 4 && at % 8 === 4 ? value ^ 1 : value, width) },
    })),
    /gives back a chain that begins with descriptor \d+, and has none/,
  ],
  "starts queues of any size": [
    changed(virtioRng, ({ write }) => {
      // A number of entries that can not be becomes the next lower one that can: no byte is written elsewhere.
      const lower = (entries: number): number => entries > 0 ? 2 ** Math.floor(Math.log2(Math.min(entries, 64))) : 0;
      return { write: (offset, value, width) => write(offset, offset === REG.QueueNum ? lower(value) : value, width) };
    }),
    /it starts a queue of \d+ entries, of at most 64/,
  ],
  "forgets what is written to it after a reset": [
    otherwise(virtioBlk, ({ block }, resets) => ({
      block: { write: (position, from) => resets() > 0 ? "ok" : block.write(position, from) },
    })),
    /after a reset it does not read what was written to a sector/,
  ],
  "receives nothing after a reset": [
    otherwise(virtioNet, ({ net }, resets) => ({
      net: { receive: (max) => resets() > 0 ? new Promise(() => {}) : net.receive(max) },
    })),
    /after a reset it does not receive a frame/,
  ],
  "reads nothing after a reset": [
    otherwise(virtioConsole, ({ stream }, resets) => ({
      stream: { read: (max) => resets() > 0 ? new Promise(() => {}) : stream.read(max) },
    })),
    /after a reset it does not read what is typed/,
  ],
  "prints nothing any more once its host failed": [
    otherwise(serial16550, ({ stream }) => {
      let failed = false;
      return {
        stream: {
          async write(bytes) {
            await (failed ? undefined : Promise.resolve(stream.write(bytes)).catch(() => void (failed = true)));
          },
        },
      };
    }),
    /after a reset it is not as it was new: wanted the host got \[\d+\].*, got the host got/,
  ],
  "refuses a driver after a reset": [
    changed(virtioRng, ({ write }) => {
      let starts = 0;
      return {
        // It comes up twice, and then no more.
        write(offset, value, width) {
          if (offset !== REG.Status || value !== 15 || ++starts <= 2) write(offset, value, width);
        },
      };
    }),
    /after a reset it does not give random bytes/,
  ],
  "does not interrupt once it is reset": [
    changed(virtioRng, ({ read }, resets) => ({
      read: (offset, width) => offset === REG.InterruptStatus && resets() > 0 ? 0 : read(offset, width),
    })),
    /after a reset it does not give random bytes/,
  ],
};

for (const [does, [definition, sentence]] of Object.entries(FAULTS)) {
  Deno.test(`fuzz finds a device that ${does}, and needs few steps to show it`, async () => {
    const { failure } = await fuzzed(definition);
    assert(failure, "nothing was found");
    assertMatch(failure.sentence, sentence);
    assert(failure.steps.length <= 12, `${failure.steps.length} steps`);
    const again = await fuzz(
      { ...await loadDevice({ use: "syscon" }), definition },
      { seed: failure.seed, cases: 1, steps: failure.steps },
    );
    assertEquals(again.failure?.sentence, failure.sentence);
  });
}

/** A device that lets more time pass than it may, at the first write to it for so many times. */
function slow(times: number, pass: (milliseconds: number) => void): AnyDevice {
  return device([], () => {
    let written = false;
    return {
      state: 0,
      write() {
        if (!written && times-- > 0) pass(LIMITS.milliseconds + 50);
        written = true;
      },
    };
  });
}

Deno.test("fuzz finds a device that takes too long, but not for a host that was slow once", async () => {
  const { now } = performance;
  let passed = 0;
  const pass = (milliseconds: number) => void (passed += milliseconds);
  performance.now = () => now.call(performance) + passed;
  try {
    const { failure } = await fuzzed(slow(Infinity, pass));
    assertMatch(failure?.sentence ?? "nothing was found", /^writing 0x\w+ to regs\+0x\w+ took 2\d\d\d ms$/);
    assertEquals((await fuzzed(slow(1, pass))).failure, undefined);
  } finally {
    performance.now = now;
  }
});

Deno.test("fuzz lets a device pass that has a GiB to print, for a host that refuses it piece by piece", async () => {
  const subject = await loadDevice({ use: "virtio_console", config: { columns: 80, rows: 25 } });
  const { most, failure } = await fuzz(subject, { seed: 300_376, cases: 1, steps: [109, 112, 118] });
  assertEquals(failure, undefined);
  assertGreater(most.bytes, 16 * 1024, "a piece is printed");
});

Deno.test("fuzz lets a device in order pass, and says what it took", async () => {
  const { code, out } = await denovisor(["fuzz", "./examples/devices/thermometer.ts", "--seed", "3", "--cases", "5"]);
  assertEquals(code, 0, out);
  assertMatch(out, /thermometer\.ts: 5 cases of 120 steps from seed 3 on, all well; at most 0 operations/);
});

Deno.test("fuzz tells a failing case of a user's own device, and how to see it again", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/lamp.ts`;
    const mod = new URL("../../mod.ts", import.meta.url).href;
    await Deno.writeTextFile(
      path,
      `import { defineDevice, object } from ${JSON.stringify(mod)};
export default defineDevice({ name: "lamp", needs: [], config: object({}), stateVersion: 1, create: () => ({
  state: {},
  regions: [{ name: "regs", size: 4, widths: [4], read: () => 0, write(_: number, v: number) { if (v > 7) for (;;); } }],
}) });`,
    );
    const { code, out } = await denovisor(["fuzz", path, "--seed", "5", "--cases", "3", "--patience", "1"]);
    assertEquals(code, 1);
    assertStringIncludes(out, "a step hangs: it took more than 1 seconds");
    assertMatch(out, /again: denovisor fuzz '.*lamp\.ts' --seed \d+ --cases 1 --steps \d+/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("fuzz refuses what is neither a device nor a back end", async () => {
  const { code, err } = await denovisor(["fuzz", "riscv"]);
  assertEquals(code, 1);
  assertMatch(err, /wanted a device plugin, got engine riscv/);
});
