// Machines on KVM for tests: a flat binary, and a device that remembers every access to it.

import { createMachine, defineDevice, type Machine, type MachineDescription, object, type Plain } from "../../mod.ts";
import { within } from "../support/linux_guest.ts";
import { flat } from "./x86.ts";

/** Where I/O ports are on the bus of the board pc_micro. */
export const PORTS = 2 ** 52;
/** Where the recorder's registers are: in memory, and as ports. */
export const RECORDER = { memory: 0xd100_0000, port: 0x500 } as const;
/** The port at which a word of 0x5555 powers off. */
export const POWER_PORT = 0x4000;
/** Assembly that powers off. */
export const OFF = `mov dx, ${POWER_PORT}\nmov ax, 0x5555\nout dx, ax\nhlt\n`;
/** The recorder's interrupt. */
export const IRQ = 5;

/** Offsets of the recorder's registers that do something. */
export const REG = {
  /** Read: what the test has put there. */
  MAILBOX: 0x40,
  /** A store lowers the interrupt. */
  LOWER: 0x50,
  /** A store of n raises the interrupt n milliseconds later, one of 0 at once. */
  RAISE: 0x60,
  /** A store of an address has the device write there. */
  DMA: 0x70,
} as const;

/** Seconds that a guest may take. */
const LIMIT = 30;

/** What a test sees of its recorder. */
export interface Recorder {
  /** `r4 10`, `w1 20 ff`: what, how wide, at which offset (of both windows), the value stored. */
  readonly log: string[];
  /** Called at each access. */
  touched: () => void;
  mailbox: number;
  raise(): void;
}

/** A device plugin and its test's end of it. Offset n reads as n times 0x01010101, but for the mailbox. */
function recorder() {
  const seen: Recorder = { log: [], touched: () => {}, mailbox: 0, raise: () => {} };
  const plugin = defineDevice({
    name: "recorder",
    needs: ["irq", "dma", "clock"],
    config: object({}),
    stateVersion: 1,
    create({ irq, dma, clock }) {
      const alarm = clock.alarm("raise", () => irq.set(true));
      seen.raise = () => irq.set(true);
      const window = (name: string) => ({
        name,
        size: 0x100,
        widths: [1, 2, 4] as const,
        read(offset: number, width: 1 | 2 | 4) {
          seen.log.push(`r${width} ${offset.toString(16)}`);
          seen.touched();
          return offset === REG.MAILBOX ? seen.mailbox : Math.imul(offset, 0x01010101) >>> 0;
        },
        write(offset: number, value: number, width: 1 | 2 | 4) {
          seen.log.push(`w${width} ${offset.toString(16)} ${value.toString(16)}`);
          seen.touched();
          if (offset === REG.LOWER) irq.set(false);
          if (offset === REG.RAISE) value ? alarm.at(clock.now + value * 1e6) : irq.set(true);
          if (offset === REG.DMA) dma.store(value, 0x12345678, 4);
        },
      });
      return { state: null as Plain, regions: [window("ports"), window("regs")] };
    },
  });
  return { seen, plugin };
}

/** A machine that runs a flat binary. */
export interface Rig extends AsyncDisposable {
  readonly machine: Machine;
  readonly recorder: Recorder;
  /** Runs to the end; gives what the recorder saw. */
  run(): Promise<string[]>;
}

/** Makes one; the recorder's first window is its ports, the second is in memory. */
export async function rig(
  mode: "real" | "long",
  source: string,
  description: MachineDescription = {},
): Promise<Rig> {
  const { seen, plugin } = recorder();
  const machine = await createMachine({
    engine: "kvm",
    board: { use: "pc_micro", config: { flat: mode } },
    memory: "16M",
    ...description,
    boot: { kernel: await flat(mode, source) },
    devices: [
      { use: "serial_16550" },
      { use: "recorder", at: PORTS + RECORDER.port, irq: IRQ },
      { use: "syscon", at: PORTS + POWER_PORT },
      ...description.devices ?? [],
    ],
  }, { plugins: { recorder: plugin as never } });
  return {
    machine,
    recorder: seen,
    async run() {
      await within(LIMIT, `the guest to end; it did last ${seen.log.slice(-5)}`, machine.run());
      return seen.log;
    },
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  };
}

/** Settles when `condition` holds; rejects after some seconds. */
export async function until(what: string, condition: () => boolean, seconds = 20): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited ${seconds} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
