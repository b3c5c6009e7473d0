// devices/virtio/net_offload.ts: checksums and segments, made and checked.

import { assert, assertEquals } from "@std/assert";
import type { Bytes, Packet } from "../../core/plugin.ts";
import { finishChecksum, segment } from "../../devices/virtio/net_offload.ts";

/** The ones' complement sum a receiver computes: 0xffff for what is intact. */
function verify(...parts: Bytes[]): number {
  let total = 0;
  for (const part of parts) {
    for (const [i, byte] of part.entries()) total += i % 2 === 0 ? byte * 256 : byte;
  }
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 65536);
  return total;
}

function word(value: number): number[] {
  return [value >> 8 & 255, value & 255];
}

interface Shape {
  version: 4 | 6;
  protocol: "tcp" | "udp";
  payload: number;
  size: number;
  tags?: number;
  flags?: number;
}

/** A packet as a guest leaves it to its card, with 12 bytes of TCP options. */
function large({ version, protocol, payload, size, tags = 0, flags = 0x18 }: Shape): Packet {
  const ethernet = [...new Array(12).fill(2)];
  for (let i = 0; i < tags; i++) ethernet.push(0x81, 0x00, 0, 5);
  ethernet.push(...(version === 4 ? [0x08, 0x00] : [0x86, 0xdd]));
  const transportLength = (protocol === "tcp" ? 32 : 8) + payload;
  const number = protocol === "tcp" ? 6 : 17;
  const ip = version === 4
    ? [0x45, 0, ...word(20 + transportLength), 0xff, 0xff, 0x40, 0, 64, number, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
    : [0x60, 0, 0, 0, ...word(transportLength), number, 64, ...new Array(32).fill(0).map((_, i) => i * 9 & 255)];
  const transport = protocol === "tcp"
    ? [1, 2, 0, 80, 0xff, 0xff, 0xff, 0, 0, 0, 0, 9, 8 << 4, flags, 1, 0, 0, 0, 0, 0, ...new Array(12).fill(1)]
    : [1, 2, 0, 53, ...word(transportLength), 0, 0];
  const data = Array.from({ length: payload }, (_, i) => i * 7 + (i >> 8) & 255);
  const start = ethernet.length + ip.length;
  return {
    frame: Uint8Array.from([...ethernet, ...ip, ...transport, ...data]),
    checksum: { start, offset: protocol === "tcp" ? 16 : 6 },
    segmentation: {
      kind: protocol === "udp" ? "udp" : version === 4 ? "tcp4" : "tcp6",
      size,
      headerLength: start + (protocol === "tcp" ? 32 : 8),
      ecn: false,
    },
  };
}

const SHAPES: Shape[] = [
  { version: 4, protocol: "tcp", payload: 4000, size: 1448 },
  { version: 6, protocol: "tcp", payload: 4000, size: 1428 },
  { version: 4, protocol: "tcp", payload: 2896, size: 1448, tags: 1 },
  { version: 6, protocol: "tcp", payload: 65000, size: 1001, tags: 2 },
  { version: 4, protocol: "udp", payload: 3001, size: 1000 },
  { version: 6, protocol: "udp", payload: 10, size: 3 },
];

for (const shape of SHAPES) {
  Deno.test(`segmentation cuts ${shape.payload} bytes of ${shape.protocol} over IPv${shape.version} into valid packets`, () => {
    const packet = large(shape);
    const segments = segment(packet);
    assertEquals(segments.length, Math.ceil(shape.payload / shape.size));
    const ip = 14 + 4 * (shape.tags ?? 0);
    const transport = packet.checksum!.start;
    const { headerLength } = packet.segmentation!;
    let sent = 0;
    for (const [i, { frame, checksum, segmentation }] of segments.entries()) {
      assertEquals([checksum, segmentation], [undefined, undefined]);
      const view = new DataView(frame.buffer);
      const length = frame.length - transport;
      let addresses = frame.subarray(ip + 8, ip + 40);
      if (shape.version === 4) {
        addresses = frame.subarray(ip + 12, ip + 20);
        assertEquals(verify(frame.subarray(ip, transport)), 0xffff);
        assertEquals(view.getUint16(ip + 2), frame.length - ip);
        assertEquals(view.getUint16(ip + 4), 0xffff + i & 0xffff);
      } else {
        assertEquals(view.getUint16(ip + 4), length);
      }
      const pseudo = Uint8Array.from([0, shape.protocol === "tcp" ? 6 : 17, ...word(length)]);
      assertEquals(verify(addresses, pseudo, frame.subarray(transport)), 0xffff);
      if (shape.protocol === "tcp") {
        assertEquals(view.getUint32(transport + 4), (0xffff_ff00 + sent) % 2 ** 32);
        assertEquals(frame[transport + 13] & 8, i === segments.length - 1 ? 8 : 0);
      } else {
        assertEquals(view.getUint16(transport + 4), length);
      }
      const payload = frame.subarray(headerLength);
      assertEquals(payload, packet.frame.subarray(headerLength + sent, headerLength + sent + payload.length));
      sent += payload.length;
    }
    assertEquals(sent, shape.payload);
  });
}

Deno.test("segmentation leaves FIN to the last segment and CWR to the first", () => {
  const segments = segment(large({ version: 4, protocol: "tcp", payload: 30, size: 10, flags: 0x99 }));
  assertEquals(segments.map(({ frame }) => frame[34 + 13]), [0x90, 0x10, 0x19]);
});

Deno.test("segmentation gives nothing for malformed headers", () => {
  const good = large({ version: 4, protocol: "tcp", payload: 30, size: 10 });
  const spoil = (change: (frame: Bytes) => void): Packet => {
    const frame = good.frame.slice();
    change(frame);
    return { ...good, frame };
  };
  const bad: Packet[] = [
    spoil((frame) => frame[12] = 9),
    spoil((frame) => frame[14] = 0x4f),
    spoil((frame) => frame[14] = 0x41),
    spoil((frame) => frame[46] = 0),
    spoil((frame) => frame[46] = 0x40),
    spoil((frame) => frame.set([0x86, 0xdd], 12)),
    { ...good, frame: good.frame.subarray(0, 40) },
    { ...good, frame: good.frame.subarray(0, 10) },
    { ...good, checksum: undefined },
    { ...good, checksum: { start: 14, offset: 2 } },
    { ...good, frame: good.frame.subarray(0, 66) },
    large({ version: 4, protocol: "tcp", payload: 65000, size: 1 }),
    // Headers that would be repeated in each segment: 15,000 tags of 4 bytes make 60 KB of them.
    large({ version: 6, protocol: "tcp", payload: 4000, size: 4, tags: 15_000 }),
    { frame: new Uint8Array(2000).fill(0x81).map((byte, i) => i % 2 ? 0 : byte), ...pick(good) },
  ];
  for (const packet of bad) assertEquals(segment(packet), []);
});

function pick({ checksum, segmentation }: Packet) {
  return { checksum, segmentation };
}

Deno.test("a finished checksum verifies, for even and odd lengths, and is never zero", () => {
  for (const length of [40, 41]) {
    const frame = Uint8Array.from({ length }, (_, i) => i * 77);
    frame.set([0, 0], 20);
    const { frame: finished, checksum } = finishChecksum({ frame, checksum: { start: 14, offset: 6 } });
    assertEquals(checksum, undefined);
    assertEquals(verify(finished.subarray(14)), 0xffff);
    assertEquals(frame[20], 0, "the sender's frame is left alone");
  }
  const ones = Uint8Array.of(0, 0, 0xff, 0xff);
  assertEquals(
    finishChecksum({ frame: ones, checksum: { start: 0, offset: 0 } }).frame,
    Uint8Array.of(255, 255, 255, 255),
  );
  assert(finishChecksum({ frame: ones }).frame === ones);
});
