// A machine's life, from the outside.

import { assert, assertEquals, assertLess, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import type { Plain } from "../../core/plugin.ts";
import { FakeHost } from "../support/fake_host.ts";
import { DEVICES, RAM, type Script } from "../support/script_engine.ts";
import { device, scriptMachine, waiting } from "../support/script_machine.ts";

const busy: Script = function* () {
  while (true) yield;
};

const turns = async (count = 5): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 0));
};

/** A register whose every access calls back. */
const button = (press: (value: number) => void) => ({
  regions: [{
    name: "regs",
    size: 0x100,
    widths: [4] as const,
    read: () => 0,
    write: (_: number, value: number) => press(value),
  }],
});

Deno.test("a machine is created paused, runs, and ends with the guest's exit code", async () => {
  await using rig = await scriptMachine({
    *script() {
      yield;
      yield { off: 7 };
    },
  });
  assertEquals([rig.machine.status, rig.engine.retired], ["paused", 0]);
  const run = rig.machine.run();
  assertEquals(rig.machine.status, "running");
  assertEquals([await run, rig.machine.status, rig.engine.retired], [{ code: 7 }, "off", 2]);
  assertEquals(
    (await assertRejects(() => rig.machine.run()) as Error).message,
    "Cannot run machine machine: it is off",
  );
  assertThrows(() => rig.machine.resume(), Error, "Cannot resume machine machine: it is off");
});

Deno.test("a pause stops the guest and its clock; the run stays pending and goes on", async () => {
  const host = new FakeHost();
  let deviceNow = () => 0;
  const clock = device("watch", ["clock"], ({ clock }) => (deviceNow = () => clock.now, {}));
  await using rig = await scriptMachine({ host, script: busy, plugins: { clock } });
  const run = rig.machine.run();
  await turns();
  await rig.machine.pause();
  await rig.machine.pause();
  const [retired, now] = [rig.engine.retired, deviceNow()];
  assert(retired > 0 && now > 0);
  host.time += 1e9;
  await turns();
  assertEquals([rig.machine.status, rig.engine.retired, deviceNow()], ["paused", retired, now]);
  assertEquals(rig.machine.run() === run, true);
  await turns();
  assert(rig.engine.retired > retired);
  assertLess(deviceNow(), 1e9);
  rig.machine.powerOff(2);
  assertEquals(await run, { code: 2 });
});

Deno.test("a paused machine can be powered off", async () => {
  await using rig = await scriptMachine();
  rig.machine.powerOff(4);
  rig.machine.powerOff(5);
  assertEquals(rig.machine.status, "off");
});

Deno.test("a device ends or resets the machine after the quantum", async () => {
  const boots: number[] = [];
  const switches = device("switch", ["power"], ({ power }) => button((code) => power(code ? "off" : "reset", code)));
  await using rig = await scriptMachine({
    plugins: { switch: switches },
    *script({ context: { bus } }) {
      boots.push(1);
      bus.write(DEVICES, boots.length === 2 ? 9 : 0, 4);
      yield;
      throw new Error("ran on");
    },
  });
  assertEquals(await rig.machine.run(), { code: 9 });
  assertEquals(boots.length, 2);
});

Deno.test("a reset gives devices their first state back, and drops alarms and results under way", async () => {
  const log: string[] = [];
  const gadget = device("gadget", ["inbox", "clock", "irq"], ({ inbox, clock, irq }) => {
    const alarm = clock.alarm("tick", () => log.push("tick"));
    const self = {
      state: { count: 0, list: [1] },
      ...button((value) => {
        self.state.count += value;
        self.state.list.push(value);
        alarm.at(clock.now + 1e6);
        irq.set(true);
        inbox.complete("done", 1, new Promise((resolve) => setTimeout(() => resolve("late"), 20)));
      }),
      events: { done: (_: number, outcome: Plain) => void log.push(`done ${outcome}`) },
      refresh: () => void log.push(`refresh ${JSON.stringify(self.state)}`),
    };
    return self;
  });
  let boots = 0;
  await using rig = await scriptMachine({
    plugins: { gadget },
    *script({ context: { bus } }) {
      if (boots++ === 0) bus.write(DEVICES, 5, 4);
      while (true) yield boots > 1 ? "wfi" : undefined;
    },
  });
  void rig.machine.run().catch(() => {});
  await turns(1);
  await rig.machine.reset();
  assertEquals(rig.machine.status, "running");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals(boots, 2);
  assertEquals(log, ['refresh {"count":0,"list":[1]}', 'refresh {"count":0,"list":[1]}']);
});

