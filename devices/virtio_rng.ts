// An entropy device: virtio 1.2 section 5.4.

import { defineDevice, type DeviceDefinition } from "../core/plugin.ts";
import { object } from "../core/schema.ts";
import type { VirtioState } from "./virtio/device.ts";
import { virtioMmio } from "./virtio/mmio.ts";

/** The most bytes given for one request: a driver may be given fewer than it asked for. */
const MAX_BYTES = 4096;

type Needs = "irq" | "dma" | "clock" | "inbox" | "entropy";

/** Random bytes for the guest. */
const virtioRng: DeviceDefinition<Needs, Record<never, never>, VirtioState<null>> = defineDevice({
  name: "virtio_rng",
  needs: ["irq", "dma", "clock", "inbox", "entropy"],
  config: object({}),
  stateVersion: 1,
  create: ({ entropy, ...services }) =>
    virtioMmio(services, () => ({
      id: 4,
      features: [],
      queues: [64],
      state: null,
      serve(queue) {
        for (let chain = queue.pop(); chain; chain = queue.pop()) {
          const random = new Uint8Array(Math.min(chain.writable, MAX_BYTES));
          entropy.fill(random);
          queue.push(chain.head, chain.write(0, random));
        }
      },
    })),
});
export default virtioRng;
