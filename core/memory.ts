// Guest RAM as devices see it: checked, lent and watched access to the engine's one buffer.

import { type Address, type Borrowed, type Bytes, type Dma, DmaFault, type Ram, type Width } from "./plugin.ts";

/** Pages, the grain of dirty tracking, are of 4 KiB. */
const PAGE_SHIFT = 12;

/** How {@linkcode GuestMemory} lends. */
export interface MemoryOptions {
  /** Told of every range that a device has written: the engine drops code made from it. */
  readonly written: (at: Address, length: number) => void;
  /** Lends private copies, so that the time at which the host touches them can not show (instruction clock). */
  readonly privateLoans: boolean;
}

/** The guest's RAM. Implements {@linkcode Dma}; nothing it lends or copies lies outside of RAM. */
export class GuestMemory implements Dma {
  readonly base: Address;
  readonly size: number;
  /** All of RAM. */
  readonly bytes: Bytes;
  readonly #view: DataView<ArrayBufferLike>;
  /** Whether loans are private copies; RAM itself is then never lent. */
  readonly privateLoans: boolean;
  readonly #written: (at: Address, length: number) => void;
  readonly #dirty: Uint8Array;
  readonly #loans = new Set<Loan>();

  constructor(ram: Ram, options: MemoryOptions) {
    this.base = ram.base;
    this.size = ram.size;
    this.bytes = new Uint8Array(ram.buffer, ram.offset, ram.size);
    this.#view = new DataView(ram.buffer, ram.offset, ram.size);
    this.privateLoans = options.privateLoans;
    this.#written = options.written;
    this.#dirty = new Uint8Array((ram.size >>> PAGE_SHIFT) + 1);
  }

  load(at: Address, width: Width): number {
    const offset = this.#offset(at, width);
    if (width === 4) return this.#view.getUint32(offset, true);
    return width === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint8(offset);
  }

  load64(at: Address): number {
    const offset = this.#offset(at, 8);
    return this.#view.getUint32(offset + 4, true) * 2 ** 32 + this.#view.getUint32(offset, true);
  }

  store(at: Address, value: number, width: Width): void {
    const offset = this.#offset(at, width);
    if (width === 4) this.#view.setUint32(offset, value, true);
    else if (width === 2) this.#view.setUint16(offset, value, true);
    else this.#view.setUint8(offset, value);
    this.#touch(offset, width);
  }

  read(at: Address, into: Bytes): void {
    const offset = this.#offset(at, into.length);
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(at: Address, from: Bytes): void {
    const offset = this.#offset(at, from.length);
    this.bytes.set(from, offset);
    this.#touch(offset, from.length);
  }

  /** Lets `read` fill a range, which counts as written when that settles, however it does. */
  async fill(at: Address, length: number, read: (into: Bytes) => Promise<void>): Promise<void> {
    const offset = this.#offset(at, length);
    try {
      await read(this.bytes.subarray(offset, offset + length));
    } finally {
      this.#touch(offset, length);
    }
  }

  borrow(at: Address, length: number, access: "read" | "write"): Borrowed {
    const offset = this.#offset(at, length);
    const ram = this.bytes.subarray(offset, offset + length);
    const loan = new Loan(
      this.privateLoans ? ram.slice() : ram,
      access === "write" ? length : 0,
      (loan, written) => this.#giveBack(loan, offset, length, written),
    );
    this.#loans.add(loan);
    return loan;
  }

  /** How many loans are out. */
  get lent(): number {
    return this.#loans.size;
  }

  /** Forgets the private copies that are out: giving one back changes nothing any more. Loans of RAM itself stay. */
  forgetPrivateLoans(): void {
    if (this.privateLoans) this.#loans.clear();
  }

  /** Numbers of the pages that devices have written since the last call, in order. */
  collectDirty(): number[] {
    const pages: number[] = [];
    this.#dirty.forEach((dirty, page) => dirty && pages.push(page));
    this.#dirty.fill(0);
    return pages;
  }

  #giveBack(loan: Loan, offset: number, length: number, written: number): void {
    if (!(written >= 0 && written <= length)) {
      throw new RangeError(`Cannot give back ${length} lent bytes: wanted 0 to ${length} written, got ${written}`);
    }
    if (!this.#loans.delete(loan)) return;
    if (written > 0) {
      if (this.privateLoans) this.bytes.set(loan.bytes.subarray(0, written), offset);
      this.#touch(offset, written);
    }
  }

  /** The place in RAM of a guest-given range. Written so that NaN does not pass. */
  #offset(at: Address, length: number): number {
    const offset = at - this.base;
    if (offset >= 0 && length >= 0 && offset + length <= this.size) return offset;
    throw new DmaFault(at, length);
  }

  #touch(offset: number, length: number): void {
    if (length === 0) return;
    const last = (offset + length - 1) >>> PAGE_SHIFT;
    for (let page = offset >>> PAGE_SHIFT; page <= last; page++) this.#dirty[page] = 1;
    this.#written(this.base + offset, length);
  }
}

/** Bytes on loan: a class, since a disk makes several a request. */
class Loan implements Borrowed {
  #given = false;
  readonly #whole: number;
  readonly #giveBack: (loan: Loan, written: number) => void;

  constructor(readonly bytes: Bytes, whole: number, giveBack: (loan: Loan, written: number) => void) {
    this.#whole = whole;
    this.#giveBack = giveBack;
  }

  done(written: number = this.#whole): void {
    if (this.#given) throw new Error("Cannot give back lent memory: it was given back before");
    this.#given = true;
    this.#giveBack(this, written);
  }
}
