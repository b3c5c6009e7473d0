// What a kernel is told at its entry: Linux's zero page (Documentation/arch/x86/boot.rst and zero-page.rst), and PVH's
// start info (Xen, public/arch-x86/hvm/start_info.h).

import type { Address, Bytes } from "../../core/plugin.ts";
import { HIGH, LOW } from "./memory_map.ts";
import { HDRS, SETUP } from "./program.ts";

/** RAM for the guest, and where things lie in it. */
export interface Told {
  readonly ramSize: number;
  readonly initrd?: { readonly at: Address; readonly size: number };
  /** Whether a seed for random numbers lies at {@linkcode LOW.SETUP_DATA}. */
  readonly seeded: boolean;
}

const ZERO_PAGE = {
  e820_entries: 0x1e8,
  vid_mode: 0x1fa,
  type_of_loader: 0x210,
  loadflags: 0x211,
  ramdisk_image: 0x218,
  ramdisk_size: 0x21c,
  heap_end_ptr: 0x224,
  cmd_line_ptr: 0x228,
  kernel_alignment: 0x230,
  cmdline_size: 0x238,
  setup_data: 0x250,
  e820_table: 0x2d0,
  size: 4096,
} as const;
const E820_ENTRY = 20;
const PROTOCOL = 0x20f;
const LOADED_HIGH = 1;
/** A loader without a number of its own. */
const LOADER = 0xff;
const VIDEO_NORMAL = 0xffff;
const SETUP_RNG_SEED = 9;

/** What memory is: as the firmware's map says it. */
const TYPE = { RAM: 1, RESERVED: 2 } as const;

function memoryMap(ramSize: number): readonly (readonly [at: Address, size: number, type: number])[] {
  return [
    [0, LOW.MP_TABLE, TYPE.RAM],
    [LOW.MP_TABLE, LOW.END - LOW.MP_TABLE, TYPE.RESERVED],
    [HIGH, ramSize - HIGH, TYPE.RAM],
  ];
}

/** The zero page; `header` is a bzImage's setup header, if the kernel is one. */
export function zeroPage(told: Told, header: Bytes | undefined): Uint8Array<ArrayBuffer> {
  const page = new Uint8Array(ZERO_PAGE.size);
  const view = new DataView(page.buffer);
  if (header) page.set(header, SETUP.setup_sects);
  else {
    view.setUint16(SETUP.boot_flag, 0xaa55, true);
    view.setUint32(SETUP.header, HDRS, true);
    view.setUint16(SETUP.version, PROTOCOL, true);
    view.setUint32(ZERO_PAGE.kernel_alignment, 0x100_0000, true);
    view.setUint32(ZERO_PAGE.cmdline_size, LOW.COMMAND_LINE_SIZE - 1, true);
  }
  view.setUint16(ZERO_PAGE.vid_mode, VIDEO_NORMAL, true);
  view.setUint8(ZERO_PAGE.type_of_loader, LOADER);
  view.setUint8(ZERO_PAGE.loadflags, view.getUint8(ZERO_PAGE.loadflags) | LOADED_HIGH);
  view.setUint32(ZERO_PAGE.ramdisk_image, told.initrd?.at ?? 0, true);
  view.setUint32(ZERO_PAGE.ramdisk_size, told.initrd?.size ?? 0, true);
  view.setUint32(ZERO_PAGE.cmd_line_ptr, LOW.COMMAND_LINE, true);
  view.setBigUint64(ZERO_PAGE.setup_data, told.seeded ? BigInt(LOW.SETUP_DATA) : 0n, true);

  const map = memoryMap(told.ramSize);
  view.setUint8(ZERO_PAGE.e820_entries, map.length);
  map.forEach(([at, size, type], i) => {
    const entry = ZERO_PAGE.e820_table + i * E820_ENTRY;
    view.setBigUint64(entry, BigInt(at), true);
    view.setBigUint64(entry + 8, BigInt(size), true);
    view.setUint32(entry + 16, type, true);
  });
  return page;
}

/** A node of the zero page's list: random bytes that the kernel wipes when it has used them. */
export function seedNode(seed: Bytes): Uint8Array<ArrayBuffer> {
  const node = new Uint8Array(16 + seed.length);
  const view = new DataView(node.buffer);
  view.setUint32(8, SETUP_RNG_SEED, true);
  view.setUint32(12, seed.length, true);
  node.set(seed, 16);
  return node;
}

const START_INFO = { magic: 0x336ec578, version: 1, size: 56, module: 32, mapEntry: 24 } as const;

/** PVH's start info for the place `at`, with the list of modules and the map of memory behind it. */
export function startInfo(at: Address, { ramSize, initrd }: Told): Uint8Array<ArrayBuffer> {
  const map = memoryMap(ramSize);
  const modules = at + START_INFO.size;
  const mapAt = modules + START_INFO.module;
  const bytes = new Uint8Array(START_INFO.size + START_INFO.module + map.length * START_INFO.mapEntry);
  const view = new DataView(bytes.buffer);
  const long = (offset: number, value: number): void => view.setBigUint64(offset, BigInt(value), true);
  view.setUint32(0, START_INFO.magic, true);
  view.setUint32(4, START_INFO.version, true);
  view.setUint32(12, initrd ? 1 : 0, true);
  long(16, modules);
  long(24, LOW.COMMAND_LINE);
  long(40, mapAt);
  view.setUint32(48, map.length, true);
  long(START_INFO.size, initrd?.at ?? 0);
  long(START_INFO.size + 8, initrd?.size ?? 0);
  map.forEach(([start, size, type], i) => {
    const entry = mapAt - at + i * START_INFO.mapEntry;
    long(entry, start);
    long(entry + 8, size);
    view.setUint32(entry + 16, type, true);
  });
  return bytes;
}
