// The RISC-V board: a machine that guests know as QEMU's "virt", with SBI firmware for those that bring none.

import { type Board, type BoardDefinition, defineBoard } from "../../core/plugin.ts";
import { integer, object, optional } from "../../core/schema.ts";
import { boot, describe } from "./boot.ts";
import { LAST_IRQ, placeDevices, RAM_BASE } from "./memory_map.ts";
import { Sbi } from "./sbi.ts";

/** The board's options. */
export interface RiscvVirtConfig {
  /** Ticks a second of the `time` counter; default 10 million. */
  readonly timebase: number;
}

const FAULT = -1;

/** The board `riscv_virt`. */
const riscvVirt: BoardDefinition<RiscvVirtConfig> = defineBoard<RiscvVirtConfig>({
  name: "riscv_virt",
  architecture: "riscv64",
  config: object({ timebase: optional(integer({ min: 1, max: 1_000_000_000 }), 10_000_000) }),

  create({ config: { timebase }, ramSize, bios }): Board {
    return {
      ramBase: RAM_BASE,
      timebase,
      defaultDevices: [
        { use: "clint", config: { timebase } },
        { use: "plic", config: { inputs: LAST_IRQ } },
        { use: "syscon" },
        { use: "goldfish_rtc" },
        { use: "serial_16550", name: "serial0" },
      ],
      place: (devices) => placeDevices(devices, ramSize),
      unassigned: () => FAULT,
      ...bios ? {} : { firmware: (context) => new Sbi(context, { base: RAM_BASE, size: ramSize }) },
      boot: (context) => boot(context, timebase),
      describe: (context) => describe(context, timebase),
    };
  },
});

export default riscvVirt;
