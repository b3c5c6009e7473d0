// A thermometer: a whole device plugin, with two registers, in its own file.

import { defineDevice, integer, object, optional } from "../../mod.ts";

/** Offsets of the registers, each 4 bytes. */
const REG = {
  /** Reads the temperature in thousandths of a degree Celsius. */
  TEMP: 0,
  /** Reads and writes an offset that is added to every measurement. */
  TRIM: 4,
};

export default defineDevice({
  name: "thermometer",
  needs: ["clock"],
  config: object({ celsius: optional(integer({ min: -40, max: 125 }), 20) }),
  stateVersion: 1,
  create: ({ clock, config }) => {
    const device = {
      // All that the device remembers stands here, as plain data: core resets it, saves it and brings it back.
      state: { trim: 0 },
      // What the guest's kernel is told; the board adds the address.
      deviceTree: { compatible: "example,thermometer" },
      regions: [{
        name: "regs",
        size: 8,
        widths: [4] as const,
        // It warms by one thousandth of a degree in each millisecond of the machine's time.
        read: (offset: number): number =>
          offset === REG.TEMP
            ? config.celsius * 1000 + Math.floor(clock.now / 1e6) + device.state.trim
            : device.state.trim,
        write(offset: number, value: number): void {
          if (offset === REG.TRIM) device.state = { trim: value };
        },
      }],
    };
    return device;
  },
});
