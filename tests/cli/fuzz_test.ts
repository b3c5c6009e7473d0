// cli/fuzz.ts: the fuzzer finds each kind of broken promise, cuts the case down, and makes it again from its seed.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fuzzDevice, type Report } from "../../cli/fuzz/fuzz.ts";
import { loadSubject } from "../../cli/fuzz/subject.ts";
import type { AnyDevice } from "../../cli/fuzz/watch.ts";
import { defineDevice, type Device, object, type Plain, type ServiceName } from "../../mod.ts";
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

async function fuzz(definition: AnyDevice, seed = 1): Promise<Report> {
  const subject = await loadSubject({ use: "syscon" });
  return await fuzzDevice({ ...subject, definition }, { seed, cases: 40 });
}

const RAM = 0x8000_0000;

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
    {
      ...virtioRng,
      create: (context) =>
        virtioRng.create({
          ...context,
          dma: { ...context.dma, write: (at: number, bytes: Uint8Array) => context.dma.write(at + 1, bytes) },
        } as never),
    } as AnyDevice,
    /wrote \d+ bytes at 0x\w+, which no chain offers/,
  ],
  "starts queues of any size": [
    {
      ...virtioRng,
      create(context) {
        const made = virtioRng.create(context as never);
        const [region] = made.regions;
        // A number of entries that can not be becomes the next lower one that can: no byte is written elsewhere.
        const lower = (entries: number): number => entries > 0 ? 2 ** Math.floor(Math.log2(Math.min(entries, 64))) : 0;
        const write: typeof region.write = (offset, value, width) =>
          region.write(offset, offset === 0x38 ? lower(value) : value, width);
        return Object.defineProperty(made, "regions", { value: [{ ...region, read: region.read, write }] });
      },
    } as AnyDevice,
    /it starts a queue of \d+ entries, of at most 64/,
  ],
  "refuses a driver after a reset": [
    {
      ...virtioRng,
      create(context) {
        const made = virtioRng.create(context as never);
        const [region] = made.regions;
        let starts = 0;
        // It comes up twice, and then no more.
        const write: typeof region.write = (offset, value, width) => {
          if (offset === 0x70 && value === 15 && ++starts > 2) return;
          region.write(offset, value, width);
        };
        return Object.defineProperty(made, "regions", { value: [{ ...region, read: region.read, write }] });
      },
    } as AnyDevice,
    /after a reset it does not give random bytes/,
  ],
};

for (const [does, [definition, sentence]] of Object.entries(FAULTS)) {
  Deno.test(`fuzz finds a device that ${does}, and needs few steps to show it`, async () => {
    const { failure } = await fuzz(definition);
    assert(failure, "nothing was found");
    assertMatch(failure.sentence, sentence);
    assert(failure.steps.length <= 12, `${failure.steps.length} steps`);
    const again = await fuzzDevice(
      { ...await loadSubject({ use: "syscon" }), definition },
      { seed: failure.seed, cases: 1, steps: failure.steps },
    );
    assertEquals(again.failure?.sentence, failure.sentence);
  });
}

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

Deno.test("fuzz refuses what is no device", async () => {
  const { code, err } = await denovisor(["fuzz", "file_disk"]);
  assertEquals(code, 1);
  assertMatch(err, /wanted a device plugin, got backend file_disk/);
});
