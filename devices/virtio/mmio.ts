// The registers of a virtio device on a memory-mapped bus, version 2: virtio 1.2 section 4.2.2.

import type { Device, Plain, Width } from "../../core/plugin.ts";
import { VirtioDevice, type VirtioModel, type VirtioPort, type VirtioServices, type VirtioState } from "./device.ts";
import type { QueueState } from "./queue.ts";
import { REG } from "./registers.ts";

const MAGIC = 0x74726976; // "virt"
const VERSION = 2;
const VENDOR = 0x6f6e6564; // "deno"

/** Registers that hold a field of the selected queue, writable until the queue is ready. */
const QUEUE_FIELDS: Readonly<Record<number, Exclude<keyof QueueState, "ready">>> = {
  [REG.QueueNum]: "size",
  [REG.QueueDescLow]: "descLow",
  [REG.QueueDescHigh]: "descHigh",
  [REG.QueueDriverLow]: "driverLow",
  [REG.QueueDriverHigh]: "driverHigh",
  [REG.QueueDeviceLow]: "deviceLow",
  [REG.QueueDeviceHigh]: "deviceHigh",
};

/** Makes a device of a model: `build` gets the port through which the model reaches its queues and its state. */
export function virtioMmio<S extends Plain>(
  services: VirtioServices,
  build: (port: VirtioPort<S>) => VirtioModel<S>,
): Device<VirtioState<S>> {
  const virtio = new VirtioDevice(services, build);
  return {
    get state() {
      return virtio.root;
    },
    set state(state) {
      virtio.root = state;
    },
    regions: [{
      name: "regs",
      size: 0x1000,
      widths: [1, 2, 4],
      read(offset, width) {
        if (offset >= REG.Config) return readConfig(virtio.model, offset - REG.Config, width);
        return width === 4 ? readRegister(virtio, offset) : 0;
      },
      write(offset, value, width) {
        if (offset >= REG.Config) virtio.model.configure?.(offset - REG.Config, value, width);
        else if (width === 4) writeRegister(virtio, offset, value);
      },
    }],
    deviceTree: { node: "virtio_mmio", compatible: "virtio,mmio" },
    events: virtio.events,
    refresh: () => virtio.refresh(),
    pause: () => virtio.pause(),
    resume: () => virtio.resume(),
  };
}

function readConfig<S extends Plain>(model: VirtioModel<S>, offset: number, width: Width): number {
  const bytes = model.config?.() ?? [];
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
  return value;
}

function readRegister<S extends Plain>(virtio: VirtioDevice<S>, offset: number): number {
  const state = virtio.root;
  switch (offset) {
    case REG.MagicValue:
      return MAGIC;
    case REG.Version:
      return VERSION;
    case REG.DeviceID:
      return virtio.model.id;
    case REG.VendorID:
      return VENDOR;
    case REG.DeviceFeatures:
      return virtio.offered(state.deviceFeaturesSel);
    case REG.QueueNumMax:
      return virtio.queues[state.queueSel]?.maximum ?? 0;
    case REG.QueueReady:
      return state.queues[state.queueSel]?.ready ? 1 : 0;
    case REG.InterruptStatus:
      return state.interruptStatus;
    case REG.Status:
      return state.status;
    case REG.SHMLenLow:
    case REG.SHMLenHigh:
    case REG.SHMBaseLow:
    case REG.SHMBaseHigh:
      return 0xffff_ffff; // no shared memory region has this number
    case REG.ConfigGeneration:
      return state.configGeneration;
    default:
      return 0;
  }
}

function writeRegister<S extends Plain>(virtio: VirtioDevice<S>, offset: number, value: number): void {
  const state = virtio.root;
  switch (offset) {
    case REG.QueueNotify:
      if (value < virtio.queues.length) virtio.serve(value);
      return;
    case REG.InterruptACK:
      return virtio.acknowledge(value);
    case REG.DeviceFeaturesSel:
      state.deviceFeaturesSel = value;
      return;
    case REG.DriverFeatures:
      return virtio.acceptFeatures(state.driverFeaturesSel, value);
    case REG.DriverFeaturesSel:
      state.driverFeaturesSel = value;
      return;
    case REG.QueueSel:
      state.queueSel = value;
      return;
    case REG.QueueReady:
      return virtio.enableQueue(state.queueSel, (value & 1) === 1);
    case REG.Status:
      return virtio.setStatus(value & 0xff);
  }
  const field = QUEUE_FIELDS[offset];
  const queue = state.queues[state.queueSel];
  if (field && queue && !queue.ready) queue[field] = value;
}
