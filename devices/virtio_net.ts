// A network card: virtio 1.2 section 5.1.

import {
  type Bytes,
  defineDevice,
  type DeviceDefinition,
  type InboxPort,
  type NetBackend,
  type Packet,
} from "../core/plugin.ts";
import { integer, object, optional, type Schema, show } from "../core/schema.ts";
import { type Chain, DriverFault } from "./virtio/chain.ts";
import type { VirtioModel, VirtioPort, VirtioState } from "./virtio/device.ts";
import { virtioMmio } from "./virtio/mmio.ts";
import { decode, encode, HEADER_SIZE, NUM_BUFFERS, type Offloads, within } from "./virtio/net_header.ts";
import { finishChecksum, segment } from "./virtio/net_offload.ts";
import type { Queue } from "./virtio/queue.ts";

const FEATURE = {
  CSUM: 0,
  GUEST_CSUM: 1,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
  HOST_USO: 56,
} as const;

/** Which feature needs which (section 5.1.3.1): one of those listed. */
const REQUIRES: readonly (readonly [number, ...number[]])[] = [
  [FEATURE.GUEST_TSO4, FEATURE.GUEST_CSUM],
  [FEATURE.GUEST_TSO6, FEATURE.GUEST_CSUM],
  [FEATURE.GUEST_ECN, FEATURE.GUEST_TSO4, FEATURE.GUEST_TSO6],
  [FEATURE.GUEST_USO4, FEATURE.GUEST_CSUM],
  [FEATURE.GUEST_USO6, FEATURE.GUEST_CSUM],
  [FEATURE.HOST_TSO4, FEATURE.CSUM],
  [FEATURE.HOST_TSO6, FEATURE.CSUM],
  [FEATURE.HOST_ECN, FEATURE.HOST_TSO4, FEATURE.HOST_TSO6],
  [FEATURE.HOST_USO, FEATURE.CSUM],
  [FEATURE.CTRL_RX, FEATURE.CTRL_VQ],
];

const OFFLOADS = [
  FEATURE.CSUM,
  FEATURE.GUEST_CSUM,
  FEATURE.GUEST_TSO4,
  FEATURE.GUEST_TSO6,
  FEATURE.GUEST_ECN,
  FEATURE.HOST_TSO4,
  FEATURE.HOST_TSO6,
  FEATURE.HOST_ECN,
  FEATURE.GUEST_USO4,
  FEATURE.GUEST_USO6,
  FEATURE.HOST_USO,
];

const QUEUE = { RECEIVE: 0, TRANSMIT: 1, CONTROL: 2 } as const;
const CONFIG = { mac: 0, status: 6, max_virtqueue_pairs: 8, mtu: 10, SIZE: 12 } as const;
const LINK_UP = 1;
const CONTROL = { RX: 0, MAC: 1, RX_PROMISC: 0, RX_ALLMULTI: 1, MAC_TABLE_SET: 0, OK: 0, ERR: 1 } as const;

/** A 64 KiB IP packet with its Ethernet header and a VLAN tag. */
const MAX_FRAME = 65535 + 18;
const MIN_FRAME = 14;
/** Packets taken from the host at a time. */
const BATCH = 32;

type State = {
  linkUp: boolean;
  /** Received packets the guest had no buffers for yet. */
  waiting: Packet[];
};

type Config = { mac: Bytes | undefined; mtu: number | undefined };

class Net implements VirtioModel<State> {
  readonly id = 1;
  readonly features: readonly number[];
  readonly queues = [256, 256, 64];
  readonly state: State;
  readonly events = {
    received: (_token: number, outcome: unknown) => this.#received(outcome),
    link: (_token: number, outcome: unknown) => {
      this.#linkChanged(outcome);
      if (outcome !== "error") this.#watchLink();
    },
  };
  readonly #port: VirtioPort<State>;
  readonly #net: NetBackend;
  readonly #inbox: InboxPort;
  readonly #mac: Bytes;
  readonly #mtu: number | undefined;
  readonly #frame: Bytes = new Uint8Array(MAX_FRAME);
  readonly #header = new DataView(new ArrayBuffer(HEADER_SIZE));
  readonly #headerBytes: Bytes = new Uint8Array(this.#header.buffer);
  // What the host was asked for is no state of the guest's machine: after a restore it is asked again.
  #receiving = false;
  #ended = false;

