// Real-time clock: the Goldfish virtual hardware's "Goldfish timer" (docs/GOLDFISH-VIRTUAL-HARDWARE.TXT, section IV).

import { defineDevice, type Device } from "../core/plugin.ts";
import { object } from "../core/schema.ts";

const REG = {
  TIME_LOW: 0x00,
  TIME_HIGH: 0x04,
  ALARM_LOW: 0x08,
  ALARM_HIGH: 0x0c,
  IRQ_ENABLED: 0x10,
  CLEAR_ALARM: 0x14,
  ALARM_STATUS: 0x18,
  CLEAR_INTERRUPT: 0x1c,
} as const;

/** Longest wait for one clock alarm, an hour: the host may set its wall clock meanwhile. */
const LONGEST = 3_600_000_000_000n;

type State = {
  /** What the guest's setting of the time added to the host's, nanoseconds. */
  offset: bigint;
  /** Latched by a read of TIME_LOW. */
  timeHigh: number;
  /** Nanoseconds since 1970. */
  alarm: bigint;
  armed: boolean;
  interrupt: boolean;
  enabled: boolean;
};

/** The time of day, and an alarm. */
export default defineDevice({
  name: "goldfish_rtc",
  needs: ["irq", "clock", "wallTime"],
  config: object({}),
  stateVersion: 1,
  create({ irq, clock, wallTime }) {
    const timer = clock.alarm("alarm", check);
    const nanos = (): bigint => BigInt.asUintN(64, BigInt(Math.floor(wallTime())) * 1000n + device.state.offset);

    function updateLine(): void {
      irq.set(device.state.interrupt && device.state.enabled);
    }

    /** Fires the alarm, or waits on: virtual time stands still in a pause, the time of day does not. */
    function check(): void {
      const { state } = device;
      if (!state.armed) return timer.cancel();
      const wait = state.alarm - nanos();
      if (wait > 0n) return timer.at(clock.now + Number(wait < LONGEST ? wait : LONGEST));
      state.armed = false;
      state.interrupt = true;
      timer.cancel();
      updateLine();
    }

    const device: Device<State> = {
      state: { offset: 0n, timeHigh: 0, alarm: 0n, armed: false, interrupt: false, enabled: false },
      deviceTree: { node: "rtc", compatible: "google,goldfish-rtc" },
      regions: [{
        name: "regs",
        size: 0x1000,
        widths: [4],
        read(offset) {
          const { state } = device;
          switch (offset) {
            case REG.TIME_LOW: {
              const now = nanos();
              state.timeHigh = Number(now >> 32n);
              return Number(now & 0xffff_ffffn);
            }
            case REG.TIME_HIGH:
              return state.timeHigh;
            case REG.ALARM_LOW:
              return Number(state.alarm & 0xffff_ffffn);
            case REG.ALARM_HIGH:
              return Number(state.alarm >> 32n);
            case REG.IRQ_ENABLED:
              return Number(state.enabled);
            case REG.ALARM_STATUS:
              return Number(state.armed);
            default:
              return 0;
          }
        },
        write(offset, value) {
          const { state } = device;
          switch (offset) {
            case REG.TIME_LOW:
              return setTime(withLow(nanos(), value));
            case REG.TIME_HIGH:
              return setTime(withHigh(nanos(), value));
            case REG.ALARM_HIGH:
              state.alarm = withHigh(state.alarm, value);
              return;
            case REG.ALARM_LOW:
              // The driver writes the high half first; the low half arms.
              state.alarm = withLow(state.alarm, value);
              state.armed = true;
              return check();
            case REG.CLEAR_ALARM:
              state.armed = false;
              return check();
            case REG.IRQ_ENABLED:
              state.enabled = (value & 1) === 1;
              return updateLine();
            case REG.CLEAR_INTERRUPT:
              state.interrupt = false;
              return updateLine();
          }
        },
      }],
      refresh() {
        updateLine();
        check();
      },
      resume: check,
    };
    return device;

    function setTime(to: bigint): void {
      device.state.offset += to - nanos();
      check();
    }
  },
});

const withLow = (time: bigint, low: number): bigint => time >> 32n << 32n | BigInt(low);
const withHigh = (time: bigint, high: number): bigint => BigInt(high) << 32n | time & 0xffff_ffffn;
