// CPUs, buses and interrupts for the guest: Intel MultiProcessor Specification 1.4, chapter 4.

import { INPUTS, IO_APIC, LOCAL_APIC } from "./memory_map.ts";

const VERSION = 4; // 1.4
const LOCAL_APIC_VERSION = 0x14;
const IO_APIC_VERSION = 0x11;
const ENTRY = { CPU: 0, BUS: 1, IO_APIC: 2, INTERRUPT: 3, LOCAL_INTERRUPT: 4 } as const;
const CPU_ENABLED = 1;
const CPU_BOOTS = 2;
const CPU_FEATURES = 0x201; // FPU and local APIC
const INTERRUPT = { INT: 0, NMI: 1, EXTINT: 3 } as const;
const ALL_APICS = 0xff;
/** Polarity and trigger: the bus's, edges, for the 8254; and active high and level, as devices' lines are. */
const OF_BUS = 0;
const LEVEL = 0b1101;
/** The 8254's interrupt. */
const TIMER = 0;

const ascii = (text: string): number[] => [...text].map((character) => character.charCodeAt(0));
const word = (value: number): number[] => [value & 0xff, value >> 8 & 0xff];
const long = (value: number): number[] => [...word(value), ...word(value >>> 16)];

/** Makes the last byte-wide sum zero: `at` is the place of the checksum. */
function summed(bytes: number[], at: number): number[] {
  bytes[at] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
}

/** The floating pointer and the table behind it, for a place in memory. */
export function mpTable(at: number, cpus: number): Uint8Array<ArrayBuffer> {
  const ioApic = cpus;
  const entries: number[][] = [
    ...Array.from({ length: cpus }, (_, id) => [
      ENTRY.CPU,
      id,
      LOCAL_APIC_VERSION,
      CPU_ENABLED | (id === 0 ? CPU_BOOTS : 0),
      ...long(0x600), // family 6
      ...long(CPU_FEATURES),
      ...long(0),
      ...long(0),
    ]),
    [ENTRY.BUS, 0, ...ascii("ISA   ")],
    [ENTRY.IO_APIC, ioApic, IO_APIC_VERSION, 1, ...long(IO_APIC)],
    // Inputs have the numbers of the interrupts.
    ...Array.from(
      { length: INPUTS },
      (_, irq) => [ENTRY.INTERRUPT, INTERRUPT.INT, ...word(irq === TIMER ? OF_BUS : LEVEL), 0, irq, ioApic, irq],
    ),
    [ENTRY.LOCAL_INTERRUPT, INTERRUPT.EXTINT, ...word(0), 0, 0, 0, 0],
    [ENTRY.LOCAL_INTERRUPT, INTERRUPT.NMI, ...word(0), 0, 0, ALL_APICS, 1],
  ];
  const content = entries.flat();
  const length = 44 + content.length;
  const table = summed([
    ...ascii("PCMP"),
    ...word(length),
    VERSION,
    0,
    ...ascii("DENOVISOPC MICRO    "),
    ...long(0),
    ...word(0),
    ...word(entries.length),
    ...long(LOCAL_APIC),
    ...word(0),
    0,
    0,
    ...content,
  ], 7);
  const pointer = summed([...ascii("_MP_"), ...long(at + 16), 1, VERSION, 0, 0, 0, 0, 0, 0], 10);
  return Uint8Array.from([...pointer, ...table]);
}