Deno.test("a machine that is off or has failed can be reset and run again", async () => {
  let boots = 0;
  await using rig = await scriptMachine({
    *script() {
      yield boots++ ? { off: 1 } : { error: "lost its way" };
    },
  });
  const error = await assertRejects(() => rig.machine.run()) as Error;
  assertEquals([error.message, rig.machine.status], ["Machine machine failed: lost its way", "failed"]);
  for (const code of [1, 1]) {
    await rig.machine.reset();
    assertEquals(rig.machine.status, "paused");
    assertEquals(await rig.machine.run(), { code });
  }
});

Deno.test("a pause waits for memory on loan, and delivers what gives it back", async () => {
  const finish = Promise.withResolvers<Plain>();
  const disk = device("disk", ["dma", "inbox"], ({ dma, inbox }) => {
    let loan: ReturnType<typeof dma.borrow>;
    return {
      ...button(() => {
        loan = dma.borrow(RAM, 512, "write");
        inbox.complete("done", 1, finish.promise);
      }),
      events: {
        done: () => {
          loan.bytes.fill(1);
          loan.done();
        },
      },
    };
  });
  await using rig = await scriptMachine({
    plugins: { disk },
    *script({ context: { bus } }) {
      bus.write(DEVICES, 1, 4);
      while (true) yield "wfi";
    },
  });
  void rig.machine.run().catch(() => {});
  await turns();
  let paused = false;
  const pause = rig.machine.pause().then(() => paused = true);
  await turns();
  assertEquals([paused, rig.machine.status], [false, "running"]);
  finish.resolve("ok");
  await pause;
  assertEquals([rig.engine.invalidated, rig.machine.status], [["0x80000000+512"], "paused"]);
});

Deno.test("a device's exception fails the machine with the device's name, and never reaches the CPU", async () => {
  const broken = () => {
    throw new Error("boom");
  };
  const bad = device("bad", ["inbox", "clock"], ({ inbox, clock }) => {
    const alarm = clock.alarm("tick", broken);
    return {
      regions: [{
        name: "regs",
        size: 0x100,
        widths: [4],
        read: broken,
        write: (_, value) => {
          if (value === 1) alarm.at(0);
          if (value === 2) inbox.post("input", 0, null);
          if (value === 3) inbox.complete("unheard", 0, null);
        },
      }],
      events: { input: broken },
    };
  });
  const sentences: string[] = [];
  for (const value of [0, 1, 2, 3]) {
    await using rig = await scriptMachine({
      plugins: { bad },
      *script({ context: { bus } }) {
        if (value) bus.write(DEVICES, value, 4);
        else bus.read(DEVICES + 4, 4);
        while (true) yield;
      },
    });
    sentences.push((await assertRejects(() => rig.machine.run()) as Error).message);
    assertEquals([rig.machine.status, rig.lines], ["failed", [sentences.at(-1)!]]);
  }
  assertEquals(sentences, [
    "Machine machine failed: bad0 threw while reading regs+0x4: boom",
    "Machine machine failed: bad0 threw while serving its alarm tick: boom",
    "Machine machine failed: bad0 threw while handling input: boom",
    "Machine machine failed: bad0 threw while handling unheard: it has no such event",
  ]);
});

Deno.test("an engine that throws fails the machine", async () => {
  await using rig = await scriptMachine({
    // deno-lint-ignore require-yield -- it does not come to that
    *script() {
      throw new Error("wasm trap");
    },
  });
  const error = await assertRejects(() => rig.machine.run()) as Error;
  assertEquals(error.message, "Machine machine failed: wasm trap");
});

