// The instruction clock: the same inputs give the same run, whatever the host and the quantum.

import { assertEquals, assertLess, assertNotEquals } from "@std/assert";
import { COMPLETION_LATENCY } from "../../core/inbox.ts";
import { NANOS_PER_INSTRUCTION } from "../../core/clock.ts";
import { defineBackend, type Plain } from "../../core/plugin.ts";
import { object } from "../../core/schema.ts";
import { FakeHost } from "../support/fake_host.ts";
import { DEVICES, RAM, type Script } from "../support/script_engine.ts";
import { device, scriptMachine } from "../support/script_machine.ts";

const later = (milliseconds: number, value: Plain): Promise<Plain> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds, value));

/** A device with a timer, a slow disk, entropy and a wall clock, which notes when what happened. */
function gadget(trace: string[], host: { delay: number }) {
  return device("gadget", ["clock", "inbox", "dma", "entropy", "wallTime", "cpus"], (services) => {
    const { clock, inbox, dma, entropy, wallTime, cpus } = services;
    const alarm = clock.alarm("tick", () => {
      trace.push(`tick ${clock.now}`);
      cpus.set(0, 7, true);
      alarm.at(clock.now + 3333);
    });
    let loan: ReturnType<typeof dma.borrow>;
    return {
      refresh: () => alarm.at(3333),
      regions: [{
        name: "regs",
        size: 0x100,
        widths: [4],
        read: () => wallTime() % 2 ** 32,
        write(_, value) {
          trace.push(`press ${value} ${clock.now}`);
          cpus.set(0, 7, false);
          loan = dma.borrow(RAM + 8 * value, 4, "write");
          const filled = later(host.delay, "ok").then((outcome) => (loan.bytes.fill(value), outcome));
          inbox.complete("done", value, filled);
          const random = new Uint8Array(4);
          entropy.fill(random);
          dma.write(RAM + 0x100, random);
        },
      }],
      events: {
        done(token, outcome) {
          loan.done();
          trace.push(`done ${token} ${outcome} ${clock.now}`);
        },
      },
    };
  });
}

const guest: Script = function* ({ context: { bus }, interrupts, ram }) {
  const view = new DataView(ram.buffer);
  for (let i = 1; i <= 12; i++) {
    for (let n = 0; n < 777; n++) yield;
    bus.write(DEVICES, i, 4);
    yield;
    view.setUint32(0x200 + 4 * i, bus.read(DEVICES, 4), true);
    interrupts.clear();
    if (i % 3 === 0) yield "wfi";
    // Polls what the disk will write.
    for (let n = 0; view.getUint8(8 * i) === 0; n++) {
      view.setUint32(0x300, n, true);
      yield;
    }
  }
};

async function run(quantum: number | undefined, delay: number, seed = 1): Promise<{ hash: string; trace: string[] }> {
  const trace: string[] = [];
  const host = new FakeHost();
  host.time = quantum ?? 0;
  await using rig = await scriptMachine({
    host,
    quantum,
    plugins: { gadget: gadget(trace, { delay }) },
    description: { clock: "instructions", seed },
    script: guest,
  });
  await rig.machine.run();
  return { hash: await rig.machine.stateHash(), trace };
}

Deno.test("the instruction clock hides quantum size, host speed and slow disks", async () => {
  const first = await run(undefined, 0);
  assertEquals(await run(1, 0), first);
  assertEquals(await run(37, 2), first);
  assertEquals(await run(100_000, 1), first);
  assertNotEquals((await run(1000, 0, 2)).hash, first.hash);
});

Deno.test("under the instruction clock alarms and completions come at their exact instruction", async () => {
  const { trace } = await run(undefined, 0);
  // The first tick: the first multiple of an instruction's time that is not before 3333 ns.
  assertEquals(trace[0], "tick 3335");
  const pressed = Number(trace.find((line) => line.startsWith("press 1"))!.split(" ")[2]);
  const done = Number(trace.find((line) => line.startsWith("done 1"))!.split(" ")[3]);
  assertEquals([pressed, done - pressed], [778 * NANOS_PER_INSTRUCTION, COMPLETION_LATENCY]);
});

Deno.test("under the instruction clock output that the host is slow to take holds the machine, not its time", async () => {
  let taken = 0;
  const slow = defineBackend({
    name: "slow",
    provides: "stream",
    permissions: [],
    config: object({}),
    open: () => ({ read: () => new Promise<null>(() => {}), write: () => later(2, null).then(() => void taken++) }),
  });
  const answers: unknown[] = [];
  const uart = device("uart", ["stream", "clock"], ({ stream, clock }) => ({
    regions: [{
      name: "regs",
      size: 4,
      widths: [4],
      read: () => clock.now,
      write: (_, value) => void answers.push(stream.write(Uint8Array.of(value))),
    }],
  }));
  let now = 0;
  await using rig = await scriptMachine({
    quantum: 10,
    plugins: { uart, slow },
    description: { clock: "instructions", devices: [{ use: "uart", backends: { stream: { use: "slow" } } }] },
    *script({ context: { bus } }) {
      for (let i = 0; i < 5; i++) {
        bus.write(DEVICES, i, 4);
        for (let n = 0; n < 20; n++) yield;
      }
      now = bus.read(DEVICES, 4);
    },
  });
  await rig.machine.run();
  assertEquals([taken, answers, now], [5, [undefined, undefined, undefined, undefined, undefined], 101 * 5]);
});

Deno.test("an idle machine under the instruction clock does not run away from the host's time", async () => {
  const host = new FakeHost();
  let ticks = 0;
  const timer = device("timer", ["clock"], ({ clock }) => {
    const alarm = clock.alarm("tick", () => {
      ticks++;
      alarm.at(clock.now + 4_000_000);
    });
    return { refresh: () => alarm.at(4_000_000) };
  });
  await using rig = await scriptMachine({ host, plugins: { timer }, description: { clock: "instructions" } });
  void rig.machine.run();
  while (ticks < 50) await new Promise((resolve) => setTimeout(resolve, 0));
  assertLess(Math.abs(host.time - ticks * 4_000_000), 10_000_000);
});
