// The state of all devices: saved, restored, migrated, refused.

import { assertEquals, assertThrows } from "@std/assert";
import { Alarms } from "../../core/clock.ts";
import { type AttachedDevice, Devices } from "../../core/devices.ts";
import { COMPLETION_LATENCY, Inbox } from "../../core/inbox.ts";
import { Interrupts } from "../../core/irq.ts";
import type { Plain } from "../../core/plugin.ts";
import { decodePlain, encodePlain } from "../../core/plain.ts";

/** A disk with one request at a time, an alarm and an interrupt, and all that core keeps for it. */
function rig(head: Partial<AttachedDevice["definition"]> = {}) {
  const time = { now: 0, start() {}, stop() {} };
  const log: string[] = [];
  const failed = (owner: string, action: string) => void log.push(`${owner} failed ${action}`);
  const alarms = new Alarms({ time, earlier: () => {}, failed });
  const inbox = new Inbox({
    now: () => time.now,
    deterministic: true,
    deliver: (...event) => devices.deliver(...event),
    arrived: () => {},
    scheduled: () => {},
    log: () => {},
  });
  const interrupts = new Interrupts();
  const devices = new Devices({ alarms, inbox, interrupts, failed });
  const line = interrupts.line();
  line.connect(1);
  interrupts.attach("plic", { inputs: 2, set: (_, level) => void log.push(`irq ${level}`) });
  const port = inbox.port("disk0");
  const alarm = alarms.clock("disk0").alarm("idle", () => {});
  const issue = (token: number) => port.complete("done", token, "ok");
  const device = {
    state: { request: 0, done: [] as number[] },
    regions: [],
    events: {
      done(token: number) {
        device.state.done.push(token);
        device.state.request = 0;
        line.set(true);
      },
    },
    refresh() {
      line.set(device.state.done.length > 0);
      if (device.state.request) issue(device.state.request);
    },
  };
  devices.add({
    name: "disk0",
    definition: { name: "disk", stateVersion: 2, ...head },
    device,
    abandon: () => void log.push("abandoned"),
  });
  const request = (token: number) => {
    device.state.request = token;
    issue(token);
  };
  return { devices, device, request, alarm, inbox, time, log };
}

Deno.test("devices are restored in the middle of a request, by way of bytes, in another machine", () => {
  const from = rig();
  from.time.now = 1000;
  from.request(7);
  from.alarm.at(5000);
  const saved = from.devices.save();
  const to = rig();
  to.request(9);
  to.devices.restore(decodePlain(encodePlain(saved)) as typeof saved);
  assertEquals(to.devices.save(), saved);
  to.inbox.drain(999 + COMPLETION_LATENCY);
  assertEquals(to.device.state.done, []);
  to.inbox.drain(1000 + COMPLETION_LATENCY);
  assertEquals([to.device.state, to.log], [{ request: 0, done: [7] }, ["abandoned", "irq false", "irq true"]]);
});

Deno.test("what is saved is a copy", () => {
  const { devices, request } = rig();
  const before = devices.save();
  request(3);
  assertEquals((before.devices.disk0.state as { request: number }).request, 0);
});

Deno.test("a state of an older version is migrated, and refused where it can not be", () => {
  const migrate = (state: Plain, version: number) => ({ ...state as object, done: [version] });
  const old = rig({ stateVersion: 1 }).devices.save();
  const { devices, device } = rig({ migrate });
  devices.restore(old);
  assertEquals(device.state.done, [1]);
  assertThrows(() => rig().devices.restore(old), TypeError, "wanted version 2 of the state of disk, got 1");
  const newer = rig({ stateVersion: 3 }).devices.save();
  assertThrows(
    () => rig({ migrate }).devices.restore(newer),
    TypeError,
    "wanted version 2 of the state of disk, got 3",
  );
});

Deno.test("a state of other devices is refused, and nothing changes", () => {
  const { devices, request, device } = rig();
  request(5);
  const saved = devices.save();
  const refused: [typeof saved, string][] = [
    [{ ...saved, devices: {} }, "Cannot restore disk0: wanted the state of disk, got none"],
    [
      { ...saved, devices: { disk0: { ...saved.devices.disk0, plugin: "net" } } },
      "Cannot restore disk0: wanted the state of disk, got net",
    ],
    [
      { ...saved, devices: { ...saved.devices, disk1: saved.devices.disk0 } },
      "Cannot restore disk1: this machine has no such device",
    ],
  ];
  for (const [state, sentence] of refused) assertThrows(() => devices.restore(state), TypeError, sentence);
  assertEquals([device.state.request, devices.save()], [5, saved]);
});

Deno.test("a reset gives the first state back, each time anew", () => {
  const { devices, device, request, inbox } = rig();
  for (let round = 0; round < 2; round++) {
    request(4);
    device.state.done.push(1);
    devices.reset();
    devices.refresh();
    assertEquals([device.state, inbox.next], [{ request: 0, done: [] }, Infinity]);
  }
});
