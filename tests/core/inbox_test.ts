// The inbox: order, completion, instruction time.

import { assertEquals } from "@std/assert";
import { COMPLETION_LATENCY, Inbox, type InboxEvent } from "../../core/inbox.ts";
import type { Plain } from "../../core/plugin.ts";

interface Rig {
  subject: Inbox;
  delivered: string[];
  log: string[];
  scheduled: number[];
  recorded: InboxEvent[];
  arrivals: { count: number };
  time: { now: number };
}

function inbox(deterministic = false, then: (event: string) => void = () => {}): Rig {
  const rig = { delivered: [], log: [], scheduled: [], recorded: [], arrivals: { count: 0 }, time: { now: 0 } } as
    & Omit<Rig, "subject">
    & Partial<Rig>;
  rig.subject = new Inbox({
    now: () => rig.time.now,
    deterministic,
    deliver(device, event, token, payload) {
      rig.delivered.push(`${device}.${event}(${token}, ${payload})`);
      then(event);
    },
    arrived: () => rig.arrivals.count++,
    scheduled: (at) => rig.scheduled.push(at),
    log: (line) => rig.log.push(line),
    record: (event) => rig.recorded.push(event),
  });
  return rig as Rig;
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("posts are delivered at the next drain, in the order they came", async () => {
  const { subject, delivered, arrivals, recorded, time } = inbox();
  const slow = Promise.withResolvers<Plain>();
  const port = subject.port("uart");
  port.post("input", 1, slow.promise);
  port.post("input", 2, "b");
  subject.port("net").post("frames", 3, Promise.resolve("c"));
  await settle();
  slow.resolve("a");
  await settle();
  assertEquals([delivered, subject.pending, arrivals.count], [[], true, 2]);
  time.now = 77;
  subject.drain(77);
  assertEquals(delivered, ["uart.input(2, b)", "net.frames(3, c)", "uart.input(1, a)"]);
  assertEquals(recorded[0], { device: "uart", event: "input", token: 2, payload: "b", at: 77 });
});

Deno.test("what a delivery posts waits for the next drain", () => {
  const { subject, delivered } = inbox(false, () => port.post("again", 0, null));
  const port = subject.port("d");
  port.post("first", 0, null);
  subject.drain(0);
  assertEquals(delivered.length, 1);
  subject.drain(0);
  assertEquals(delivered.length, 2);
});

Deno.test("a settled completion is delivered before the call returns", () => {
  const { subject, delivered } = inbox();
  subject.port("disk").complete("done", 5, "ok");
  assertEquals(delivered, ["disk.done(5, ok)"]);
});

Deno.test("completions within completions do not recurse", () => {
  let left = 100_000;
  let depth = 0;
  let deepest = 0;
  const { subject, delivered } = inbox(false, () => {
    deepest = Math.max(deepest, ++depth);
    if (left-- > 0) port.complete("done", left, "ok");
    depth--;
  });
  const port = subject.port("disk");
  port.complete("done", 0, "ok");
  assertEquals([delivered.length, deepest], [100_001, 1]);
});

Deno.test("a promised completion is in flight until it settles", async () => {
  const { subject, delivered } = inbox();
  subject.port("disk").complete("done", 1, Promise.resolve("ok"));
  assertEquals(subject.inFlight, 1);
  await settle();
  assertEquals([subject.inFlight, delivered], [0, []]);
  subject.drain(0);
  assertEquals(delivered, ["disk.done(1, ok)"]);
});

Deno.test("a rejection is delivered as an error and logged", async () => {
  const { subject, delivered, log } = inbox();
  subject.port("disk").complete("done", 1, Promise.reject(new Error("disk full")));
  await settle();
  subject.drain(0);
  assertEquals([delivered, log], [["disk.done(1, error)"], ["disk: done failed: disk full"]]);
});

Deno.test("results of before a clear are dropped", async () => {
  const { subject, delivered, arrivals, log } = inbox();
  const port = subject.port("disk");
  port.complete("done", 1, Promise.resolve("ok"));
  port.complete("done", 3, Promise.reject(new Error("disk full")));
  port.post("input", 2, "x");
  subject.clear();
  await settle();
  subject.drain(0);
  assertEquals([delivered, arrivals.count, subject.inFlight, log], [[], 0, 0, []]);
});

Deno.test("under the instruction clock a completion takes a fixed virtual time", () => {
  const { subject, delivered, scheduled, time } = inbox(true);
  time.now = 1000;
  subject.port("disk").complete("done", 1, "ok");
  assertEquals([delivered, scheduled, subject.next], [[], [1000 + COMPLETION_LATENCY], 1000 + COMPLETION_LATENCY]);
  subject.drain(999 + COMPLETION_LATENCY);
  assertEquals(delivered, []);
  subject.drain(1000 + COMPLETION_LATENCY);
  assertEquals([delivered, subject.next], [["disk.done(1, ok)"], Infinity]);
});

Deno.test("under the instruction clock a due completion waits for the host, and all else behind it", async () => {
  const { subject, delivered, arrivals, recorded } = inbox(true);
  const slow = Promise.withResolvers<Plain>();
  const port = subject.port("disk");
  port.complete("done", 1, slow.promise);
  port.complete("done", 2, "ok");
  port.post("input", 3, "x");
  assertEquals(subject.drain(COMPLETION_LATENCY), false);
  assertEquals(delivered, []);
  slow.resolve("ok");
  await settle();
  assertEquals([arrivals.count, subject.drain(COMPLETION_LATENCY)], [1, true]);
  assertEquals(delivered, ["disk.done(1, ok)", "disk.done(2, ok)", "disk.input(3, x)"]);
  assertEquals(recorded.map(({ event }) => event), ["input"]);
});

Deno.test("restored completions are due when they were to be", () => {
  const { subject, time } = inbox(true);
  const port = subject.port("disk");
  port.complete("done", 1, "ok");
  const saved = subject.save();
  assertEquals(saved, [{ device: "disk", event: "done", token: 1, due: COMPLETION_LATENCY }]);
  subject.clear();
  time.now = 10;
  subject.restore(saved, () => {
    port.complete("done", 2, "ok");
    port.complete("done", 1, "ok");
  });
  assertEquals(subject.save().map(({ token, due }) => [token, due]), [[1, COMPLETION_LATENCY], [
    2,
    COMPLETION_LATENCY + 10,
  ]]);
});
