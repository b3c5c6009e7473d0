// The host's side of streams, disks, networks and entropy.

import type { CoreServices } from "./services.ts";
import type { Bytes } from "./values.ts";

/** How an I/O request ended. */
export type IoResult = "ok" | "error" | "unsupported";

/** A byte stream: a console, a file, a socket. Both directions have flow control. */
export interface StreamBackend {
  /** At least 1 and at most `max` bytes, as soon as there are any; `null` for the end. One call at a time. */
  read(max: number): Bytes | null | Promise<Bytes | null>;
  /** Writes all of `bytes` (copied before the call returns). A promise means: hold further writes until it settles. */
  write(bytes: Bytes): void | Promise<void>;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** A block device of whole 512-byte sectors. Positions and lengths are bytes. */
export interface BlockBackend {
  /** Bytes, a multiple of 512. */
  readonly size: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Up to 20 bytes of ASCII, given to the guest as the disk's serial number. */
  readonly id?: string;
  /** Fills `into`, in order, from `position`. Straight into guest RAM: no buffer in between. */
  read(position: number, into: readonly Bytes[]): IoResult | Promise<IoResult>;
  /** Writes `from`, in order, at `position`. */
  write(position: number, from: readonly Bytes[]): IoResult | Promise<IoResult>;
  /** Makes every completed write durable. */
  flush(): IoResult | Promise<IoResult>;
  /** Tells that the range is no longer needed; it reads as anything. Absent: unsupported. */
  discard?(position: number, length: number): IoResult | Promise<IoResult>;
  /** Makes the range read as zeroes. Absent: the device writes zeroes itself. */
  writeZeroes?(position: number, length: number): IoResult | Promise<IoResult>;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** How a large frame is still to be cut up. */
export type Segmentation = {
  /** What is in it: TCP over IPv4 or IPv6, or UDP. */
  readonly kind: "tcp4" | "tcp6" | "udp";
  /** Payload bytes of a segment. */
  readonly size: number;
  /** How many bytes its headers have: a hint. */
  readonly headerLength: number;
  /** Whether CWR is set, a flag of TCP's congestion notification. */
  readonly ecn: boolean;
};

/** An Ethernet frame, with the offloads that its sender left undone (as in virtio 1.2 section 5.1.6). */
export type Packet = {
  readonly frame: Bytes;
  /** The checksum is still to be summed from byte `start` on and stored at `start + offset`. */
  readonly checksum?: { readonly start: number; readonly offset: number };
  /** The frame is still to be cut into segments. */
  readonly segmentation?: Segmentation;
};

/** A network: it carries Ethernet frames, and may drop them. */
export interface NetBackend {
  /** Whether packets may carry undone checksums and segmentation, both ways. */
  readonly offloads: boolean;
  /** Whether the cable is plugged in now. */
  readonly linkUp: boolean;
  /** Sends a packet; its bytes are copied before the call returns. */
  send(packet: Packet): void;
  /** All packets waiting (at least 1, at most `max`), as soon as there are any; `null` for the end. One call at a time. */
  receive(max: number): Packet[] | null | Promise<Packet[] | null>;
  /** Settles when `linkUp` changes; a network without it never changes. */
  linkChange?(): Promise<boolean>;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** A source of random bytes. */
export interface EntropyBackend {
  /** Fills `into` with random bytes. */
  fill(into: Bytes): void;
  /** Called once, at the machine's end. */
  close?(): void | Promise<void>;
}

/** Services that back ends provide: an open set. Extend it by declaration merging. */
export interface BackendServices {
  /** Bytes in both directions. */
  stream: StreamBackend;
  /** A disk. */
  block: BlockBackend;
  /** A network. */
  net: NetBackend;
  /** Random bytes. */
  entropy: EntropyBackend;
}

/** The services that core provides. */
export type CoreServiceName = keyof CoreServices;
/** The services that back ends provide. */
export type BackendServiceName = keyof BackendServices;
/** All services. */
export type ServiceName = CoreServiceName | BackendServiceName;
/** All services by name. */
export type Services = CoreServices & BackendServices;
