// A virtio device of a user's own, made with the package's entries alone.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { createMachine, decodeTree, defineDevice, formatTree, object } from "@denovisor/denovisor";
import { virtioMmio } from "@denovisor/denovisor/virtio";
import { fuzz } from "../../cli/fuzz/fuzz.ts";
import { loadDevice } from "../../cli/fuzz/subject.ts";
import { VirtioDriver } from "../../cli/fuzz/virtio_driver.ts";
import { fakeServices } from "../support/fake_services.ts";

/** Answers each request with its bytes, backwards. */
const mirror = defineDevice({
  name: "virtio_mirror",
  needs: ["irq", "dma", "clock", "inbox"],
  config: object({}),
  stateVersion: 1,
  create: (services) =>
    virtioMmio(services, () => ({
      id: 63,
      features: [],
      queues: [64],
      state: null,
      start(chain) {
        const bytes = new Uint8Array(Math.min(chain.readable, chain.writable, 4096));
        chain.read(0, bytes);
        return chain.write(0, bytes.reverse());
      },
    })),
});

Deno.test("a virtio device made with the package's entries answers its driver", () => {
  const services = fakeServices();
  const context = { ...services, config: {}, name: "mirror0", machine: "machine" };
  const driver = new VirtioDriver(services.bind(mirror.create(context)), services.dma).start();
  const { writable: [answer] } = driver.queues[0].add([Uint8Array.of(1, 2, 3)], [8]);
  driver.queues[0].kick();
  assertEquals(driver.queues[0].completed(), [{ head: 0, written: 3 }]);
  assertEquals([...driver.bytes(answer, 3)], [3, 2, 1]);
});

Deno.test("a virtio device made with the package's entries withstands hostile drivers", async () => {
  const { failure, cases } = await fuzz({ ...await loadDevice({ use: "syscon" }), definition: mirror }, {
    seed: 1,
    cases: 20,
  });
  assertEquals([failure, cases], [undefined, 20]);
});

Deno.test("a virtio device made with the package's entries stands on a machine's bus", async () => {
  await using machine = await createMachine(
    { memory: "16M", boot: { kernel: Uint8Array.of(0x6f, 0, 0, 0) }, devices: [{ use: "mirror" }] },
    { plugins: { mirror } },
  );
  assertStringIncludes(formatTree(decodeTree(machine.deviceTree())), "virtio_mmio@");
});
