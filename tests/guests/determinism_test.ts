// The instruction clock: boots of Linux with the same inputs are the same to the bit, whatever the quanta, and whatever is compiled when.

import { assertEquals, assertGreater, assertNotEquals, assertStringIncludes } from "@std/assert";
import { type Bytes, createHypervisor, defineBackend, defineDevice, type Keep, type Nanos, object } from "../../mod.ts";
import { guestImage, LinuxGuest, within } from "../support/linux_guest.ts";

const image = (await guestImage())!;

/** Virtual time between two looks at the state. */
const INTERVAL: Nanos = 5e8;

/** Entropy, the wall's clock, the virtual one, a disk's contents and its timing. */
const WORK =
  "cat /proc/uptime; date; head -c 100k /dev/urandom | sha256sum; head -c 1m /dev/vda | sha256sum; cat /proc/interrupts";

interface Look {
  readonly nanoseconds: number;
  readonly instructions: number;
  readonly hash: string;
}

/** Writes a byte whenever an interval is over: under the instruction clock the guest stands still until it is taken. */
const test_ticker = defineDevice({
  name: "test_ticker",
  needs: ["clock", "stream"],
  config: object({}),
  stateVersion: 1,
  create({ clock, stream }) {
    const alarm = clock.alarm("tick", () => {
      device.state.next += INTERVAL;
      alarm.at(device.state.next);
      stream.write(Uint8Array.of(0));
    });
    const device = { state: { next: INTERVAL }, regions: [], refresh: () => alarm.at(device.state.next) };
    return device;
  },
});

/** Boots, works and powers off; gives the state at every interval and at the end, and what the guest said. */
async function record(
  { quantum, seed = 1, compiler = true, keep }: { quantum?: number; seed?: number; compiler?: boolean; keep?: Keep },
): Promise<{ looks: Look[]; said: string }> {
  await using hypervisor = createHypervisor({ keep: keep && (() => keep) });
  const looks: Look[] = [];
  const look = async (): Promise<void> => {
    const { nanoseconds, instructions } = guest.machine.stats();
    looks.push({ nanoseconds, instructions, hash: await guest.machine.stateHash() });
  };
  const test_looker = defineBackend({
    name: "test_looker",
    provides: "stream",
    permissions: [],
    config: object({}),
    open: () => ({ read: () => new Promise<null>(() => {}), write: look }),
  });
  await using guest = await LinuxGuest.start({
    image,
    engine: { use: "riscv", config: { compiler } },
    clock: "instructions",
    seed,
    quantum,
    hypervisor,
    memory: "128M",
    append: `denovisor.init="${WORK}"`,
    plugins: { test_ticker, test_looker },
    devices: [
      { use: "test_ticker", backends: { stream: { use: "test_looker" } } },
      { use: "virtio_rng" },
      { use: "virtio_blk", backends: { block: { use: "file_disk", config: { path: image.disk, readOnly: true } } } },
    ],
  });
  await within(200, "the guest to power off", guest.ended);
  await look();
  return { looks, said: guest.shell.rest };
}

/** Two boots are equal; if not, says in which interval they part. */
function assertSame(what: string, found: Awaited<ReturnType<typeof record>>, wanted: typeof found): void {
  const { looks } = wanted;
  const at = looks.findIndex(({ hash, nanoseconds, instructions }, i) => {
    const other = found.looks[i];
    return hash !== other?.hash || nanoseconds !== other.nanoseconds || instructions !== other.instructions;
  });
  if (at >= 0) {
    const [from, to] = [looks[at - 1]?.nanoseconds ?? 0, looks[at].nanoseconds].map((nanos) => nanos / 1e9);
    const message = `with ${what} the guest parts in interval ${at}, between ${from} s and ${to} s of its time`;
    assertEquals(found.looks[at], looks[at], message);
  }
  assertEquals(found, wanted, what);
}

Deno.test({
  name: "Linux boots the same with quanta of any size, kept code or no compiler, and otherwise with another seed",
  ignore: !image,
  async fn() {
    let kept: Bytes | undefined;
    const keep: Keep = {
      load: () => Promise.resolve(kept),
      save: (bytes) => Promise.resolve(void (kept = bytes)),
    };
    const first = await record({ keep });
    assertStringIncludes(first.said, "riscv-timer");
    assertGreater(first.looks.length, 5);
    assertSame("quanta of 997 instructions", await record({ quantum: 997 }), first);
    assertGreater(kept?.length ?? 0, 1e6);
    assertSame("the code that the first one compiled", await record({ keep }), first);
    assertSame("the interpreter alone", await record({ quantum: 100_000, compiler: false }), first);
    assertNotEquals((await record({ seed: 2 })).looks.at(-1)!.hash, first.looks.at(-1)!.hash);
  },
});
