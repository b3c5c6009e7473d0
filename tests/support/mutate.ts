// Inputs that are nearly right: a valid one with bytes flipped, cut, doubled, or numbers put in that hurt.

import type { Random } from "../../cli/fuzz/random.ts";

const NUMBERS = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fff_ffffn,
  0xffff_ffffn,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** A copy of `valid` with one to a few faults. */
export function mutate(valid: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  let bytes = new Uint8Array(valid);
  for (let times = random.pick([1, 1, 2, 3, 8]); times > 0; times--) {
    // Headers matter more than what follows them.
    const reach = random.oneIn(2) ? Math.min(bytes.length, 256) : bytes.length;
    const at = random.below(reach + 1);
    switch (random.below(7)) {
      case 0:
      case 1:
        bytes[at] ^= 1 << random.below(8);
        break;
      case 2:
        bytes[at] = random.below(256);
        break;
      case 3: {
        const value = random.pick(NUMBERS) + BigInt(random.below(3) - 1);
        const width = random.pick([1, 2, 4, 8]);
        for (let i = 0; i < width; i++) {
          const shift = BigInt(8 * (random.oneIn(4) ? width - 1 - i : i));
          if (at + i < bytes.length) bytes[at + i] = Number(BigInt.asUintN(64, value) >> shift & 0xffn);
        }
        break;
      }
      case 4:
        bytes = bytes.slice(0, at);
        break;
      case 5: {
        const piece = bytes.slice(at, at + random.below(64));
        const to = random.below(bytes.length + 1);
        bytes = new Uint8Array([...bytes.subarray(0, to), ...piece, ...bytes.subarray(to)]);
        break;
      }
      default:
        bytes.copyWithin(at, random.below(bytes.length + 1), random.below(bytes.length + 1));
    }
  }
  return bytes;
}
