// Virtual time and alarms.

import { assertEquals, assertThrows } from "@std/assert";
import { Alarms, HostTime, InstructionTime, NANOS_PER_INSTRUCTION } from "../../core/clock.ts";

function alarms(): { subject: Alarms; earlier: number[]; failures: string[]; time: { now: number } } {
  const time = { now: 0, start() {}, stop() {} };
  const earlier: number[] = [];
  const failures: string[] = [];
  const subject = new Alarms({
    time,
    earlier: (deadline) => earlier.push(deadline),
    failed: (owner, alarm) => failures.push(`${owner}.${alarm}`),
  });
  return { subject, earlier, failures, time };
}

Deno.test("host time stands still while stopped", () => {
  const host = { time: 100, now: () => host.time };
  const time = new HostTime(host);
  assertEquals(time.now, 0);
  time.start();
  host.time = 150;
  assertEquals(time.now, 50);
  time.stop();
  host.time = 1000;
  assertEquals(time.now, 50);
  time.start();
  time.start();
  host.time = 1001;
  assertEquals(time.now, 51);
});

Deno.test("instruction time counts instructions and jumps where the guest waits", () => {
  let retired = 0;
  const time = new InstructionTime(() => retired);
  retired = 10;
  assertEquals(time.now, 10 * NANOS_PER_INSTRUCTION);
  time.skip(1000);
  time.skip(500);
  assertEquals(time.now, 1000);
  retired = 11;
  assertEquals(time.now, 1000 + NANOS_PER_INSTRUCTION);
});

Deno.test("alarms fire by deadline, and in the order they were made where deadlines are equal", () => {
  const { subject } = alarms();
  const fired: string[] = [];
  const [a, b] = [subject.clock("a"), subject.clock("b")];
  const [late, first, second] = [
    a.alarm("late", () => fired.push("late")),
    a.alarm("tick", () => fired.push("a.tick")),
    b.alarm("tick", () => fired.push("b.tick")),
  ];
  second.at(10);
  first.at(10);
  late.at(20);
  subject.fire(9);
  assertEquals(fired, []);
  assertEquals(subject.next, 10);
  subject.fire(25);
  assertEquals(fired, ["a.tick", "b.tick", "late"]);
  assertEquals(subject.next, Infinity);
});

Deno.test("an alarm set while alarms fire waits for the next turn, even in the past", () => {
  const { subject } = alarms();
  let fired = 0;
  const again = subject.clock("a").alarm("again", () => {
    fired++;
    again.at(0);
  });
  again.at(5);
  subject.fire(5);
  assertEquals([fired, subject.next], [1, 0]);
});

Deno.test("an alarm that another one cancels in the same turn does not fire", () => {
  const { subject } = alarms();
  const fired: string[] = [];
  const clock = subject.clock("a");
  const first = clock.alarm("first", () => (fired.push("first"), second.cancel()));
  const second = clock.alarm("second", () => fired.push("second"));
  first.at(1);
  second.at(2);
  subject.fire(3);
  assertEquals(fired, ["first"]);
});

Deno.test("alarms tell when the next deadline moves forward", () => {
  const { subject, earlier } = alarms();
  const clock = subject.clock("a");
  const [one, two] = [clock.alarm("one", () => {}), clock.alarm("two", () => {})];
  one.at(100);
  two.at(200);
  two.at(50);
  two.cancel();
  assertEquals([earlier, subject.next], [[100, 50], 100]);
});

Deno.test("saved alarms are restored, and no others stay set", () => {
  const { subject } = alarms();
  const clock = subject.clock("disk0");
  const [one, two] = [clock.alarm("one", () => {}), clock.alarm("two", () => {})];
  one.at(70);
  const saved = subject.save();
  assertEquals(saved, { disk0: { one: 70 } });
  one.at(20);
  two.at(10);
  subject.load(saved);
  assertEquals([subject.next, subject.save()], [70, saved]);
  assertThrows(() => subject.load({ net0: { one: 1 } }), TypeError, "net0.one: there is no such alarm");
});

Deno.test("an alarm beyond the safe integers never comes, NaN is refused, a name is taken once", () => {
  const { subject } = alarms();
  const clock = subject.clock("a");
  const alarm = clock.alarm("x", () => {});
  alarm.at(2 ** 60);
  assertEquals([subject.next, subject.save()], [Infinity, {}]);
  assertThrows(() => alarm.at(NaN), RangeError, "got NaN");
  assertThrows(() => clock.alarm("x", () => {}), TypeError, "a.x: there is one");
});

Deno.test("an alarm that throws is reported, and the others fire", () => {
  const { subject, failures } = alarms();
  const fired: string[] = [];
  const clock = subject.clock("a");
  const broken = (): never => {
    throw new Error("boom");
  };
  const [bad, good] = [clock.alarm("bad", broken), clock.alarm("good", () => fired.push("good"))];
  bad.at(1);
  good.at(1);
  subject.fire(1);
  assertEquals([failures, fired], [["a.bad"], ["good"]]);
});
