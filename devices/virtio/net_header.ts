// The header before every packet of a network device: virtio 1.2 section 5.1.6.

import type { Bytes, Packet, Segmentation } from "../../core/plugin.ts";

/** Bytes of the header. */
export const HEADER_SIZE = 12;
/** Where the number of receive buffers stands in it. */
export const NUM_BUFFERS = 10;

const FIELD = { flags: 0, gso_type: 1, hdr_len: 2, gso_size: 4, csum_start: 6, csum_offset: 8 } as const;
const FLAG_NEEDS_CSUM = 1;
const GSO_ECN = 0x80;
const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5 } as const;

type Kind = Segmentation["kind"];

/** Which offloads one side left to the other when they agreed on features. */
export interface Offloads {
  readonly checksum: boolean;
  readonly ecn: boolean;
  readonly segmentation: Readonly<Record<Kind, boolean>>;
}

/** Whether a packet asks for no more than `offloads`. */
export function within(offloads: Offloads, { checksum, segmentation }: Packet): boolean {
  if (checksum && !offloads.checksum) return false;
  if (!segmentation) return true;
  return offloads.segmentation[segmentation.kind] && (offloads.ecn || !segmentation.ecn);
}

/**
 * Makes a packet of a frame and the header that the guest wrote. Nothing in the header is trusted: `undefined` where
 * it points out of the frame, contradicts itself or asks for what was not agreed on.
 */
export function decode(header: DataView, frame: Bytes, offloads: Offloads): Packet | undefined {
  const gsoType = header.getUint8(FIELD.gso_type);
  const needsChecksum = (header.getUint8(FIELD.flags) & FLAG_NEEDS_CSUM) !== 0;
  if (!needsChecksum) return gsoType === GSO.none ? { frame } : undefined;
  const start = header.getUint16(FIELD.csum_start, true);
  const offset = header.getUint16(FIELD.csum_offset, true);
  if (start + offset + 2 > frame.length) return undefined;
  let packet: Packet = { frame, checksum: { start, offset } };
  if (gsoType !== GSO.none) {
    const kind = kindOf(gsoType & ~GSO_ECN);
    const size = header.getUint16(FIELD.gso_size, true);
    if (!kind || size === 0) return undefined;
    const headerLength = Math.min(header.getUint16(FIELD.hdr_len, true), frame.length);
    packet = { ...packet, segmentation: { kind, size, headerLength, ecn: (gsoType & GSO_ECN) !== 0 } };
  }
  return within(offloads, packet) ? packet : undefined;
}

/** Writes the header of a packet for the guest, in one buffer so far. */
export function encode(header: DataView, { checksum, segmentation }: Packet): void {
  header.setUint8(FIELD.flags, checksum ? FLAG_NEEDS_CSUM : 0);
  header.setUint8(FIELD.gso_type, segmentation ? GSO[segmentation.kind] | (segmentation.ecn ? GSO_ECN : 0) : GSO.none);
  header.setUint16(FIELD.hdr_len, segmentation?.headerLength ?? 0, true);
  header.setUint16(FIELD.gso_size, segmentation?.size ?? 0, true);
  header.setUint16(FIELD.csum_start, checksum?.start ?? 0, true);
  header.setUint16(FIELD.csum_offset, checksum?.offset ?? 0, true);
  header.setUint16(NUM_BUFFERS, 1, true);
}

function kindOf(gsoType: number): Kind | undefined {
  return (["tcp4", "tcp6", "udp"] as const).find((kind) => GSO[kind] === gsoType);
}