Deno.test("disposing ends the run, closes everything once, and drops late results", async () => {
  const log: string[] = [];
  const gadget = device("gadget", ["inbox"], ({ inbox }) => ({
    ...button(() => inbox.post("input", 0, new Promise((resolve) => setTimeout(() => resolve("late"), 20)))),
    events: { input: () => void log.push("input") },
    dispose: () => void log.push("disposed"),
  }));
  const rig = await scriptMachine({
    plugins: { gadget },
    *script({ context: { bus } }) {
      bus.write(DEVICES, 1, 4);
      while (true) yield "wfi";
    },
  });
  const ended = assertRejects(() => rig.machine.run());
  await turns(2);
  await Promise.all([rig.machine[Symbol.asyncDispose](), rig.machine[Symbol.asyncDispose]()]);
  await rig.machine[Symbol.asyncDispose]();
  assertEquals((await ended as Error).message, "Machine machine was disposed");
  await new Promise((resolve) => setTimeout(resolve, 30));
  assertEquals([log, rig.engine.disposed, rig.machine.status], [["disposed"], true, "disposed"]);
  for (const action of ["run", "pause", "reset", "stateHash"] as const) {
    assertStringIncludes((await assertRejects(() => rig.machine[action]()) as Error).message, "it is disposed");
  }
});

Deno.test("disposing does not fail a program that did not wait for the run", async () => {
  const rig = await scriptMachine({ script: busy });
  void rig.machine.run();
  await turns(2);
  await rig[Symbol.asyncDispose]();
});

Deno.test("disposing does not wait for a back end that never answers", async () => {
  const disk = device("disk", ["dma", "inbox"], ({ dma, inbox }) => ({
    ...button(() => {
      dma.borrow(RAM, 512, "write");
      inbox.complete("done", 1, new Promise(() => {}));
    }),
    events: { done() {} },
  }));
  const rig = await scriptMachine({
    plugins: { disk },
    *script({ context: { bus } }) {
      bus.write(DEVICES, 1, 4);
      while (true) yield "wfi";
    },
  });
  void rig.machine.run();
  await turns();
  const pause = assertRejects(async () => {
    await rig.machine.pause();
    await rig.machine.pause();
  });
  await turns();
  await rig[Symbol.asyncDispose]();
  await pause;
  assertEquals(rig.machine.status, "disposed");
});

Deno.test("a signal ends the run with its reason", async () => {
  const controller = new AbortController();
  const rig = await scriptMachine({ script: busy, signal: controller.signal });
  const ended = assertRejects(() => rig.machine.run());
  await turns(2);
  controller.abort(new Error("enough"));
  assertEquals((await ended as Error).message, "enough");
  await rig[Symbol.asyncDispose]();
  assertEquals(rig.machine.status, "disposed");
  const early = await assertRejects(() => scriptMachine({ signal: AbortSignal.abort(new Error("never")) })) as Error;
  assertEquals(early.message, "never");
});

Deno.test("a hypervisor disposes its machines", async () => {
  const rig = await scriptMachine();
  await rig.hypervisor[Symbol.asyncDispose]();
  assertEquals(rig.machine.status, "disposed");
  const late = await assertRejects(() => scriptMachine({ hypervisor: rig.hypervisor })) as Error;
  assertEquals(late.message, "Cannot create a machine: its hypervisor is disposed");
});

Deno.test("an idle machine sleeps until its next alarm, or for ever", async () => {
  const host = new FakeHost();
  let ticks = 0;
  const timer = device("timer", ["clock"], ({ clock }) => {
    const alarm = clock.alarm("tick", () => {
      if (++ticks < 3) alarm.at(clock.now + 5_000_000);
    });
    return { refresh: () => alarm.at(5_000_000) };
  });
  await using rig = await scriptMachine({ host, script: waiting, plugins: { timer } });
  void rig.machine.run().catch(() => {});
  while (ticks < 3) await turns(1);
  await turns();
  assertEquals(host.sleeps.map((nanos) => Math.round(nanos / 1e6)), [5, 5, 5, Infinity]);
  assertLess(rig.engine.budgets.length, 8);
});

