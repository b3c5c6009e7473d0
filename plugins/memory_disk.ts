// Block back end in host memory: gone when the machine is.

import { type BlockBackend, type Bytes, defineBackend, type IoResult } from "../core/plugin.ts";
import { boolean, bytes, byteSize, object, optional } from "../core/schema.ts";

const SECTOR = 512;

/** A disk in memory, empty or with a given content. */
export default defineBackend({
  name: "memory_disk",
  provides: "block",
  permissions: [],
  config: object({
    /** Rounded up to whole sectors; default: the content's. */
    size: optional(byteSize),
    /** What the disk holds at first, copied; zeroes follow. */
    content: optional(bytes),
    readOnly: optional(boolean, false),
  }),
  open({ config: { content, readOnly, size: wanted = content?.length ?? 0 }, name }): MemoryDisk {
    const size = Math.ceil(wanted / SECTOR) * SECTOR;
    if (size === 0) throw new RangeError(`Cannot open ${name}: wanted a size or a content, got neither`);
    if (content && content.length > size) {
      throw new RangeError(`Cannot open ${name}: the content of ${content.length} bytes exceeds the size of ${size}`);
    }
    let disk: Bytes;
    try {
      disk = new Uint8Array(size);
    } catch {
      throw new RangeError(`Cannot open ${name}: this host has no ${size} bytes of memory for it`);
    }
    if (content) disk.set(content);
    return new MemoryDisk(disk, readOnly);
  },
});

class MemoryDisk implements BlockBackend {
  readonly #bytes: Bytes;

  constructor(bytes: Bytes, readonly readOnly: boolean) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(position: number, into: readonly Bytes[]): IoResult {
    if (!this.#holds(position, total(into))) return "error";
    for (const part of into) {
      part.set(this.#bytes.subarray(position, position + part.length));
      position += part.length;
    }
    return "ok";
  }

  write(position: number, from: readonly Bytes[]): IoResult {
    if (this.readOnly || !this.#holds(position, total(from))) return "error";
    for (const part of from) {
      this.#bytes.set(part, position);
      position += part.length;
    }
    return "ok";
  }

  flush(): IoResult {
    return "ok";
  }

  /** Discarded sectors read as zeroes. */
  discard(position: number, length: number): IoResult {
    return this.writeZeroes(position, length);
  }

  writeZeroes(position: number, length: number): IoResult {
    if (this.readOnly || !this.#holds(position, length)) return "error";
    this.#bytes.fill(0, position, position + length);
    return "ok";
  }

  #holds(position: number, length: number): boolean {
    return position >= 0 && position + length <= this.size;
  }
}

function total(parts: readonly Bytes[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
