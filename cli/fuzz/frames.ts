// Frames that are known again: whoever carries them may drop them, but not change them.

import type { Bytes, Packet } from "../../mod.ts";
import { same } from "./backend_watch.ts";
import { Random } from "./random.ts";

/** Bytes of the two addresses and the type; the type is one for local experiments, which no host answers. */
const HEADER = 14;
const TYPE = [0x88, 0xb5] as const;
/** Begins a frame's payload; its number and its length follow. */
const MARK = Uint8Array.of(0xf2, 0x5a, 0x7e, 0x91, 0x3c, 0xd8, 0x06, 0xb4);
const MARKED = HEADER + MARK.length + 8;

/** Lengths that no other host sends: less than the header of any protocol, or more than any network carries. */
const OURS: readonly number[] = [HEADER, HEADER + 1, 20, MARKED, 65_553];
const LENGTHS = [0, 1, HEADER - 1, 60, 60, 1514, ...OURS];
/** Those of packets with work undone: whoever does the work may change and cut them. */
const UNDONE = [60, 1514, 65_000];

/** Makes frames, each another one. */
export class Frames {
  #made = 0;

  /** A frame of any length, perhaps with work undone. */
  next(random: Random, offloads: boolean): Packet {
    if (offloads && random.oneIn(3)) return undone(random);
    const length = random.pick(LENGTHS);
    return { frame: contentOf(length < MARKED ? 0 : this.#made++, length) };
  }
}

/** What is wrong with a frame that came; one that some other host may have sent is good. */
export function faultIn(frame: Bytes): string | undefined {
  if (frame.length >= MARKED && same(frame.subarray(HEADER, HEADER + MARK.length), MARK)) {
    const view = new DataView(frame.buffer, frame.byteOffset + HEADER + MARK.length);
    const [number, length] = [view.getUint32(0), view.getUint32(4)];
    return length === frame.length && same(frame, contentOf(number, length))
      ? undefined
      : `it gives another frame than the one of ${length} bytes that was sent`;
  }
  const good = frame.length < MARKED && same(frame, contentOf(0, frame.length));
  return good || !OURS.includes(frame.length)
    ? undefined
    : `it gives a frame of ${frame.length} bytes that nobody sent`;
}

/** All bytes of a frame, by its number; of those that are too short for a mark each is like the others. */
function contentOf(number: number, length: number): Bytes {
  const random = new Random(number);
  const frame = new Uint8Array(Math.max(length, MARKED));
  for (let i = 0; i < 12; i++) frame[i] = random.pick([0, 1, 2, 0xff]);
  frame.set(TYPE, 12);
  frame.set(MARK, HEADER);
  const view = new DataView(frame.buffer, HEADER + MARK.length);
  view.setUint32(0, number);
  view.setUint32(4, length);
  for (let i = MARKED; i < frame.length; i++) frame[i] = i * 31 + number;
  return frame.slice(0, length);
}

function undone(random: Random): Packet {
  const frame = new Uint8Array(random.pick(UNDONE));
  for (let i = 0; i < HEADER; i++) frame[i] = random.pick([0, 1, 2, 0xff]);
  const checksum = { start: random.pick([0, 14, 34]), offset: random.pick([0, 6, 16]) };
  if (random.oneIn(2)) return { frame, checksum };
  const kind = random.pick(["tcp4", "tcp6", "udp"] as const);
  return {
    frame,
    checksum,
    segmentation: { kind, size: random.pick([1, 536, 1448]), headerLength: 54, ecn: false },
  };
}
