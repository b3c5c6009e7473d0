// Boot files made for tests: Linux Images, bzImages and ELF programs, whole or broken.

import { type BootFiles, type Bytes, bytesFile } from "../../core/plugin.ts";

/** Boot files as a description may have them: bytes. */
export interface BytesToBoot {
  readonly kernel?: Bytes;
  readonly initrd?: Bytes;
  readonly bios?: Bytes;
  readonly append?: string;
}

/** The same as boards get them. */
export function bootFiles({ kernel, initrd, bios, append }: BytesToBoot): BootFiles {
  const file = (bytes: Bytes | undefined) => bytes && bytesFile(bytes);
  return { kernel: file(kernel), initrd: file(initrd), bios: file(bios), append };
}

/** An endless loop: `j .` */
export const LOOP: Uint8Array<ArrayBuffer> = Uint8Array.of(0x6f, 0, 0, 0);

/** A Linux Image of `length` bytes that asks for `imageSize`. */
export function linuxImage(
  { length = 4096, textOffset = 0x20_0000n, imageSize = 0x1_0000n, flags = 0n } = {},
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length).fill(0x13);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x0000_5a4d, true); // "MZ", as the EFI stub has it.
  view.setBigUint64(8, textOffset, true);
  view.setBigUint64(16, imageSize, true);
  view.setBigUint64(24, flags, true);
  bytes.set(new TextEncoder().encode("RISCV\0\0\0RSC\x05"), 48);
  return bytes;
}

/** A bzImage of the boot protocol 2.15 whose code is one byte. */
export function bzImage({ version = 0x20f, flags = 1, address = 0x100_0000n } = {}): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(2 * 512 + 0x201);
  const view = new DataView(file.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint8(0x201, 0x6a);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, version, true);
  view.setUint16(0x236, flags, true);
  view.setBigUint64(0x258, address, true);
  view.setUint32(0x260, 0x20_0000, true);
  file[2 * 512 + 0x200] = 0x90;
  return file;
}

/** What an ELF is made of; every number may be a lie. */
export interface ElfParts {
  readonly machine?: number;
  readonly entry?: bigint;
  readonly segments?: readonly ElfSegment[];
  readonly symbols?: Readonly<Record<string, bigint>>;
}

/** A segment of one. */
export interface ElfSegment {
  readonly type?: number;
  readonly bytes?: Uint8Array;
  readonly vaddr?: bigint;
  readonly paddr?: bigint;
  readonly filesz?: bigint;
  readonly memsz?: bigint;
  readonly offset?: bigint;
}

/** Notes of one owner after the other, in 32-bit words: sizes, type, name, content. */
export function notes(...words: number[]): ElfSegment {
  return { type: 4, bytes: new Uint8Array(Uint32Array.from(words).buffer) };
}

/** The note by which a kernel for x86 tells its PVH entry. */
export function pvhNote(entry: number): ElfSegment {
  return notes(4, 4, 18, 0x006e6558, entry);
}

/** An ELF64 executable, for RISC-V unless told otherwise. */
export function elf(
  { machine = 243, entry = 0x8000_0000n, segments = [{}], symbols }: ElfParts = {},
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8192 + segments.reduce((sum, { bytes = LOOP }) => sum + 56 + bytes.length, 0));
  const view = new DataView(bytes.buffer);
  let end = 64 + 56 * segments.length;
  const append = (part: Uint8Array): bigint => {
    bytes.set(part, end);
    end += part.length;
    return BigInt(end - part.length);
  };
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, machine, true);
  view.setBigUint64(24, entry, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  view.setUint16(58, 64, true);
  segments.forEach(({ bytes: content = LOOP, paddr = 0x8000_0000n, ...part }, i) => {
    const at = 64 + 56 * i;
    const offset = append(content);
    const filesz = part.filesz ?? BigInt(content.length);
    view.setUint32(at, part.type ?? 1, true);
    view.setBigUint64(at + 8, part.offset ?? offset, true);
    view.setBigUint64(at + 16, part.vaddr ?? paddr, true);
    view.setBigUint64(at + 24, paddr, true);
    view.setBigUint64(at + 32, filesz, true);
    view.setBigUint64(at + 40, part.memsz ?? filesz, true);
  });
  if (symbols) {
    const names = Object.keys(symbols);
    const table = new Uint8Array(24 * names.length);
    const tableView = new DataView(table.buffer);
    const strings = new TextEncoder().encode(["", ...names, ""].join("\0"));
    let name = 1;
    names.forEach((symbol, i) => {
      tableView.setUint32(24 * i, name, true);
      tableView.setBigUint64(24 * i + 8, symbols[symbol], true);
      name += symbol.length + 1;
    });
    const sections = [{ type: 2, at: append(table), size: table.length, link: 1 }, {
      type: 3,
      at: append(strings),
      size: strings.length,
      link: 0,
    }];
    view.setBigUint64(40, BigInt(end), true);
    view.setUint16(60, sections.length, true);
    for (const { type, at, size, link } of sections) {
      view.setUint32(end + 4, type, true);
      view.setBigUint64(end + 24, at, true);
      view.setBigUint64(end + 32, BigInt(size), true);
      view.setUint32(end + 40, link, true);
      end += 64;
    }
  }
  return bytes.slice(0, end);
}
