// System controller (power off, reset): the "SiFive test finisher", as QEMU's virt machine and Linux's syscon know it.

import { defineDevice } from "../core/plugin.ts";
import { object } from "../core/schema.ts";

const REG = { FINISH: 0 } as const;
const FINISH = { FAIL: 0x3333, PASS: 0x5555, RESET: 0x7777 } as const;

/** Ends or resets the machine when the guest asks for it. */
export default defineDevice({
  name: "syscon",
  needs: ["power"],
  config: object({}),
  stateVersion: 1,
  create: ({ power }) => ({
    state: {},
    deviceTree: {
      compatible: ["sifive,test1", "sifive,test0", "syscon"],
      companions: {
        poweroff: {
          compatible: "syscon-poweroff",
          regmap: { phandle: "self" },
          offset: REG.FINISH,
          value: FINISH.PASS,
        },
        reboot: { compatible: "syscon-reboot", regmap: { phandle: "self" }, offset: REG.FINISH, value: FINISH.RESET },
      },
    },
    regions: [{
      name: "regs",
      size: 0x1000,
      widths: [2, 4],
      read: () => 0,
      write(offset, value) {
        if (offset !== REG.FINISH) return;
        const what = value & 0xffff;
        if (what === FINISH.PASS) power("off", 0);
        // A failure that names no code is still no success.
        if (what === FINISH.FAIL) power("off", value >>> 16 || 1);
        if (what === FINISH.RESET) power("reset");
      },
    }],
  }),
});
