// The host in trouble, as back ends meet it: short transfers, EIO, ENOSPC, slow disks, readers that stall, floods.

import { assert, assertEquals, assertLess } from "@std/assert";
import type { BlockBackend, Bytes } from "../../core/plugin.ts";
import file_disk from "../../plugins/file_disk.ts";
import file_stream from "../../plugins/file_stream.ts";
import hub_net from "../../plugins/hub_net.ts";
import { OutputQueue } from "../../plugins/host/output_queue.ts";
import { answer, frame, pattern } from "../support/backend_suites.ts";
import { EIO, ENOSPC, type Faults, faultyFiles } from "../support/faulty_files.ts";
import { Room } from "../support/room.ts";

const SIZE = 4 << 20;
const CONTENT = pattern(SIZE);

/** Compares at once what would take long to be shown. */
function assertSame(is: Bytes, wanted: Bytes, what?: string): void {
  assert(is.length === wanted.length && is.every((byte, i) => byte === wanted[i]), what ?? "other bytes");
}

/** A disk on a file of this host with these faults. */
async function faultyDisk(
  faults: Faults,
): Promise<{ disk: BlockBackend; path: string; lines: string[] } & AsyncDisposable> {
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, CONTENT);
  using _faulty = faultyFiles(faults);
  const room = new Room();
  const disk = await room.open(file_disk, { path });
  return {
    disk,
    path,
    lines: room.lines,
    async [Symbol.asyncDispose]() {
      await disk.close?.();
      await Deno.remove(path);
    },
  };
}

Deno.test("file_disk moves all bytes through a host that moves few at a time", async () => {
  for (const most of [1000, 65_537]) {
    await using subject = await faultyDisk({ most });
    const { disk } = subject;
    for (const length of [512, 8192, (1 << 20) + 512]) {
      const parts = [new Uint8Array(512), new Uint8Array(length - 256), new Uint8Array(256)];
      assertEquals(await disk.read(1024, parts), "ok");
      let at = 1024;
      for (const part of parts) assertSame(part, CONTENT.subarray(at, at += part.length));
      assertEquals(await disk.write(512, [pattern(length, 7)]), "ok");
      assertSame((await Deno.readFile(subject.path)).subarray(512, 512 + length), pattern(length, 7));
      assertEquals(await disk.write(512, [CONTENT.subarray(512, 512 + length)]), "ok");
    }
  }
});

for (
  const [kind, fault, request, said] of [
    ["read", EIO, (disk: BlockBackend, length: number) => disk.read(0, [new Uint8Array(length)]), "Input/output error"],
    ["write", ENOSPC, (disk: BlockBackend, length: number) => disk.write(0, [pattern(length, 9)]), "No space left"],
    ["sync", EIO, (disk: BlockBackend) => disk.flush(), "Input/output error"],
  ] as const
) {
  Deno.test(`file_disk answers an error to a ${kind} that fails, says so once, and goes on`, async () => {
    let failing = true;
    await using subject = await faultyDisk({ [kind]: () => failing ? fault() : undefined });
    const { disk, lines } = subject;
    for (const length of [512, 3 << 20]) assertEquals(await request(disk, length), "error");
    assertEquals(lines.length, 1);
    assert(lines[0].includes(said), lines[0]);
    failing = false;
    for (const length of [512, 3 << 20]) assertEquals(await request(disk, length), "ok");
    const into = new Uint8Array(1024);
    assertEquals(await disk.read(3 << 20, [into]), "ok");
    assertSame(into, CONTENT.subarray(3 << 20, (3 << 20) + 1024), "what nobody wrote is as it was");
  });
}

