// Finishes what a packet's sender left undone: Internet checksums (RFC 1071) and segmentation of TCP and UDP.

import type { Bytes, Packet } from "../../core/plugin.ts";

const ETHERNET = { TYPE: 12, SIZE: 14, TAG: 4 } as const;
const ETHER_TYPE = { IPV4: 0x0800, VLAN: 0x8100, SERVICE_VLAN: 0x88a8, IPV6: 0x86dd } as const;
const IPV4 = { LENGTH: 2, ID: 4, CHECKSUM: 10, ADDRESSES: 12, SIZE: 20 } as const;
const IPV6 = { LENGTH: 4, ADDRESSES: 8, SIZE: 40 } as const;
const TCP = { SEQUENCE: 4, DATA_OFFSET: 12, FLAGS: 13, CHECKSUM: 16, SIZE: 20 } as const;
const TCP_FLAG = { FIN: 0x01, PSH: 0x08, CWR: 0x80 } as const;
const UDP = { LENGTH: 4, CHECKSUM: 6, SIZE: 8 } as const;
/** More than a packet of 64 KiB makes at the smallest segment size in use: a hostile sender asks for one byte each. */
const MAX_SEGMENTS = 2048;
/** Each segment repeats the headers, so that long ones would make megabytes of a packet; real ones are below 200 bytes. */
const MAX_HEADERS = 512;
const PROTOCOL = { TCP: 6, UDP: 17 } as const;

/** The packet's frame with its checksum summed and stored. */
export function finishChecksum({ frame, checksum }: Packet): Packet {
  if (!checksum) return { frame };
  const { start, offset } = checksum;
  const finished = frame.slice();
  store(finished, start + offset, fold(sum(finished, start, finished.length)));
  return { frame: finished };
}

/** The packet cut into segments, each with its own headers and checksums; none if its sender made no sense. */
export function segment(packet: Packet): Packet[] {
  const layout = layoutOf(packet);
  if (!layout) return [];
  const { frame } = packet;
  const { size } = packet.segmentation!;
  if (frame.length - layout.payload > size * MAX_SEGMENTS) return [];
  const segments: Packet[] = [];
  for (let at = layout.payload, index = 0; at < frame.length; at += size, index++) {
    const part = frame.subarray(at, at + size);
    const cut = new Uint8Array(layout.payload + part.length);
    cut.set(frame.subarray(0, layout.payload));
    cut.set(part, layout.payload);
    finishHeaders(cut, layout, { index, sent: at - layout.payload, last: at + size >= frame.length });
    segments.push({ frame: cut });
  }
  return segments;
}

/** Where a frame's headers begin, in bytes from its start. */
interface Layout {
  readonly ip: number;
  readonly version: 4 | 6;
  readonly transport: number;
  readonly protocol: number;
  readonly payload: number;
}

function layoutOf({ frame, checksum, segmentation }: Packet): Layout | undefined {
  if (!checksum || !segmentation || frame.length < ETHERNET.SIZE) return undefined;
  let type: number = ETHERNET.TYPE;
  while (isTag(load(frame, type))) type += ETHERNET.TAG;
  const ip = type + 2;
  const version = versionOf(load(frame, type));
  const transport = checksum.start;
  if (!version || transport < ip + (version === 4 ? IPV4.SIZE : IPV6.SIZE)) return undefined;
  if (version === 4 && ip + (frame[ip] & 15) * 4 !== transport) return undefined;
  const protocol = segmentation.kind === "udp" ? PROTOCOL.UDP : PROTOCOL.TCP;
  const wanted = { tcp4: 4, tcp6: 6, udp: version }[segmentation.kind];
  if (version !== wanted) return undefined;
  const smallest = protocol === PROTOCOL.TCP ? TCP.SIZE : UDP.SIZE;
  if (transport + smallest >= frame.length) return undefined;
  const header = protocol === PROTOCOL.TCP ? (frame[transport + TCP.DATA_OFFSET] >> 4) * 4 : UDP.SIZE;
  const payload = transport + header;
  if (header < smallest || payload >= frame.length || payload > MAX_HEADERS) return undefined;
  return { ip, version, transport, protocol, payload };
}

function isTag(etherType: number): boolean {
  return etherType === ETHER_TYPE.VLAN || etherType === ETHER_TYPE.SERVICE_VLAN;
}

function versionOf(etherType: number): 4 | 6 | undefined {
  if (etherType === ETHER_TYPE.IPV4) return 4;
  return etherType === ETHER_TYPE.IPV6 ? 6 : undefined;
}

function finishHeaders(
  frame: Bytes,
  { ip, version, transport, protocol }: Layout,
  { index, sent, last }: { index: number; sent: number; last: boolean },
): void {
  const length = frame.length - transport;
  if (version === 4) {
    store(frame, ip + IPV4.LENGTH, frame.length - ip);
    store(frame, ip + IPV4.ID, load(frame, ip + IPV4.ID) + index);
    store(frame, ip + IPV4.CHECKSUM, 0);
    store(frame, ip + IPV4.CHECKSUM, fold(sum(frame, ip, transport)));
  } else {
    store(frame, ip + IPV6.LENGTH, frame.length - ip - IPV6.SIZE);
  }
  let checksum = transport + UDP.CHECKSUM;
  if (protocol === PROTOCOL.TCP) {
    checksum = transport + TCP.CHECKSUM;
    const sequence = transport + TCP.SEQUENCE;
    const next = load(frame, sequence) * 0x10000 + load(frame, sequence + 2) + sent;
    store(frame, sequence, next / 0x10000);
    store(frame, sequence + 2, next);
    if (!last) frame[transport + TCP.FLAGS] &= ~(TCP_FLAG.FIN | TCP_FLAG.PSH);
    if (index > 0) frame[transport + TCP.FLAGS] &= ~TCP_FLAG.CWR;
  } else {
    store(frame, transport + UDP.LENGTH, length);
  }
  store(frame, checksum, 0);
  const [addresses, end] = version === 4
    ? [ip + IPV4.ADDRESSES, ip + IPV4.SIZE]
    : [ip + IPV6.ADDRESSES, ip + IPV6.SIZE];
  const pseudoHeader = sum(frame, addresses, end) + protocol + length;
  store(frame, checksum, fold(pseudoHeader + sum(frame, transport, frame.length)));
}

/** The sum of the big-endian 16-bit words from `start` to `end`, an odd byte padded with zero. */
function sum(bytes: Bytes, start: number, end: number): number {
  let total = 0;
  const even = end - ((end - start) & 1);
  for (let i = start; i < even; i += 2) total += (bytes[i] << 8) | bytes[i + 1];
  return even < end ? total + (bytes[even] << 8) : total;
}

/** A sum's ones' complement in 16 bits; never 0, which for UDP would mean that there is no checksum. */
function fold(total: number): number {
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return (~total & 0xffff) || 0xffff;
}

function load(bytes: Bytes, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function store(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}
