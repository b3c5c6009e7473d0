// The PC board: what x86-64 guests need to find, and no more. Serial port, virtio, an MP table; no PCI, no firmware.

import { type Board, type BoardDefinition, defineBoard } from "../../core/plugin.ts";
import { object, oneOf, optional } from "../../core/schema.ts";
import { boot } from "./boot.ts";
import { placeDevices, PORTS, RAM_LIMIT } from "./memory_map.ts";
import { isForPc } from "./program.ts";

/** The board's options. */
export interface PcMicroConfig {
  /** How a kernel that is a flat binary is entered: in real mode at 0x7c00 (default), or in long mode at 0x100000. */
  readonly flat: "real" | "long";
  /** How an ELF kernel is entered: by PVH where it has that entry (`"auto"`), always, or never. */
  readonly entry: "auto" | "linux" | "pvh";
}

/** Ticks a second of the PC's timer. */
const TIMEBASE = 1_193_182;
const ALL_ONES = 0xffff_ffff;

/** The board `pc_micro`. */
const pcMicro: BoardDefinition<PcMicroConfig> = defineBoard<PcMicroConfig>({
  name: "pc_micro",
  architecture: "x86_64",
  config: object({
    flat: optional(oneOf("real", "long"), "real"),
    entry: optional(oneOf("auto", "linux", "pvh"), "auto"),
  }),
  takes: isForPc,

  create({ config, ramSize }): Board {
    if (ramSize > RAM_LIMIT) {
      throw new RangeError(`Cannot configure machine.memory: the board pc_micro takes at most ${RAM_LIMIT / 2 ** 20}M`);
    }
    return {
      ramBase: 0,
      ports: PORTS,
      timebase: TIMEBASE,
      defaultDevices: [{ use: "serial_16550", name: "serial0" }, { use: "syscon" }],
      place: placeDevices,
      // Nobody drives the bus.
      unassigned: () => ALL_ONES,
      boot: (context) => boot(context, config),
      describe: () => new Uint8Array(0),
    };
  },
});

export default pcMicro;