Deno.test("file_disk fails only what a full host can not take", async () => {
  let room = 2 << 20;
  await using subject = await faultyDisk({
    most: 64 * 1024,
    write: () => (room -= 64 * 1024) < 0 ? ENOSPC() : undefined,
  });
  const { disk, path } = subject;
  assertEquals(await disk.write(0, [pattern(1 << 20, 3)]), "ok");
  assertEquals(await disk.write(1 << 20, [pattern(2 << 20, 3)]), "error");
  assertEquals(await disk.flush(), "ok");
  const found = await Deno.readFile(path);
  assertSame(found.subarray(0, 1 << 20), pattern(1 << 20, 3), "what was taken stays");
  assertSame(found.subarray(3 << 20), CONTENT.subarray(3 << 20), "what was not asked for is as it was");
});

Deno.test("file_disk closes after what a slow host still works on", async () => {
  const subject = await faultyDisk({ delay: 20 });
  const writing = subject.disk.write(0, [pattern(3 << 20, 5)]);
  const flushing = subject.disk.flush();
  assertEquals(await answer(Promise.resolve(writing)), "waiting");
  await subject.disk.close?.();
  assertEquals([await writing, await flushing], ["ok", "ok"]);
  assertSame((await Deno.readFile(subject.path)).subarray(0, 3 << 20), pattern(3 << 20, 5));
  await Deno.remove(subject.path);
});

Deno.test({
  name: "file_stream goes on without a full device, and says so once",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const room = new Room();
    const stream = await room.open(file_stream, { path: "/dev/full" });
    for (let i = 0; i < 50; i++) await stream.write(pattern(10_000));
    await stream.close?.();
    assertEquals(room.lines.map((line) => line.replace(/ \(os error.*/, "")), [
      "cannot write /dev/full: No space left on device",
    ]);
  },
});

Deno.test("an output queue keeps at most its high-water mark and the last write for a reader that stalls", async () => {
  let go: () => void = () => {};
  let stalled = true;
  const got: number[] = [];
  const failures: unknown[] = [];
  const sink = {
    async write(bytes: Bytes): Promise<number> {
      if (stalled) await new Promise<void>((resolve) => go = resolve);
      const part = bytes.subarray(0, 5000);
      for (const byte of part) got.push(byte);
      return part.length;
    },
  };
  const queue = new OutputQueue(sink, (error) => failures.push(error));
  const all = pattern(500_000);
  let sent = 0;
  let held: void | Promise<void> = undefined;
  // A device stops at the first promise, as its contract says.
  const push = (): void => {
    while (sent < all.length && !held) {
      held = queue.write(all.subarray(sent, sent + 700));
      sent += 700;
    }
  };
  push();
  await new Promise((settle) => setTimeout(settle, 10));
  push();
  // One piece is with the sink, one gathers.
  assertLess(sent, 2 * (64 * 1024 + 700) + 1);
  stalled = false;
  go();
  while (sent < all.length) {
    await held;
    held = undefined;
    push();
  }
  await queue.drained();
  assertEquals(failures, []);
  assertSame(Uint8Array.from(got), all);
});

Deno.test("hub_net keeps a bounded backlog of a peer that floods, and the host its memory", async () => {
  const room = new Room();
  const [flooder, victim] = [
    await room.open(hub_net, { hub: "lan" }, { name: "a" }),
    await room.open(hub_net, { hub: "lan" }, { name: "b" }),
  ];
  const large = frame(2, 1, new Uint8Array(60_000));
  const before = Deno.memoryUsage();
  for (let i = 0; i < 5000; i++) flooder.send({ frame: large });
  const { external, heapUsed } = Deno.memoryUsage();
  assertLess(external - before.external + heapUsed - before.heapUsed, 100 << 20, "5000 frames are 300 MB");
  let kept = 0;
  for (;;) {
    const packets = await answer(victim.receive(64));
    if (packets === "waiting" || packets === null) break;
    kept += packets.reduce((sum, packet) => sum + packet.frame.length, 0);
  }
  assert(kept > 1 << 20 && kept <= 8 << 20, `${kept} bytes kept`);
  await flooder.close?.();
  await victim.close?.();
});
