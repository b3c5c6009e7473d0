// Headers of boot files: little-endian numbers by their offsets.

import type { Bytes } from "../../core/plugin.ts";

/** A header, or an entry of a table, by the offsets of its fields. */
export class Fields {
  readonly #view: DataView;

  constructor(bytes: Bytes) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  u64(at: number): bigint {
    return this.#view.getBigUint64(at, true);
  }
}
