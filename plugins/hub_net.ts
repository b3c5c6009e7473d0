// Network back end: an Ethernet switch in memory that learns addresses (IEEE 802.1D, clause 7), one for each hub's name.

import { defineBackend, type NetBackend, type Packet } from "../core/plugin.ts";
import { boolean, object, optional, string } from "../core/schema.ts";

/** What one port holds for a guest that does not take it; more is dropped. */
const QUEUE = { packets: 1024, bytes: 8 << 20 } as const;
/** Addresses a hub remembers; the ones learned first go first. */
const ADDRESSES = 4096;
/** Destination and source address and the type: shorter is no frame. */
const HEADER = 14;

/** Connects the machines of one hypervisor that name the same hub. */
export default defineBackend({
  name: "hub_net",
  provides: "net",
  permissions: [],
  config: object({
    hub: string,
    /** Whether packets carry undone checksums and segmentation; one answer for all of a hub. */
    offloads: optional(boolean, true),
  }),
  open({ config: { hub: name, offloads }, name: device, shared }): Port {
    const hub = shared(`hub:${name}`, () => new Hub(offloads));
    if (hub.offloads !== offloads) {
      throw new TypeError(
        `Cannot connect ${device} to hub ${
          JSON.stringify(name)
        }: wanted offloads ${hub.offloads}, as others have it, ` +
          `got ${offloads}`,
      );
    }
    return hub.connect();
  },
});

/** The switch. */
class Hub {
  readonly #ports: Set<Port> = new Set();
  /** Where each source address was seen last, oldest first. */
  readonly #places: Map<number, Port> = new Map();

  constructor(readonly offloads: boolean) {}

  connect(): Port {
    const port = new Port(this);
    this.#ports.add(port);
    return port;
  }

  disconnect(port: Port): void {
    this.#ports.delete(port);
    for (const [address, at] of this.#places) {
      if (at === port) this.#places.delete(address);
    }
  }

  forward(packet: Packet, from: Port): void {
    const { frame } = packet;
    if (frame.length < HEADER) return;
    if (!isGroup(frame, 6)) this.#learn(address(frame, 6), from);
    const to = isGroup(frame, 0) ? undefined : this.#places.get(address(frame, 0));
    if (to === from) return;
    // One copy, which all receivers share.
    const copy = { ...packet, frame: frame.slice() };
    if (to) return to.deliver(copy);
    for (const port of this.#ports) {
      if (port !== from) port.deliver(copy);
    }
  }

  #learn(source: number, from: Port): void {
    if (this.#places.get(source) === from) return;
    this.#places.delete(source);
    this.#places.set(source, from);
    if (this.#places.size > ADDRESSES) this.#places.delete(this.#places.keys().next().value!);
  }
}

/** A guest's end of the cable. */
class Port implements NetBackend {
  readonly linkUp = true;
  readonly #hub: Hub;
  readonly #queue: Packet[] = [];
  #bytes = 0;
  #closed = false;
  #arrival?: PromiseWithResolvers<void>;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  get offloads(): boolean {
    return this.#hub.offloads;
  }

  send(packet: Packet): void {
    if (!this.#closed) this.#hub.forward(packet, this);
  }

  deliver(packet: Packet): void {
    if (this.#queue.length >= QUEUE.packets || this.#bytes + packet.frame.length > QUEUE.bytes) return;
    this.#queue.push(packet);
    this.#bytes += packet.frame.length;
    this.#arrival?.resolve();
  }

  receive(max: number): Packet[] | null | Promise<Packet[] | null> {
    if (this.#queue.length > 0 || this.#closed) return this.#take(max);
    this.#arrival = Promise.withResolvers();
    // By the time the promise is told of, the rest of a burst is there, too.
    return this.#arrival.promise.then(() => this.#take(max));
  }

  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#hub.disconnect(this);
    this.#arrival?.resolve();
  }

  #take(max: number): Packet[] | null {
    if (this.#closed) return null;
    const taken = this.#queue.splice(0, max);
    for (const { frame } of taken) this.#bytes -= frame.length;
    return taken;
  }
}

/** The six bytes at `at` as one number. */
function address(frame: Packet["frame"], at: number): number {
  return ((frame[at] << 16 | frame[at + 1] << 8 | frame[at + 2]) * 2 ** 24) +
    (frame[at + 3] << 16 | frame[at + 4] << 8 | frame[at + 5]);
}

/** Whether the address at `at` stands for many: multicast or broadcast. */
function isGroup(frame: Packet["frame"], at: number): boolean {
  return (frame[at] & 1) === 1;
}
