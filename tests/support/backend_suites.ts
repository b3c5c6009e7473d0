// The conformance suites of the services that back ends provide: one for each kind, run over every back end of it.

import { assert, assertEquals } from "@std/assert";
import type { BlockBackend, Bytes, EntropyBackend, NetBackend, Packet, StreamBackend } from "../../core/plugin.ts";

/** Bytes that tell their places apart. */
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 17 + seed * 101) & 0xff);
}

/** A promise's answer, or `"waiting"` if it takes longer than a turn or two. */
export async function answer<T>(of: T | Promise<T>): Promise<T | "waiting"> {
  const later = new Promise<"waiting">((settle) => setTimeout(settle, 20, "waiting"));
  return await Promise.race([of, later]);
}

// ---------------------------------------------------------------- streams

/** A stream under test, and its far end as far as it has one. */
export interface StreamSubject {
  readonly stream: StreamBackend;
  /** All that was written, after the stream is closed. */
  output?(): Promise<Bytes>;
}

export function streamSuite(name: string, open: () => Promise<StreamSubject>): void {
  Deno.test(`${name} takes writes of every size, in order, copied`, async () => {
    const { stream, output } = await open();
    const expected = pattern(200_000);
    for (let at = 0, size = 1; at < expected.length; at += size, size = size % 5000 + 7) {
      const piece = expected.slice(at, at + size);
      const written = stream.write(piece);
      piece.fill(0);
      await written;
    }
    await stream.close?.();
    if (output) assertEquals(await output(), expected);
  });

  Deno.test(`${name} answers one read at a time, and not before there is input`, async () => {
    const { stream } = await open();
    assertEquals(await answer(stream.read(16)), "waiting");
    await stream.close?.();
  });
}

// ---------------------------------------------------------------- block devices

export function blockSuite(
  name: string,
  open: (content: Bytes, readOnly: boolean) => Promise<BlockBackend>,
): void {
  const SIZE = 4 << 20;
  const content = pattern(SIZE);
  const test = (does: string, run: (disk: BlockBackend) => Promise<void>, readOnly = false): void =>
    Deno.test(`${name} ${does}`, async () => {
      const disk = await open(content, readOnly);
      try {
        await run(disk);
      } finally {
        await disk.close?.();
      }
    });
  const readBack = async (disk: BlockBackend, position: number, length: number): Promise<Bytes> => {
    const into = new Uint8Array(length);
    assertEquals(await disk.read(position, [into]), "ok");
    return into;
  };

  test("tells its size", (disk) => {
    assertEquals(disk.size, SIZE);
    assertEquals(disk.readOnly, false);
    return Promise.resolve();
  });

  test("reads a small and a large piece of what it holds", async (disk) => {
    assertEquals(await readBack(disk, 512, 512), content.subarray(512, 1024));
    assertEquals(await readBack(disk, 1 << 20, 2 << 20), content.subarray(1 << 20, 3 << 20));
  });

  const memories: Record<string, () => ArrayBufferLike> = {
    "a buffer": () => new ArrayBuffer(3 << 20),
    "a shared buffer": () => new SharedArrayBuffer(3 << 20),
    "a memory": () => new WebAssembly.Memory({ initial: 48 }).buffer,
    "a shared memory": () => new WebAssembly.Memory({ initial: 48, maximum: 48, shared: true }).buffer,
  };
  for (const [kind, make] of Object.entries(memories)) {
    test(`moves scattered and adjacent views of ${kind}, at once and later`, async (disk) => {
      const buffer = make();
      for (const length of [512, 4096, 1 << 20]) {
        const views = [
          new Uint8Array(buffer, 0, length),
          new Uint8Array(buffer, length, 512),
          new Uint8Array(buffer, (2 << 20) + 512, 1024),
        ];
        const total = length + 1536;
        assertEquals(await disk.read(1024, views), "ok");
        let at = 1024;
        for (const view of views) {
          assertEquals(view, content.subarray(at, at + view.length));
          at += view.length;
        }
        assertEquals(await disk.write(0, views), "ok");
        assertEquals(await readBack(disk, 0, total), content.subarray(1024, 1024 + total));
        assertEquals(await disk.write(0, [content.slice(0, total)]), "ok");
      }
    });
  }

  test("answers many requests at the same time, each with its own data", async (disk) => {
    const lengths = [512, (1 << 20) + 512, 4096, 512 * 1024];
    const requests = Array.from({ length: 24 }, (_, i) => ({
      position: (i * 37 % 64) * 32768,
      into: new Uint8Array(lengths[i % lengths.length]),
    }));
    const results = await Promise.all(requests.map(({ position, into }) => disk.read(position, [into])));
    assert(results.every((result) => result === "ok"));
    for (const { position, into } of requests) assertEquals(into, content.subarray(position, position + into.length));
  });

  test("keeps what is written, and nothing else changes", async (disk) => {
    assertEquals(await disk.write(8192, [pattern(1024, 9), pattern(512, 8)]), "ok");
    assertEquals(await disk.flush(), "ok");
    assertEquals(await readBack(disk, 8192, 1024), pattern(1024, 9));
    assertEquals(await readBack(disk, 9216, 512), pattern(512, 8));
    assertEquals(await readBack(disk, 0, 8192), content.subarray(0, 8192));
    assertEquals(await readBack(disk, 9728, 8192), content.subarray(9728, 17920));
  });

  test("refuses what lies outside of it", async (disk) => {
    const piece = new Uint8Array(1024);
    for (const position of [SIZE - 512, SIZE, 2 ** 40, -512]) {
      assertEquals(await disk.read(position, [piece]), "error");
      assertEquals(await disk.write(position, [piece]), "error");
    }
    assertEquals(await readBack(disk, SIZE - 512, 512), content.subarray(SIZE - 512));
  });

  test("clears what it is asked to clear", async (disk) => {
    if (!disk.writeZeroes) return;
    assertEquals(await disk.writeZeroes(512, 1024), "ok");
    assertEquals(await readBack(disk, 512, 1024), new Uint8Array(1024));
    assertEquals(await readBack(disk, 1536, 512), content.subarray(1536, 2048));
    assertEquals(await disk.writeZeroes(SIZE, 512), "error");
  });

  test("discards no more than it is asked to", async (disk) => {
    if (!disk.discard) return;
    assertEquals(await disk.discard(512, 1024), "ok");
    assertEquals(await readBack(disk, 0, 512), content.subarray(0, 512));
    assertEquals(await readBack(disk, 1536, 512), content.subarray(1536, 2048));
  });

  test("is only read where it is read-only", async (disk) => {
    assertEquals(disk.readOnly, true);
    for (const length of [512, 1 << 20]) assertEquals(await disk.write(0, [new Uint8Array(length)]), "error");
    assertEquals(await disk.flush(), "ok");
    assertEquals(await readBack(disk, 0, 512), content.subarray(0, 512));
  }, true);

  Deno.test(`${name} finishes what is under way before it closes`, async () => {
    const disk = await open(content, false);
    const into = new Uint8Array(2 << 20);
    const reading = disk.read(0, [into]);
    await disk.close?.();
    assertEquals(await answer(reading), "ok");
    assertEquals(into, content.subarray(0, 2 << 20));
  });
}

