// Pipes and guards: order, flow control, resets.

import { assert, assertEquals } from "@std/assert";
import type { Bytes, NetBackend, Packet, StreamBackend } from "../../core/plugin.ts";
import { createPipe, guardNet, guardStream, PIPE_SIZE } from "../../core/streams.ts";

const text = (bytes: Bytes | null): string | null => bytes && new TextDecoder().decode(bytes);
const bytes = (text: string): Bytes => new TextEncoder().encode(text);
const free = { hold: () => {}, holdWrites: false };

Deno.test("a pipe carries bytes both ways, in pieces no larger than asked for", async () => {
  const { device, host } = createPipe();
  const waiting = host.read(100);
  device.write(bytes("hello"));
  assertEquals(text(await waiting), "hello");
  host.write(bytes("world"));
  assertEquals([text(await device.read(3)), text(await device.read(3))], ["wor", "ld"]);
});

Deno.test("a pipe asks its writer to wait while it is full", async () => {
  const { device, host } = createPipe();
  assertEquals(device.write(new Uint8Array(PIPE_SIZE - 1)), undefined);
  let released = false;
  const held = device.write(new Uint8Array(1)) as Promise<void>;
  held.then(() => released = true);
  await Promise.resolve();
  assertEquals(released, false);
  await host.read(PIPE_SIZE);
  await held;
});

Deno.test("a closed pipe gives what it holds, then the end, and takes nothing", async () => {
  const { device, host } = createPipe();
  device.write(bytes("rest"));
  const reading = device.read(1);
  host.close?.();
  device.write(bytes("lost"));
  assertEquals([text(await host.read(9)), await host.read(9), await reading], ["rest", null, null]);
});

function slowStream(): StreamBackend & { reads: number; answer(value: Bytes | null): void; fail(error: Error): void } {
  let pending: PromiseWithResolvers<Bytes | null>;
  return {
    reads: 0,
    read() {
      this.reads++;
      pending = Promise.withResolvers();
      return pending.promise;
    },
    write: () => {},
    answer: (value) => pending.resolve(value),
    fail: (error) => pending.reject(error),
  };
}

Deno.test("a guarded stream answers a device that was reset with what its old call brings", async () => {
  const backend = slowStream();
  const { service, abandon } = guardStream(backend, free);
  let old: unknown = "nothing";
  void Promise.resolve(service.read(10)).then((answer) => old = answer);
  abandon();
  const again = service.read(2);
  backend.answer(bytes("abc"));
  assertEquals([text(await again), text(await service.read(2)), backend.reads, old], ["ab", "c", 1, "nothing"]);
});

Deno.test("a guarded stream keeps input that came while no device asked", async () => {
  const backend = slowStream();
  const { service, abandon } = guardStream(backend, free);
  void service.read(10);
  abandon();
  backend.answer(bytes("abc"));
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(text(await service.read(10)), "abc");
});

Deno.test("a guarded stream hands on ends and failures", async () => {
  const backend = slowStream();
  const { service } = guardStream(backend, free);
  const first = service.read(1);
  backend.fail(new Error("unplugged"));
  assertEquals(await Promise.resolve(first).catch((error) => error.message), "unplugged");
  const second = service.read(1);
  backend.answer(null);
  assertEquals(await second, null);
});

Deno.test("a guarded stream keeps the writes of two writers in order", async () => {
  const written: string[] = [];
  const drains: (() => void)[] = [];
  const backend: StreamBackend = {
    read: () => null,
    write(chunk) {
      written.push(text(chunk)!);
      return new Promise((resolve) => drains.push(resolve));
    },
  };
  const holds: Promise<void>[] = [];
  const { service, print } = guardStream(backend, { hold: (until) => holds.push(until), holdWrites: false });
  const first = service.write(bytes("one"));
  assert(first instanceof Promise);
  const second = bytes("two");
  print(second);
  second.fill(0);
  assertEquals([written, holds.length], [["one"], 1]);
  drains.shift()!();
  await first;
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(written, ["one", "two"]);
  drains.shift()!();
  await holds[0];
});

Deno.test("a guarded stream under the instruction clock never asks the device to wait", () => {
  const holds: Promise<void>[] = [];
  const backend: StreamBackend = { read: () => null, write: () => Promise.resolve() };
  const { service } = guardStream(backend, { hold: (until) => holds.push(until), holdWrites: true });
  assertEquals([service.write(bytes("x")), holds.length], [undefined, 1]);
});

Deno.test("a guarded network loses no packet to a reset", async () => {
  let give: (packets: Packet[]) => void = () => {};
  const backend: NetBackend = {
    offloads: false,
    linkUp: true,
    send() {},
    receive: () => new Promise((resolve) => give = resolve),
  };
  const { service, abandon } = guardNet(backend);
  void service.receive(8);
  abandon();
  const again = service.receive(1);
  give([{ frame: bytes("a") }, { frame: bytes("b") }]);
  const frames = [await again, await service.receive(1)].map((packets) => packets!.map(({ frame }) => text(frame)));
  assertEquals(frames, [["a"], ["b"]]);
});

Deno.test("what a back end throws is a refused promise, and the next call is a call again", async () => {
  const told: unknown[] = [];
  let fails = true;
  const spoil = <T>(answer: T): T => {
    if (fails) throw new Error("EIO");
    return answer;
  };
  const written: string[] = [];
  const stream = guardStream(
    { read: () => spoil(null), write: (chunk) => void written.push(spoil(text(chunk)!)) },
    free,
  );
  const net = guardNet({
    offloads: false,
    linkUp: true,
    send: () => spoil(undefined),
    receive: () => spoil(null),
    linkChange: () => spoil(Promise.resolve(true)),
  }, (error) => told.push(error));
  const reason = async (of: unknown): Promise<string> =>
    await Promise.resolve(of).then(String, ({ message }) => message);
  const tries = () => [
    stream.service.read(1),
    stream.service.write(bytes("a")),
    net.service.receive(1),
    net.service.linkChange!(),
  ];
  assertEquals(await Promise.all(tries().map(reason)), ["EIO", "EIO", "EIO", "EIO"]);
  for (let i = 0; i < 2; i++) net.service.send({ frame: bytes("f") });
  assertEquals(told.length, 1, "a frame is dropped; the first time, the operator hears of it");
  fails = false;
  assertEquals(await Promise.all(tries().map(reason)), ["null", "undefined", "null", "true"]);
  assertEquals(written, ["a"]);
});

Deno.test("a write that fails loses none of the next one's bytes", async () => {
  const written: string[] = [];
  let fail: (error: Error) => void = () => {};
  const backend: StreamBackend = {
    read: () => null,
    write(chunk) {
      written.push(text(chunk)!);
      if (written.length === 1) return new Promise((_, reject) => fail = reject);
    },
  };
  const { service, print } = guardStream(backend, { hold: () => {}, holdWrites: false });
  const first = service.write(bytes("one"));
  print(bytes("two"));
  fail(new Error("ENOSPC"));
  assertEquals(await Promise.resolve(first).catch(({ message }) => message), "ENOSPC");
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(written, ["one", "two"]);
});