  constructor(port: VirtioPort<State>, net: NetBackend, inbox: InboxPort, mac: Bytes, mtu: number | undefined) {
    this.#port = port;
    this.#net = net;
    this.#inbox = inbox;
    this.#mac = mac;
    this.#mtu = mtu;
    this.state = { linkUp: net.linkUp, waiting: [] };
    this.features = [
      FEATURE.MAC,
      FEATURE.STATUS,
      FEATURE.MRG_RXBUF,
      FEATURE.CTRL_VQ,
      FEATURE.CTRL_RX,
      ...(mtu === undefined ? [] : [FEATURE.MTU]),
      ...(net.offloads ? OFFLOADS : []),
    ];
  }

  accepts(): boolean {
    return REQUIRES.every(([feature, ...bases]) => !this.#port.has(feature) || bases.some((b) => this.#port.has(b)));
  }

  config(): Bytes {
    const config = new DataView(new ArrayBuffer(CONFIG.SIZE));
    const bytes = new Uint8Array(config.buffer);
    bytes.set(this.#mac, CONFIG.mac);
    config.setUint16(CONFIG.status, this.#port.state.linkUp ? LINK_UP : 0, true);
    config.setUint16(CONFIG.max_virtqueue_pairs, 1, true);
    config.setUint16(CONFIG.mtu, this.#mtu ?? 0, true);
    return bytes;
  }

  serve(queue: Queue): void {
    if (queue.index === QUEUE.RECEIVE) this.#deliver(queue);
    else if (queue.index === QUEUE.TRANSMIT) this.#transmit(queue);
    else this.#control(queue);
  }

  reset(): void {
    this.#port.state.waiting = [];
  }

  refresh(): void {
    this.#receiving = this.#ended = false;
    this.#linkChanged(this.#net.linkUp);
    this.#watchLink();
  }

  // ---------------------------------------------------------------- link

  #watchLink(): void {
    const change = this.#net.linkChange?.();
    if (change) this.#inbox.post("link", 0, change);
  }

  #linkChanged(up: unknown): void {
    const { state } = this.#port;
    if (typeof up !== "boolean" || up === state.linkUp) return;
    state.linkUp = up;
    this.#port.configChanged();
  }

  // ---------------------------------------------------------------- transmit

  #transmit(queue: Queue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const packet = this.#packetIn(chain);
      if (packet) this.#net.send(packet);
      queue.push(chain.head, 0);
    }
  }

