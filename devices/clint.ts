// Core-local interruptor (timer and software interrupts): SiFive FU540-C000 manual, chapter 9 "CLINT".

import { defineDevice, type Device } from "../core/plugin.ts";
import { integer, object, optional } from "../core/schema.ts";

/** Byte offsets: an array of 4-byte MSIP, an array of 8-byte MTIMECMP, one 8-byte MTIME. */
const REG = { MSIP: 0x0000, MTIMECMP: 0x4000, MTIME: 0xbff8, END: 0xc000 } as const;
/** Interrupt numbers of the RISC-V privileged architecture (`mip`). */
const LINE = { MSIP: 3, MTIP: 7 } as const;

const SECOND = 1_000_000_000n;
const NEVER = 2n ** 64n - 1n;
const LATEST = BigInt(Number.MAX_SAFE_INTEGER);

type State = {
  /** Software-interrupt bits, by hart. */
  msip: number[];
  /** Compare values in ticks, by hart. Hardware leaves them undefined at reset; here no timer is due then. */
  mtimecmp: bigint[];
  /** What the guest's writes to MTIME added to the ticks of virtual time. */
  offset: bigint;
};

/** A timer and a software interrupt for every hart. */
export default defineDevice({
  name: "clint",
  needs: ["clock", "cpus"],
  config: object({
    /** Ticks of MTIME a second. */
    timebase: optional(integer({ min: 1, max: 1_000_000_000 }), 10_000_000),
  }),
  stateVersion: 1,
  create({ clock, cpus, config }) {
    const timebase = BigInt(config.timebase);
    const harts = Array.from({ length: cpus.count }, (_, hart) => hart);
    const alarms = harts.map((hart) => clock.alarm(`hart${hart}`, () => updateTimer(hart)));

    const ticks = (): bigint => BigInt(clock.now) * timebase / SECOND;
    const mtime = (): bigint => BigInt.asUintN(64, ticks() + device.state.offset);

    function updateTimer(hart: number): void {
      const wait = device.state.mtimecmp[hart] - mtime();
      cpus.set(hart, LINE.MTIP, wait <= 0n);
      // Rounded up: when the alarm fires, MTIME has surely reached the compare value.
      const deadline = ((ticks() + wait) * SECOND + timebase - 1n) / timebase;
      if (wait > 0n && deadline <= LATEST) alarms[hart].at(Number(deadline));
      else alarms[hart].cancel();
    }

    const device: Device<State> = {
      state: { msip: harts.map(() => 0), mtimecmp: harts.map(() => NEVER), offset: 0n },
      deviceTree: { compatible: ["sifive,clint0", "riscv,clint0"], cpuLines: [LINE.MSIP, LINE.MTIP] },
      regions: [{
        name: "regs",
        size: 0x10000,
        widths: [4],
        read(offset) {
          const { msip, mtimecmp } = device.state;
          if (offset < REG.MTIMECMP) return msip[offset >> 2] ?? 0;
          if (offset < REG.MTIME) return half(mtimecmp[(offset - REG.MTIMECMP) >> 3] ?? 0n, offset);
          return offset < REG.END ? half(mtime(), offset) : 0;
        },
        write(offset, value) {
          const { state } = device;
          if (offset < REG.MTIMECMP) {
            const hart = offset >> 2;
            if (hart >= harts.length) return;
            state.msip[hart] = value & 1;
            cpus.set(hart, LINE.MSIP, state.msip[hart] === 1);
          } else if (offset < REG.MTIME) {
            const hart = (offset - REG.MTIMECMP) >> 3;
            if (hart >= harts.length) return;
            state.mtimecmp[hart] = withHalf(state.mtimecmp[hart], offset, value);
            updateTimer(hart);
          } else if (offset < REG.END) {
            state.offset = withHalf(mtime(), offset, value) - ticks();
            harts.forEach(updateTimer);
          }
        },
      }],
      refresh() {
        for (const hart of harts) {
          cpus.set(hart, LINE.MSIP, device.state.msip[hart] === 1);
          updateTimer(hart);
        }
      },
    };
    return device;
  },
});

/** The 32 bits of a 64-bit register that lie at `offset`. */
function half(register: bigint, offset: number): number {
  return Number(BigInt.asUintN(32, offset & 4 ? register >> 32n : register));
}

/** `register` with the 32 bits at `offset` replaced. */
function withHalf(register: bigint, offset: number, value: number): bigint {
  const low = BigInt.asUintN(32, register);
  return offset & 4 ? BigInt(value) << 32n | low : (register - low) | BigInt(value);
}