Deno.test("input wakes an idle machine", async () => {
  let delivered = 0;
  const arrival = Promise.withResolvers<Plain>();
  const uart = device("uart", ["inbox"], ({ inbox }) => ({
    events: { input: (token) => void (delivered = token) },
    refresh: () => inbox.post("input", 42, arrival.promise),
  }));
  await using rig = await scriptMachine({ plugins: { uart } });
  void rig.machine.run().catch(() => {});
  await turns();
  assertEquals(rig.host.sleeps, [Infinity]);
  arrival.resolve("x");
  await turns();
  assertEquals(delivered, 42);
});

Deno.test("an alarm that is set during a quantum ends it early", async () => {
  const host = new FakeHost();
  let fired = 0;
  const timer = device("timer", ["clock"], ({ clock }) => {
    const alarm = clock.alarm("tick", () => fired = rig.engine.retired);
    return button((nanos) => alarm.at(clock.now + nanos));
  });
  await using rig = await scriptMachine({
    host,
    plugins: { timer },
    *script({ context: { bus } }) {
      for (let i = 0; i < 500; i++) yield;
      bus.write(DEVICES, 5000, 4);
      for (let i = 0; i < 5000; i++) yield;
    },
  });
  await rig.machine.run();
  assert(fired >= 500 && fired <= 1600, `fired at ${fired}`);
});

Deno.test("streams without a back end are the machine's own, the first one its console", async () => {
  const echo = device("echo", ["stream", "inbox"], ({ stream, inbox }) => {
    const ask = () => inbox.post("input", 0, stream.read(16) as Promise<Plain>);
    return {
      refresh: ask,
      events: {
        input(_, outcome) {
          stream.write(outcome as Uint8Array);
          ask();
        },
      },
    };
  });
  await using rig = await scriptMachine({
    plugins: { echo },
    description: { devices: [{ use: "echo" }, { use: "echo" }] },
  });
  assertEquals(Object.keys(rig.machine.streams), ["echo0", "echo1"]);
  const { readable, writable } = rig.machine.console;
  assertEquals(rig.machine.console, rig.machine.streams.echo0);
  void rig.machine.run().catch(() => {});
  const [writer, reader] = [writable.getWriter(), readable.getReader()];
  await writer.write(new TextEncoder().encode("hello, guest of few bytes"));
  let heard = "";
  while (heard.length < 25) heard += new TextDecoder().decode((await reader.read()).value);
  assertEquals(heard, "hello, guest of few bytes");
  await rig[Symbol.asyncDispose]();
  assertEquals((await reader.read()).done, true);
});

Deno.test("a machine without a stream says that it has no console", async () => {
  await using rig = await scriptMachine();
  assertThrows(() => rig.machine.console, TypeError, "Machine machine has no console");
});

Deno.test("a state hash sees RAM, registers, devices and alarms", async () => {
  const hashes = new Set<string>();
  const gadget = device("gadget", ["clock", "dma"], ({ clock, dma }) => {
    const alarm = clock.alarm("tick", () => {});
    const self = {
      state: { x: 0 },
      ...button((value) => {
        if (value === 1) self.state.x = 1;
        if (value === 2) alarm.at(1e12);
        if (value === 3) dma.store(RAM + 0x5000, 1, 1);
      }),
    };
    return self;
  });
  for (const value of [0, 1, 2, 3, 0]) {
    await using rig = await scriptMachine({
      plugins: { gadget },
      *script({ context: { bus } }) {
        bus.write(DEVICES, value, 4);
        yield { off: 0 };
      },
    });
    await rig.machine.run();
    hashes.add(await rig.machine.stateHash());
  }
  assertEquals(hashes.size, 4);
});

Deno.test("a state hash of a running machine lets it go on", async () => {
  await using rig = await scriptMachine({ script: busy });
  void rig.machine.run().catch(() => {});
  assertEquals((await rig.machine.stateHash()).length, 16);
  assertEquals(rig.machine.status, "running");
});
