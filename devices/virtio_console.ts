// A console with one port: virtio 1.2 section 5.3.

import { type Bytes, defineDevice, type DeviceDefinition, type InboxPort, type StreamBackend } from "../core/plugin.ts";
import { integer, object, optional } from "../core/schema.ts";
import { DriverFault } from "./virtio/chain.ts";
import type { VirtioModel, VirtioPort, VirtioState } from "./virtio/device.ts";
import { virtioMmio } from "./virtio/mmio.ts";
import type { Queue } from "./virtio/queue.ts";

const FEATURE = { SIZE: 0 } as const;
const QUEUE = { RECEIVE: 0, TRANSMIT: 1 } as const;
/** The most bytes asked of the host, or given to it, at a time. */
const PIECE = 16 * 1024;

type State = {
  /** Read from the host, and not yet taken by the guest. */
  input: Bytes;
  /** How many bytes of the next chain to transmit are written already. */
  transmitted: number;
};

type Config = {
  /** The terminal's size in characters, told to the guest if both are given. */
  columns: number | undefined;
  rows: number | undefined;
};

class Console implements VirtioModel<State> {
  readonly id = 3;
  readonly features: readonly number[];
  readonly queues = [128, 128];
  readonly state: State = { input: new Uint8Array(0), transmitted: 0 };
  readonly events = {
    input: (_token: number, outcome: unknown) => this.#receive(outcome),
    drained: () => this.#drained(),
  };
  readonly #port: VirtioPort<State>;
  readonly #stream: StreamBackend;
  readonly #inbox: InboxPort;
  readonly #config: Uint8Array = new Uint8Array(12);
  // What the host was asked for is no state of the guest's machine: after a restore it is asked again.
  #reading = false;
  #ended = false;
  #draining = false;

  constructor(port: VirtioPort<State>, stream: StreamBackend, inbox: InboxPort, { columns, rows }: Config) {
    this.#port = port;
    this.#stream = stream;
    this.#inbox = inbox;
    this.features = columns && rows ? [FEATURE.SIZE] : [];
    const view = new DataView(this.#config.buffer);
    view.setUint16(0, columns ?? 0, true);
    view.setUint16(2, rows ?? 0, true);
    view.setUint32(4, 1, true); // max_nr_ports
  }

  config(): Bytes {
    return this.#config;
  }

  serve(queue: Queue): void {
    if (queue.index === QUEUE.RECEIVE) this.#fill(queue);
    else this.#transmit(queue);
  }

  /** Input outlives a reset: what was typed to a boot loader may be meant for the kernel. */
  reset(): void {
    this.#port.state.transmitted = 0;
  }

  refresh(): void {
    this.#reading = this.#ended = this.#draining = false;
  }

  #fill(queue: Queue): void {
    const { state } = this.#port;
    while (state.input.length > 0) {
      const chain = queue.pop();
      if (!chain) return;
      const taken = chain.write(0, state.input);
      state.input = state.input.slice(taken);
      queue.push(chain.head, taken);
    }
    // Only ask the host for what the guest has room for: the host's flow control then holds the rest back.
    if (this.#reading || this.#ended || !queue.waiting()) return;
    this.#reading = true;
    this.#inbox.post("input", 0, this.#stream.read(PIECE));
  }

  #receive(outcome: unknown): void {
    this.#reading = false;
    if (!(outcome instanceof Uint8Array)) {
      this.#ended = true;
      return;
    }
    const { state } = this.#port;
    const input = new Uint8Array(state.input.length + outcome.length);
    input.set(state.input);
    input.set(outcome, state.input.length);
    state.input = input;
    this.#port.serve(QUEUE.RECEIVE);
  }

  #transmit(queue: Queue): void {
    while (!this.#draining) {
      const chain = queue.pop();
      if (!chain) return;
      const { state } = this.#port;
      // The chain is walked anew for each piece, and the driver may have changed it in between.
      if (state.transmitted > chain.readable) throw new DriverFault("a buffer that shrank while it was transmitted");
      const bytes = new Uint8Array(Math.min(chain.readable - state.transmitted, PIECE));
      chain.read(state.transmitted, bytes);
      state.transmitted += bytes.length;
      if (state.transmitted < chain.readable) {
        queue.rewind(1);
      } else {
        state.transmitted = 0;
        queue.push(chain.head, 0);
      }
      const drained = bytes.length > 0 ? this.#stream.write(bytes) : undefined;
      if (!drained) continue;
      this.#draining = true;
      this.#inbox.complete("drained", 0, drained.then(() => null));
    }
  }

  #drained(): void {
    this.#draining = false;
    this.#port.serve(QUEUE.TRANSMIT);
  }
}

type Needs = "irq" | "dma" | "clock" | "inbox" | "stream";

/** A console (`/dev/hvc0`) on a byte stream. */
const virtioConsole: DeviceDefinition<Needs, Config, VirtioState<State>> = defineDevice({
  name: "virtio_console",
  needs: ["irq", "dma", "clock", "inbox", "stream"],
  config: object({
    columns: optional(integer({ min: 1, max: 65535 })),
    rows: optional(integer({ min: 1, max: 65535 })),
  }),
  stateVersion: 1,
  create: ({ config, stream, ...services }) =>
    virtioMmio(services, (port) => new Console(port, stream, services.inbox, config)),
});
export default virtioConsole;
