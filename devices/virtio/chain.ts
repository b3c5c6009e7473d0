// A descriptor chain of a split virtqueue, walked and checked: virtio 1.2 section 2.7.5.

import type { Address, Borrowed, Bytes, Dma } from "../../core/plugin.ts";

const DESCRIPTOR = { ADDR: 0, LEN: 8, FLAGS: 12, NEXT: 14, SIZE: 16 } as const;
const FLAG = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** More buffers than any driver puts into one chain; it bounds the walk through a hostile indirect table. */
const MAX_DESCRIPTORS = 1024;
const MAX_BYTES = 2 ** 32;

/** A driver broke the rules of its queues: the device asks to be reset. */
export class DriverFault extends Error {
  /** Tells it from other errors. */
  override readonly name = "DriverFault";
}

/** Where the descriptors of a queue are. */
export interface DescriptorTable {
  readonly at: Address;
  readonly size: number;
  /** Whether the driver negotiated indirect tables. */
  readonly indirect: boolean;
}

/**
 * One request of a driver: bytes for the device to read, then bytes for it to write. All of them were found to lie in
 * RAM. A queue reuses its chain: it holds until the next one is taken.
 */
export class Chain {
  /** The index of the first descriptor: the chain's name in the used ring. */
  head = 0;
  /** How many bytes the device may read. */
  readable = 0;
  /** How many bytes the device may write. */
  writable = 0;
  /** How many descriptors were walked. */
  descriptors = 0;
  readonly #dma: Dma;
  // Buffers that follow each other in memory are one segment. The first `#split` segments are readable.
  readonly #at = new Float64Array(MAX_DESCRIPTORS);
  readonly #length = new Float64Array(MAX_DESCRIPTORS);
  #split = 0;
  #count = 0;

  /**
   * Made by a queue.
   * @internal
   */
  constructor(dma: Dma) {
    this.#dma = dma;
  }

  /**
   * Walks the chain that begins at descriptor `head`. Throws a {@linkcode DriverFault} or a `DmaFault`.
   * @internal
   */
  walk(table: DescriptorTable, head: number): void {
    this.head = head;
    this.readable = this.writable = this.descriptors = 0;
    this.#split = this.#count = 0;
    let base = table.at;
    let size = table.size;
    let hops = Math.min(size, MAX_DESCRIPTORS);
    let indirect = false;
    for (let index = head;;) {
      if (index >= size) throw new DriverFault(`descriptor ${index} of ${size}`);
      if (hops-- === 0) throw new DriverFault("a descriptor chain that is too long or loops");
      this.descriptors++;
      const at = base + index * DESCRIPTOR.SIZE;
      const flags = this.#dma.load(at + DESCRIPTOR.FLAGS, 2);
      const length = this.#dma.load(at + DESCRIPTOR.LEN, 4);
      const address = this.#dma.load64(at + DESCRIPTOR.ADDR);
      if (flags & FLAG.INDIRECT) {
        if (!table.indirect || indirect || flags & FLAG.NEXT) throw new DriverFault("an indirect table out of place");
        if (length === 0 || length % DESCRIPTOR.SIZE !== 0) {
          throw new DriverFault(`an indirect table of ${length} bytes`);
        }
        indirect = true;
        base = address;
        size = length / DESCRIPTOR.SIZE;
        hops = Math.min(size, MAX_DESCRIPTORS - this.#count);
        index = 0;
        continue;
      }
      this.#add(address, length, (flags & FLAG.WRITE) !== 0);
      if (!(flags & FLAG.NEXT)) break;
      index = this.#dma.load(at + DESCRIPTOR.NEXT, 2);
    }
  }

  /** The little-endian 32-bit number at the readable byte `offset`. */
  load32(offset: number): number {
    if (offset + 4 <= this.#length[0]) return this.#dma.load(this.#at[0] + offset, 4);
    const bytes = new Uint8Array(4);
    this.read(offset, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /** Copies readable bytes from `offset` on into `into`; answers how many there were. */
  read(offset: number, into: Bytes): number {
    return this.#visit(0, this.#split, offset, into.length, (at, length, done) => {
      this.#dma.read(at, length === into.length ? into : into.subarray(done, done + length));
    });
  }

  /** Copies `from` into the writable bytes from `offset` on; answers how many found room. */
  write(offset: number, from: Bytes): number {
    return this.#visit(this.#split, this.#count, offset, from.length, (at, length, done) => {
      this.#dma.write(at, length === from.length ? from : from.subarray(done, done + length));
    });
  }

  /** Borrows `length` bytes from `offset` on, of the readable or of the writable ones: one loan for each segment. */
  borrow(access: "read" | "write", offset: number, length: number): Borrowed[] {
    const loans: Borrowed[] = [];
    const [first, end] = access === "read" ? [0, this.#split] : [this.#split, this.#count];
    this.#visit(first, end, offset, length, (at, part) => void loans.push(this.#dma.borrow(at, part, access)));
    return loans;
  }

  /** The guest-physical address of the writable byte at `offset`. */
  writableAt(offset: number): Address {
    let found = 0;
    this.#visit(this.#split, this.#count, offset, 1, (at) => void (found = at));
    return found;
  }

  #add(address: Address, length: number, writable: boolean): void {
    if (!writable && this.#count > this.#split) throw new DriverFault("a readable buffer after a writable one");
    if (length === 0) return;
    // RAM is one range: what begins and ends in it lies in it.
    this.#dma.load(address, 1);
    this.#dma.load(address + length - 1, 1);
    if (writable) this.writable += length;
    else this.readable += length;
    if (this.readable + this.writable > MAX_BYTES) throw new DriverFault("a descriptor chain of more than 4 GiB");
    const last = this.#count - 1;
    const mergeable = last >= (writable ? this.#split : 0);
    if (mergeable && this.#at[last] + this.#length[last] === address) {
      this.#length[last] += length;
      return;
    }
    this.#at[this.#count] = address;
    this.#length[this.#count] = length;
    this.#count++;
    if (!writable) this.#split = this.#count;
  }

  /** Calls `visit` for each piece of `length` bytes from `offset` on within segments `first` to `end`. */
  #visit(
    first: number,
    end: number,
    offset: number,
    length: number,
    visit: (at: Address, length: number, done: number) => void,
  ): number {
    let done = 0;
    for (let i = first; i < end && done < length; i++) {
      const size = this.#length[i];
      if (offset >= size) {
        offset -= size;
        continue;
      }
      const part = Math.min(size - offset, length - done);
      visit(this.#at[i] + offset, part, done);
      done += part;
      offset = 0;
    }
    return done;
  }
}