  #packetIn(chain: Chain): Packet | undefined {
    const length = chain.readable - HEADER_SIZE;
    if (length < MIN_FRAME || length > MAX_FRAME) return undefined;
    const frame = this.#frame.subarray(0, length);
    chain.read(0, this.#headerBytes);
    chain.read(HEADER_SIZE, frame);
    return decode(this.#header, frame, this.#offloads("HOST"));
  }

  // ---------------------------------------------------------------- receive

  #received(outcome: unknown): void {
    this.#receiving = false;
    if (!Array.isArray(outcome)) {
      this.#ended = true;
      return;
    }
    // Without a driver nobody hears.
    if (!this.#port.live) return;
    this.#port.state.waiting.push(...outcome);
    this.#port.serve(QUEUE.RECEIVE);
  }

  #deliver(queue: Queue): void {
    const offloads = this.#offloads("GUEST");
    const { waiting } = this.#port.state;
    while (waiting.length > 0) {
      const [packet] = waiting;
      if (!within(offloads, packet)) {
        waiting.splice(0, 1, ...(packet.segmentation ? segment(packet) : [finishChecksum(packet)]));
        continue;
      }
      if (!this.#place(queue, packet)) return;
      waiting.shift();
    }
    // Only ask the host for what the guest has room for: the network then keeps, or drops, the rest.
    if (this.#receiving || this.#ended || !queue.waiting()) return;
    this.#receiving = true;
    this.#inbox.post("received", 0, this.#net.receive(BATCH));
  }

  /** Puts a packet into receive buffers; `false` if there are not enough of them yet. */
  #place(queue: Queue, packet: Packet): boolean {
    const merge = this.#port.has(FEATURE.MRG_RXBUF);
    const { frame } = packet;
    encode(this.#header, packet);
    let placed = 0;
    let count = 0;
    let first = 0;
    do {
      const chain = queue.pop();
      // A packet that no number of buffers can hold is dropped.
      if (!chain) return this.#takeBack(queue, count, count === queue.size);
      if (count === 0) {
        first = chain.head;
        if (chain.write(0, this.#headerBytes) < HEADER_SIZE) throw new DriverFault("a receive buffer below the header");
        if (!merge && chain.writable < HEADER_SIZE + frame.length) return this.#takeBack(queue, 1, true);
      }
      const skip = count === 0 ? HEADER_SIZE : 0;
      const written = chain.write(skip, placed === 0 ? frame : frame.subarray(placed));
      queue.put(count++, chain.head, skip + written);
      placed += written;
    } while (placed < frame.length);
    if (count > 1) {
      this.#header.setUint16(NUM_BUFFERS, count, true);
      queue.walk(first).write(0, this.#headerBytes);
    }
    queue.publish(count);
    return true;
  }

  #takeBack(queue: Queue, count: number, drop: boolean): boolean {
    queue.rewind(count);
    return drop;
  }

  /** What the driver leaves undone (`"HOST"`), or takes undone (`"GUEST"`). */
  #offloads(side: "HOST" | "GUEST"): Offloads {
    const has = (feature: number) => this.#port.has(feature);
    return side === "HOST"
      ? {
        checksum: has(FEATURE.CSUM),
        ecn: has(FEATURE.HOST_ECN),
        segmentation: { tcp4: has(FEATURE.HOST_TSO4), tcp6: has(FEATURE.HOST_TSO6), udp: has(FEATURE.HOST_USO) },
      }
      : {
        checksum: has(FEATURE.GUEST_CSUM),
        ecn: has(FEATURE.GUEST_ECN),
        segmentation: {
          tcp4: has(FEATURE.GUEST_TSO4),
          tcp6: has(FEATURE.GUEST_TSO6),
          udp: has(FEATURE.GUEST_USO4) && has(FEATURE.GUEST_USO6),
        },
      };
  }

  // ---------------------------------------------------------------- control

  /** Filters are accepted and not applied: the card may always give the guest more than it asked for. */
  #control(queue: Queue): void {
    const command = new Uint8Array(2);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const known = chain.read(0, command) === 2 && isFilter(command[0], command[1]);
      queue.push(chain.head, chain.write(0, Uint8Array.of(known ? CONTROL.OK : CONTROL.ERR)));
    }
  }
}

function isFilter(group: number, command: number): boolean {
  if (group === CONTROL.RX) return command === CONTROL.RX_PROMISC || command === CONTROL.RX_ALLMULTI;
  return group === CONTROL.MAC && command === CONTROL.MAC_TABLE_SET;
}

/** A locally administered address, the same for the same name. */
function macFor(name: string): Bytes {
  let hash = 0x811c9dc5; // FNV-1a
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return Uint8Array.of(0x52, 0x54, 0x00, hash >>> 16 & 0xff, hash >>> 8 & 0xff, hash & 0xff);
}

const macAddress: Schema<Bytes> = {
  wanted: 'a unicast MAC address such as "52:54:00:12:34:56"',
  parse(value, path) {
    const octets = typeof value === "string" && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)
      ? Uint8Array.from(value.split(":"), (octet) => parseInt(octet, 16))
      : undefined;
    if (octets && (octets[0] & 1) === 0 && octets.some((octet) => octet !== 0)) return octets;
    throw new TypeError(`Cannot configure ${path}: wanted ${this.wanted}, got ${show(value)}`);
  },
};

type Needs = "irq" | "dma" | "clock" | "inbox" | "net";

/** A network card (`eth0`) on a network back end. */
const virtioNet: DeviceDefinition<Needs, Config, VirtioState<State>> = defineDevice({
  name: "virtio_net",
  needs: ["irq", "dma", "clock", "inbox", "net"],
  config: object({
    mac: optional(macAddress),
    mtu: optional(integer({ min: 68, max: 65535 })),
  }),
  stateVersion: 1,
  create: ({ config, machine, name, net, ...services }) => {
    const mac = config.mac ?? macFor(`${machine}/${name}`);
    return virtioMmio(services, (port) => new Net(port, net, services.inbox, mac, config.mtu));
  },
});
export default virtioNet;
