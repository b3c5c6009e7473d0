// Boot files of a PC: ELF, bzImage (Linux, Documentation/arch/x86/boot.rst), flat binaries.

import { type Address, type BootFile, type Bytes, filePart } from "../../core/plugin.ts";
import { Elf, HEADER, isElf, isElfFor, PROGRAM } from "../boards/elf.ts";
import { Fields } from "../boards/fields.ts";
import { hex } from "../boards/hex.ts";
import { mistake } from "../boards/mistaken.ts";
import { type Extent, type Program, refusal } from "../boards/program.ts";
import { HIGH, LOW, RAM_LIMIT } from "./memory_map.ts";

/** How a program is entered. */
export type Protocol = "linux" | "pvh" | "long" | "real";

/** A program, and how a PC enters it. */
export interface PcProgram extends Program {
  readonly protocol: Protocol;
  /** The setup header of a bzImage: bytes of the zero page from 0x1f1 on. */
  readonly header?: Bytes;
}

/** What decides how a file is understood. */
export interface Reading {
  readonly ram: Extent;
  /** How a flat binary is entered. */
  readonly flat: "real" | "long";
  /** Whether kernels may be entered by PVH. */
  readonly pvh: boolean;
}

const X86_64 = { name: "x86-64", number: 62 } as const;
const PT_NOTE = 4;
const NOTE = { namesz: 0, descsz: 4, type: 8, size: 12 } as const;
const XEN = 0x006e6558; // "Xen\0"
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
/** Bytes of notes that are looked through: a kernel's are some hundreds. */
const MOST_NOTES = 0x1_0000;

/** The setup header's fields. */
export const SETUP = {
  setup_sects: 0x1f1,
  boot_flag: 0x1fe,
  jump_length: 0x201,
  header: 0x202,
  version: 0x206,
  xloadflags: 0x236,
  pref_address: 0x258,
  init_size: 0x260,
} as const;
/** "HdrS". */
export const HDRS = 0x53726448;
const BOOT_FLAG = 0xaa55;
const VERSION_64_BIT = 0x20c;
const XLF_KERNEL_64 = 1;
/** From the start of the protected-mode kernel. */
const ENTRY_64 = 0x200;

/** As much of a file's beginning as tells what it is, with all of a setup header. */
const HEAD_SIZE = 1024;

const wrong = (why: string): RangeError => refusal("kernel", why);

function isBzImage(head: Bytes): boolean {
  if (head.length < SETUP.init_size + 4) return false;
  const header = new Fields(head);
  return header.u32(SETUP.header) === HDRS && header.u16(SETUP.boot_flag) === BOOT_FLAG;
}

/** Whether a file says that it is a kernel for x86-64. A flat binary does not. */
export function isForPc(file: BootFile): boolean {
  const head = file.slice(0, HEAD_SIZE);
  return isBzImage(head) || isElfFor(head, X86_64.number);
}

/**
 * Recognizes a boot file.
 *
 * @throws {RangeError} for a file that is none, with one sentence.
 */
export function readProgram(file: BootFile, { ram, flat, pvh }: Reading): PcProgram {
  const head = file.slice(0, HEAD_SIZE);
  if (isElf(head)) return readElf(file, ram, pvh);
  if (isBzImage(head)) return readBzImage(file, head);
  const mistaken = mistake(head);
  if (mistaken) throw wrong(mistaken);
  if (!file.length) throw wrong("it is empty");
  const at = flat === "real" ? LOW.FLAT : HIGH;
  if (flat === "real" && at + file.length > LOW.MP_TABLE) {
    throw wrong(`a flat binary in real mode has ${LOW.MP_TABLE - at} bytes at most, got ${file.length}`);
  }
  const segments = [{ at, content: file, zeroes: 0 }];
  return { protocol: flat, entry: at, segments, start: at, end: at + file.length };
}

/** Checks that a program leaves low memory to what it is told. */
function checkStart(at: number | bigint): void {
  if (at < HIGH || at >= RAM_LIMIT) {
    throw wrong(`it is linked to ${hex(at)}, wanted an address from ${hex(HIGH)} to ${hex(RAM_LIMIT - 1)}`);
  }
}

function readBzImage(file: BootFile, head: Bytes): PcProgram {
  const header = new Fields(head);
  const version = header.u16(SETUP.version);
  if (version < VERSION_64_BIT || !(header.u16(SETUP.xloadflags) & XLF_KERNEL_64)) {
    throw wrong(`it has no 64-bit entry (boot protocol ${version >> 8}.${version & 0xff})`);
  }
  const payload = ((header.u8(SETUP.setup_sects) || 4) + 1) * 512;
  if (payload >= file.length) throw wrong("it is cut off");
  checkStart(header.u64(SETUP.pref_address));
  const start = Number(header.u64(SETUP.pref_address));
  const content = filePart(file, payload, file.length - payload);
  return {
    protocol: "linux",
    entry: start + ENTRY_64,
    segments: [{ at: start, content, zeroes: 0 }],
    start,
    end: start + Math.max(content.length, header.u32(SETUP.init_size)),
    header: head.subarray(SETUP.setup_sects, SETUP.header + head[SETUP.jump_length]),
  };
}

function readElf(file: BootFile, ram: Extent, pvh: boolean): PcProgram {
  const elf = new Elf(file, { role: "kernel", machine: X86_64, ram });
  const segments = elf.segments();
  const note = pvh ? pvhEntry(elf) : undefined;
  const program = elf.program(segments, note ?? elf.header.u64(HEADER.e_entry));
  checkStart(program.start);
  return { ...program, protocol: note === undefined ? "linux" : "pvh" };
}

/** The entry that a note of Xen's names. */
function pvhEntry(elf: Elf): Address | undefined {
  const blocks = elf.programHeaders(PT_NOTE)
    .map((header) => elf.block("note", header.u64(PROGRAM.p_offset), header.u64(PROGRAM.p_filesz)));
  const total = blocks.reduce((sum, { size }) => sum + size, 0);
  if (total > MOST_NOTES) throw wrong(`its notes have ${hex(total)} bytes, wanted at most ${hex(MOST_NOTES)}`);
  for (const block of blocks) {
    const entry = pvhEntryIn(elf.bytes(block));
    if (entry !== undefined) return entry;
  }
}

function pvhEntryIn(notes: Bytes): Address | undefined {
  const fields = new Fields(notes);
  const padded = (length: number): number => Math.ceil(length / 4) * 4;
  for (let at = 0; at + NOTE.size <= notes.length;) {
    const nameSize = fields.u32(at + NOTE.namesz);
    const name = at + NOTE.size;
    const content = name + padded(nameSize);
    const isEntry = nameSize === 4 && fields.u32(at + NOTE.type) === XEN_ELFNOTE_PHYS32_ENTRY;
    if (isEntry && content + 4 <= notes.length && fields.u32(name) === XEN) return fields.u32(content);
    at = content + padded(fields.u32(at + NOTE.descsz));
  }
}
