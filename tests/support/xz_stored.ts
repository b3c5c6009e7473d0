// An xz file that stores its content as it is, so that tests need no compressor (The .xz File Format 1.2).

import { crc32 } from "node:zlib";

const CHUNK_SIZE = 0x10000;
const LZMA2 = { end: 0, storedWithReset: 1, stored: 2 };

function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

function little32(value: number): number[] {
  return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
}

function withCrc(bytes: readonly number[]): number[] {
  return [...bytes, ...little32(crc32(new Uint8Array(bytes)))];
}

function padded(bytes: readonly number[]): number[] {
  return [...bytes, ...Array((4 - bytes.length % 4) % 4).fill(0)];
}

function variableLength(value: number): number[] {
  return value < 0x80 ? [value] : [value % 0x80 | 0x80, ...variableLength(Math.floor(value / 0x80))];
}

/** The content as one xz stream without a check. */
export function xzStored(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const chunks: (Uint8Array | number[])[] = [];
  for (let at = 0; at < content.length; at += CHUNK_SIZE) {
    const chunk = content.subarray(at, at + CHUNK_SIZE);
    const size = chunk.length - 1;
    chunks.push([at ? LZMA2.stored : LZMA2.storedWithReset, size >> 8, size & 255], chunk);
  }
  const flags = [0, 0];
  const streamHeader = [0xfd, ...new TextEncoder().encode("7zXZ"), 0, ...withCrc(flags)];
  const blockHeader = withCrc([2, 0, 0x21, 1, 0x16, 0, 0, 0]);
  const data = concat(...chunks, [LZMA2.end]);
  const unpadded = blockHeader.length + data.length;
  const index = withCrc(padded([0, 1, ...variableLength(unpadded), ...variableLength(content.length)]));
  const backward = [...little32(index.length / 4 - 1), ...flags];
  const footer = [...little32(crc32(new Uint8Array(backward))), ...backward, ...new TextEncoder().encode("YZ")];
  return concat(streamHeader, blockHeader, data, Array((4 - unpadded % 4) % 4).fill(0), index, footer);
}
