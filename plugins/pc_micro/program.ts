// Boot files of a PC: ELF, bzImage (Linux, Documentation/arch/x86/boot.rst), flat binaries.

import { type Address, type BootFile, type Bytes, filePart } from "../../core/plugin.ts";
import { hex, HIGH, LOW } from "./memory_map.ts";

/** How a program is entered. */
export type Entry = "linux" | "pvh" | "long" | "real";

/** A part of a file for RAM, followed by zeroes. */
interface Segment {
  readonly at: Address;
  readonly content: BootFile;
  readonly zeroes: number;
}

/** A boot file, understood. */
export interface Program {
  readonly entry: Entry;
  readonly pc: Address;
  readonly segments: readonly Segment[];
  /** The range that it needs. */
  readonly start: Address;
  readonly end: Address;
  /** The setup header of a bzImage: bytes of the zero page from 0x1f1 on. */
  readonly header?: Bytes;
}

const ELF = { e_machine: 18, e_entry: 24, e_phoff: 32, e_phentsize: 54, e_phnum: 56, size: 64 } as const;
const PROGRAM = { p_type: 0, p_offset: 8, p_paddr: 24, p_filesz: 32, p_memsz: 40, size: 56 } as const;
const PT = { LOAD: 1, NOTE: 4 } as const;
const ELF_MAGIC = 0x464c457f;
const CLASS_64_LITTLE = 0x0102;
const X86_64 = 62;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

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

function viewOf(bytes: Bytes): DataView<ArrayBufferLike> {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function wrong(why: string): RangeError {
  return new RangeError(`Cannot boot the kernel: ${why}`);
}

function isElf(head: Bytes): boolean {
  return head.length >= ELF.size && viewOf(head).getUint32(0, true) === ELF_MAGIC;
}

function isBzImage(head: Bytes): boolean {
  if (head.length < SETUP.init_size + 4) return false;
  const view = viewOf(head);
  return view.getUint32(SETUP.header, true) === HDRS && view.getUint16(SETUP.boot_flag, true) === BOOT_FLAG;
}

/** Whether a file says that it is a kernel for x86-64. A flat binary does not. */
export function isForPc(file: BootFile): boolean {
  const head = file.slice(0, HEAD_SIZE);
  return isBzImage(head) || isElf(head) && viewOf(head).getUint16(ELF.e_machine, true) === X86_64;
}

/** What stands at the beginning of files that are often given in place of a kernel. */
const MISTAKEN: readonly (readonly [magic: readonly number[], what: string])[] = [
  [[0x1f, 0x8b], "gzip"],
  [[0x28, 0xb5, 0x2f, 0xfd], "zstd"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "xz"],
];

/** Recognizes a boot file; `flat` says how a flat binary is entered, `pvh` whether kernels may be entered by PVH. */
export function readProgram(file: BootFile, flat: "real" | "long", pvh: boolean): Program {
  const head = file.slice(0, HEAD_SIZE);
  if (isElf(head)) return readElf(file, viewOf(head), pvh);
  if (isBzImage(head)) return readBzImage(file, head);
  const packed = MISTAKEN.find(([magic]) => magic.every((byte, i) => head[i] === byte))?.[1];
  if (packed) throw wrong(`it is compressed by ${packed}; decompress it first`);
  if (!file.length) throw wrong("it is empty");
  const at = flat === "real" ? LOW.FLAT : HIGH;
  if (flat === "real" && at + file.length > LOW.MP_TABLE) {
    throw wrong(`a flat binary in real mode has ${LOW.MP_TABLE - at} bytes at most, got ${file.length}`);
  }
  return { entry: flat, pc: at, segments: [{ at, content: file, zeroes: 0 }], start: at, end: at + file.length };
}

function readBzImage(file: BootFile, head: Bytes): Program {
  const view = viewOf(head);
  const version = view.getUint16(SETUP.version, true);
  if (version < VERSION_64_BIT || !(view.getUint16(SETUP.xloadflags, true) & XLF_KERNEL_64)) {
    throw wrong(`it has no 64-bit entry (boot protocol ${version >> 8}.${version & 0xff})`);
  }
  const payload = ((view.getUint8(SETUP.setup_sects) || 4) + 1) * 512;
  const start = Number(view.getBigUint64(SETUP.pref_address, true));
  if (payload >= file.length) throw wrong("it is cut off");
  const content = filePart(file, payload, file.length - payload);
  return {
    entry: "linux",
    pc: start + ENTRY_64,
    segments: [{ at: start, content, zeroes: 0 }],
    start,
    end: start + Math.max(content.length, view.getUint32(SETUP.init_size, true)),
    header: head.subarray(SETUP.setup_sects, SETUP.header + head[SETUP.jump_length]),
  };
}

function readElf(file: BootFile, view: DataView, pvh: boolean): Program {
  const machine = view.getUint16(ELF.e_machine, true);
  if (machine !== X86_64) throw wrong(`it is an ELF file for machine ${machine}, wanted x86-64 (${X86_64})`);
  if (view.getUint16(4, true) !== CLASS_64_LITTLE) throw wrong("it is no 64-bit little-endian ELF file");
  const headers = Number(view.getBigUint64(ELF.e_phoff, true));
  const count = view.getUint16(ELF.e_phnum, true);
  const step = view.getUint16(ELF.e_phentsize, true);
  if (step < PROGRAM.size || headers + count * step > file.length) throw wrong("its program headers lie outside of it");

  const table = viewOf(file.slice(headers, count * step));
  const segments: Segment[] = [];
  let note: Address | undefined;
  for (let i = 0; i < count; i++) {
    const at = i * step;
    const word = (field: number): number => Number(table.getBigUint64(at + field, true));
    const [offset, filesz, memsz] = [word(PROGRAM.p_offset), word(PROGRAM.p_filesz), word(PROGRAM.p_memsz)];
    const type = table.getUint32(at, true);
    if (type !== PT.LOAD && type !== PT.NOTE) continue;
    if (offset + filesz > file.length) throw wrong("a segment lies outside of it");
    const content = filePart(file, offset, filesz);
    if (type === PT.NOTE) note ??= pvhEntry(content.slice(0, filesz));
    else if (memsz) segments.push({ at: word(PROGRAM.p_paddr), content, zeroes: Math.max(0, memsz - filesz) });
  }
  if (!segments.length) throw wrong("it has nothing to load");
  const start = Math.min(...segments.map(({ at }) => at));
  const end = Math.max(...segments.map(({ at, content, zeroes }) => at + content.length + zeroes));
  if (start < LOW.END) throw wrong(`it is linked to ${hex(start)}, wanted an address from ${hex(HIGH)} on`);
  if (pvh && note !== undefined) return { entry: "pvh", pc: note, segments, start, end };
  return { entry: "linux", pc: Number(view.getBigUint64(ELF.e_entry, true)), segments, start, end };
}

/** The entry that a note of Xen's names. */
function pvhEntry(notes: Bytes): Address | undefined {
  const view = viewOf(notes);
  const padded = (length: number): number => (length + 3) & ~3;
  for (let at = 0; at + 12 <= notes.length;) {
    const [nameSize, size, type] = [0, 4, 8].map((field) => view.getUint32(at + field, true));
    const name = at + 12;
    const content = name + padded(nameSize);
    const isXen = nameSize === 4 && view.getUint32(name, true) === 0x006e6558;
    if (isXen && type === XEN_ELFNOTE_PHYS32_ENTRY && content + 4 <= notes.length) return view.getUint32(content, true);
    at = content + padded(size);
  }
}