// ---------------------------------------------------------------- networks

/** An Ethernet frame of a type for experiments. */
export function frame(to: number, from: number, payload: Bytes = pattern(50)): Bytes {
  const address = (n: number) => [2, 0, 0, 0, n >> 8, n & 0xff];
  return Uint8Array.from([...address(to), ...address(from), 0x88, 0xb5, ...payload]);
}

/** Runs over two ends of one network. */
export function netSuite(name: string, open: () => Promise<readonly [NetBackend, NetBackend]>): void {
  Deno.test(`${name} carries packets to the other end, copied, with what is undone of them`, async () => {
    const [a, b] = await open();
    assert(a.linkUp && b.linkUp);
    const sent: Packet = {
      frame: frame(2, 1),
      checksum: { start: 34, offset: 16 },
      segmentation: { kind: "tcp4", size: 1448, headerLength: 54, ecn: false },
    };
    a.send(sent);
    sent.frame.fill(0);
    assertEquals(await b.receive(8), [{ ...sent, frame: frame(2, 1) }]);
    assertEquals(await answer(a.receive(8)), "waiting", "nothing comes back to who sent it");
    await Promise.all([a.close?.(), b.close?.()]);
  });

  Deno.test(`${name} gives waiting packets in order, no more than asked for`, async () => {
    const [a, b] = await open();
    const waiting = b.receive(3);
    const frames = [1, 2, 3, 4, 5].map((n) => frame(2, 1, pattern(46 + n, n)));
    for (const one of frames) a.send({ frame: one });
    const got = [...await waiting ?? []];
    assert(got.length >= 1 && got.length <= 3);
    while (got.length < frames.length) got.push(...await b.receive(3) ?? []);
    assertEquals(got.map((packet) => packet.frame), frames);
    await Promise.all([a.close?.(), b.close?.()]);
  });

  Deno.test(`${name} drops rather than fill the host's memory`, async () => {
    const [a, b] = await open();
    const large = frame(2, 1, new Uint8Array(60_000));
    for (let i = 0; i < 2000; i++) a.send({ frame: large });
    const kept = await b.receive(Infinity) ?? [];
    assert(kept.length >= 1 && kept.length < 1000, `${kept.length} kept`);
    a.send({ frame: frame(2, 1) });
    assertEquals((await b.receive(1))?.length, 1, "and carries on afterwards");
    await Promise.all([a.close?.(), b.close?.()]);
  });

  Deno.test(`${name} ends a receive when it is closed`, async () => {
    const [a, b] = await open();
    const waiting = b.receive(1);
    await b.close?.();
    assertEquals(await waiting, null);
    a.send({ frame: frame(2, 1) });
    assertEquals(await b.receive(1), null);
    await a.close?.();
  });
}

// ---------------------------------------------------------------- entropy

export function entropySuite(name: string, open: () => Promise<EntropyBackend>): void {
  Deno.test(`${name} fills buffers of every length, shared ones too`, async () => {
    const entropy = await open();
    for (const length of [0, 1, 3, 16, 65_536, 65_537, 200_000]) {
      for (const buffer of [new ArrayBuffer(length + 2), new SharedArrayBuffer(length + 2)]) {
        entropy.fill(new Uint8Array(buffer, 1, length));
        const all = new Uint8Array(buffer);
        assertEquals([all[0], all[length + 1]], [0, 0], "not a byte beside");
        if (length >= 65_536) {
          const kinds = new Set(all.subarray(length - 4096, length));
          assert(kinds.size > 200, "random to its end");
        }
      }
    }
    await entropy.close?.();
  });

  Deno.test(`${name} gives different bytes each time`, async () => {
    const entropy = await open();
    const [one, two] = [new Uint8Array(32), new Uint8Array(32)];
    entropy.fill(one);
    entropy.fill(two);
    assert(one.some((byte, i) => byte !== two[i]));
    await entropy.close?.();
  });
}
