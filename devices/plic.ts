// Platform-level interrupt controller: RISC-V PLIC specification 1.0.0, with two contexts (M, then S) for each hart.

import { defineDevice, type Device } from "../core/plugin.ts";
import { integer, object, optional } from "../core/schema.ts";

/** Byte offsets (section 3 "Memory Map") and the strides of what is repeated for each context. */
const REG = {
  PRIORITY: 0x000000,
  PENDING: 0x001000,
  ENABLE: 0x002000,
  THRESHOLD: 0x200000,
  CLAIM: 0x200004,
} as const;
const STRIDE = { ENABLE: 0x80, CONTEXT: 0x1000 } as const;
/** Interrupt numbers of the RISC-V privileged architecture (`mip`), by a hart's context. */
const LINES = [11, 9] as const;
/** Priorities 0 (never) to 7: three implemented bits. */
const PRIORITY_MASK = 7;

/** Bit sets hold interrupt 32n+b in bit b of word n; interrupt 0 does not exist. */
type State = {
  /** By interrupt. */
  priority: number[];
  /** The devices' lines as they stand. */
  level: number[];
  /** Requests that the gateways forwarded and no context has claimed yet. */
  pending: number[];
  /** Interrupts claimed and not yet completed: their gateways forward nothing. */
  claimed: number[];
  /** By context. */
  enable: number[][];
  /** By context. */
  threshold: number[];
};

/** Gathers the devices' interrupt lines and hands them to the harts by priority. */
export default defineDevice({
  name: "plic",
  needs: ["cpus"],
  config: object({
    /** Interrupt inputs, numbered from 1. */
    inputs: optional(integer({ min: 1, max: 1023 }), 95),
  }),
  stateVersion: 1,
  create({ cpus, config: { inputs } }) {
    const words = (inputs + 32) >> 5;
    const contexts = cpus.count * LINES.length;
    const none = (): number[] => Array<number>(words).fill(0);

    /** The interrupt that `context` would claim: the highest priority, then the lowest number; 0 for none. */
    function best(context: number): number {
      const { pending, enable, priority } = device.state;
      let found = 0;
      for (let word = 0; word < words; word++) {
        for (let rest = pending[word] & enable[context][word]; rest !== 0; rest &= rest - 1) {
          const input = word << 5 | 31 - Math.clz32(rest & -rest);
          if (priority[input] > (found ? priority[found] : 0)) found = input;
        }
      }
      return found;
    }

    function updateLines(): void {
      const { priority, threshold } = device.state;
      for (let context = 0; context < contexts; context++) {
        const input = best(context);
        const wanted = input !== 0 && priority[input] > threshold[context];
        cpus.set(context >> 1, LINES[context & 1], wanted);
      }
    }

    function claim(context: number): number {
      const input = best(context);
      if (input) {
        clear(device.state.pending, input);
        set(device.state.claimed, input);
        updateLines();
      }
      return input;
    }

    function complete(context: number, input: number): void {
      const { enable, claimed } = device.state;
      if (input > inputs || !has(enable[context], input) || !has(claimed, input)) return;
      clear(claimed, input);
      forward(input);
    }

    /** The gateway: a level that stands becomes a request, which stays even when the level falls. */
    function forward(input: number): void {
      const { level, claimed, pending } = device.state;
      if (!has(level, input) || has(claimed, input) || has(pending, input)) return;
      set(pending, input);
      updateLines();
    }

    /** Clears the bits of word `word` that name no interrupt. */
    function existing(word: number, value: number): number {
      const last = inputs - (word << 5);
      const upTo = last >= 31 ? -1 : (2 << last) - 1;
      return (value & upTo & (word === 0 ? ~1 : -1)) >>> 0;
    }

    const device: Device<State> = {
      state: {
        priority: Array<number>(inputs + 1).fill(0),
        level: none(),
        pending: none(),
        claimed: none(),
        enable: Array.from({ length: contexts }, none),
        threshold: Array<number>(contexts).fill(0),
      },
      deviceTree: {
        compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
        properties: {
          "interrupt-controller": true,
          "#interrupt-cells": 1,
          "#address-cells": 0,
          "riscv,ndev": inputs,
        },
        cpuLines: LINES,
      },
      controller: {
        inputs,
        set(input, level) {
          if (input < 1 || input > inputs) return;
          if (level) set(device.state.level, input);
          else clear(device.state.level, input);
          forward(input);
        },
      },
      regions: [{
        name: "regs",
        size: 0x600000,
        widths: [4],
        read(offset) {
          const { state } = device;
          if (offset < REG.PENDING) return state.priority[offset >> 2] ?? 0;
          if (offset < REG.ENABLE) return state.pending[(offset - REG.PENDING) >> 2] ?? 0;
          if (offset < REG.THRESHOLD) {
            const { context, within } = split(offset - REG.ENABLE, STRIDE.ENABLE);
            return state.enable[context]?.[within >> 2] ?? 0;
          }
          const { context, within } = split(offset - REG.THRESHOLD, STRIDE.CONTEXT);
          if (context >= contexts) return 0;
          if (within === 0) return state.threshold[context];
          return within === REG.CLAIM - REG.THRESHOLD ? claim(context) : 0;
        },
        write(offset, value) {
          const { state } = device;
          if (offset < REG.PENDING) {
            const input = offset >> 2;
            if (input >= 1 && input <= inputs) state.priority[input] = value & PRIORITY_MASK;
          } else if (offset >= REG.THRESHOLD) {
            const { context, within } = split(offset - REG.THRESHOLD, STRIDE.CONTEXT);
            if (context >= contexts) return;
            if (within === REG.CLAIM - REG.THRESHOLD) return complete(context, value);
            if (within === 0) state.threshold[context] = value & PRIORITY_MASK;
          } else if (offset >= REG.ENABLE) {
            const { context, within } = split(offset - REG.ENABLE, STRIDE.ENABLE);
            const word = within >> 2;
            if (context < contexts && word < words) state.enable[context][word] = existing(word, value);
          }
          updateLines();
        },
      }],
      refresh: updateLines,
    };
    return device;
  },
});

const has = (bits: number[], n: number): boolean => (bits[n >> 5] >>> (n & 31) & 1) === 1;

function set(bits: number[], n: number): void {
  bits[n >> 5] = (bits[n >> 5] | 1 << (n & 31)) >>> 0;
}

function clear(bits: number[], n: number): void {
  bits[n >> 5] = (bits[n >> 5] & ~(1 << (n & 31))) >>> 0;
}

function split(offset: number, stride: number): { context: number; within: number } {
  return { context: Math.floor(offset / stride), within: offset % stride };
}
