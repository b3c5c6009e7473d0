// The package's entry for virtio devices of one's own.

/**
 * What a virtio device of one's own is made with: the transport, the queues and the life of a request, so that the
 * device says only what it does with a chain of buffers (virtio 1.2).
 *
 * @example A device that answers each request with its bytes, backwards
 * ```ts
 * import { defineDevice, object } from "@denovisor/denovisor";
 * import { virtioMmio } from "@denovisor/denovisor/virtio";
 *
 * export default defineDevice({
 *   name: "virtio_mirror",
 *   needs: ["irq", "dma", "clock", "inbox"], // those of every virtio device, and its own
 *   config: object({}),
 *   stateVersion: 1,
 *   create: (services) =>
 *     virtioMmio(services, () => ({
 *       id: 63, // one that no specification gave away
 *       features: [],
 *       queues: [64],
 *       state: null,
 *       start(chain) {
 *         const bytes = new Uint8Array(Math.min(chain.readable, chain.writable, 4096));
 *         chain.read(0, bytes);
 *         return chain.write(0, bytes.reverse());
 *       },
 *     })),
 * });
 * ```
 *
 * @module
 */

export { type Chain, DriverFault } from "./chain.ts";
export type { Started, VirtioModel, VirtioPort, VirtioServices, VirtioState } from "./device.ts";
export { virtioMmio } from "./mmio.ts";
export type { Queue, QueueState } from "./queue.ts";
