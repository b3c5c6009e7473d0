// A growing byte buffer with the WebAssembly binary format's number encodings (core specification 3.0, section 5.2).

/** Bytes being written; grows by doubling, so that appending allocates next to nothing. */
export class ByteBuffer {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The bytes written so far: a view, valid until the next write. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  /** Writes a byte anew. */
  patch(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  append(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#bytes.length) this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** An unsigned LEB128 number below 2^32. */
  unsigned(value: number): void {
    value >>>= 0;
    while (value > 0x7f) {
      this.byte(value & 0x7f | 0x80);
      value >>>= 7;
    }
    this.byte(value);
  }

  /** A signed LEB128 number of 32 bits. */
  signed(value: number): void {
    value |= 0;
    while (value < -64 || value > 63) {
      this.byte(value & 0x7f | 0x80);
      value >>= 7;
    }
    this.byte(value & 0x7f);
  }

  /** A signed LEB128 number of 64 bits, given as halves. */
  signed64(low: number, high: number): void {
    low |= 0;
    high |= 0;
    while (high !== low >> 31 || low < -64 || low > 63) {
      this.byte(low & 0x7f | 0x80);
      low = low >>> 7 | high << 25;
      high >>= 7;
    }
    this.byte(low & 0x7f);
  }

  /** ASCII text with its length in front. */
  name(text: string): void {
    this.unsigned(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i));
  }

  #grow(more: number): void {
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}
