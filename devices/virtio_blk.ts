// A block device: virtio 1.2 section 5.2.

import {
  type Address,
  type BlockBackend,
  type Borrowed,
  type Bytes,
  defineDevice,
  type DeviceDefinition,
  type Dma,
  type IoResult,
  type Plain,
} from "../core/plugin.ts";
import { boolean, integer, object, optional, type Schema, show } from "../core/schema.ts";
import { type Chain, DriverFault } from "./virtio/chain.ts";
import type { Started, VirtioModel, VirtioState } from "./virtio/device.ts";
import { virtioMmio } from "./virtio/mmio.ts";

const FEATURE = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;

const TYPE = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;
const STATUS = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
const HEADER = { TYPE: 0, SECTOR: 8, SIZE: 16 } as const;
const RANGE = { SECTOR: 0, NUM_SECTORS: 8, FLAGS: 12, SIZE: 16 } as const;
const RANGE_UNMAP = 1;
const CONFIG = {
  capacity: 0,
  size_max: 8,
  seg_max: 12,
  blk_size: 20,
  num_queues: 34,
  max_discard_sectors: 36,
  max_discard_seg: 40,
  discard_sector_alignment: 44,
  max_write_zeroes_sectors: 48,
  max_write_zeroes_seg: 52,
  write_zeroes_may_unmap: 56,
  SIZE: 60,
} as const;

const SECTOR = 512;
const ID_LENGTH = 20;
const MAX_SEGMENT = 128 * 1024;
/** No request moves or clears more: it bounds how long a back end that answers at once holds up the machine. */
const MAX_REQUEST = 16 * 1024 * 1024;
const ZEROES: Bytes = new Uint8Array(64 * 1024);

type Config = { readOnly: boolean; queues: number; queueSize: number };

class Block implements VirtioModel<null> {
  readonly id = 2;
  readonly features: readonly number[];
  readonly queues: readonly number[];
  readonly state = null;
  readonly #dma: Dma;
  readonly #block: BlockBackend;
  readonly #readOnly: boolean;
  readonly #config: Uint8Array<ArrayBuffer>;

  constructor(dma: Dma, block: BlockBackend, { readOnly, queues, queueSize }: Config) {
    this.#dma = dma;
    this.#block = block;
    this.#readOnly = readOnly || block.readOnly;
    this.queues = Array.from({ length: queues }, () => queueSize);
    this.features = [
      FEATURE.SIZE_MAX,
      FEATURE.SEG_MAX,
      FEATURE.BLK_SIZE,
      FEATURE.FLUSH,
      ...(queues > 1 ? [FEATURE.MQ] : []),
      ...(this.#readOnly ? [FEATURE.RO] : [FEATURE.WRITE_ZEROES]),
      ...(!this.#readOnly && block.discard ? [FEATURE.DISCARD] : []),
    ];
    this.#config = describe(block.size, queues, Math.max(1, Math.min(queueSize, 128) - 2));
  }

  config(): Bytes {
    return this.#config;
  }

  start(chain: Chain): Started | number {
    if (chain.readable < HEADER.SIZE || chain.writable < 1) throw new DriverFault("a block request without its header");
    const type = chain.load32(HEADER.TYPE);
    const position = positionAt(chain, HEADER.SECTOR);
    switch (type) {
      case TYPE.IN:
        return this.#read(chain, position);
      case TYPE.OUT:
        return this.#write(chain, position);
      case TYPE.FLUSH:
        return this.#perform(chain, () => this.#block.flush());
      case TYPE.GET_ID:
        return this.#identify(chain);
      case TYPE.DISCARD:
      case TYPE.WRITE_ZEROES:
        return this.#clear(chain, type);
      default:
        return this.#answer(chain, STATUS.UNSUPP);
    }
  }

  #read(chain: Chain, position: number): Started | number {
    const length = chain.writable - 1;
    if (!this.#inRange(position, length)) return this.#answer(chain, STATUS.IOERR);
    const loans = chain.borrow("write", 0, length);
    return this.#perform(chain, () => this.#block.read(position, loans.map((loan) => loan.bytes)), loans, length);
  }

  #write(chain: Chain, position: number): Started | number {
    const length = chain.readable - HEADER.SIZE;
    if (this.#readOnly || !this.#inRange(position, length)) return this.#answer(chain, STATUS.IOERR);
    const loans = chain.borrow("read", HEADER.SIZE, length);
    return this.#perform(chain, () => this.#block.write(position, loans.map((loan) => loan.bytes)), loans);
  }

  #identify(chain: Chain): number {
    const id = new Uint8Array(ID_LENGTH);
    for (const [i, character] of [...(this.#block.id ?? "")].slice(0, ID_LENGTH).entries()) {
      id[i] = character.charCodeAt(0);
    }
    if (chain.writable < ID_LENGTH + 1) return this.#answer(chain, STATUS.IOERR);
    chain.write(0, id);
    return this.#answer(chain, STATUS.OK, ID_LENGTH);
  }

  /** Discard and write-zeroes: one range each, as the configuration space says. */
  #clear(chain: Chain, type: number): Started | number {
    const block = this.#block;
    if (type === TYPE.DISCARD && !block.discard) return this.#answer(chain, STATUS.UNSUPP);
    if (this.#readOnly || chain.readable !== HEADER.SIZE + RANGE.SIZE) return this.#answer(chain, STATUS.IOERR);
    const position = positionAt(chain, HEADER.SIZE + RANGE.SECTOR);
    const length = chain.load32(HEADER.SIZE + RANGE.NUM_SECTORS) * SECTOR;
    const allowedFlags = type === TYPE.WRITE_ZEROES ? RANGE_UNMAP : 0;
    if (chain.load32(HEADER.SIZE + RANGE.FLAGS) & ~allowedFlags) return this.#answer(chain, STATUS.UNSUPP);
    if (!this.#inRange(position, length)) return this.#answer(chain, STATUS.IOERR);
    if (type === TYPE.DISCARD) return this.#perform(chain, () => block.discard!(position, length));
    return this.#perform(
      chain,
      () => block.writeZeroes ? block.writeZeroes(position, length) : block.write(position, zeroes(length)),
    );
  }

  #inRange(position: number, length: number): boolean {
    return length % SECTOR === 0 && length <= MAX_REQUEST && position + length <= this.#block.size;
  }

  /** Hands work to the back end; `length` is how much it reads into the chain. */
  #perform(
    chain: Chain,
    work: () => IoResult | Promise<IoResult>,
    loans: readonly Borrowed[] = [],
    length = 0,
  ): Started {
    const at = chain.writable - 1;
    const status: Address = chain.writableAt(at);
    return {
      outcome: attempt(work),
      settle: (outcome, wanted) => {
        for (const loan of loans) loan.done();
        if (!wanted) return 0;
        this.#dma.store(status, statusOf(outcome), 1);
        return withStatus(outcome === "ok" ? length : 0, at);
      },
    };
  }

  /** Ends a request at once, with `written` bytes before its status byte. */
  #answer(chain: Chain, status: number, written = 0): number {
    const at = chain.writable - 1;
    this.#dma.store(chain.writableAt(at), status, 1);
    return withStatus(written, at);
  }
}

/** How many bytes were written, from the first on: the status byte at `at` counts if all before it were. */
function withStatus(written: number, at: number): number {
  return written === at ? written + 1 : written;
}

function attempt(work: () => IoResult | Promise<IoResult>): IoResult | Promise<IoResult> {
  try {
    return work();
  } catch {
    return "error";
  }
}

function statusOf(outcome: Plain): number {
  if (outcome === "ok") return STATUS.OK;
  return outcome === "unsupported" ? STATUS.UNSUPP : STATUS.IOERR;
}

function zeroes(length: number): Bytes[] {
  const parts: Bytes[] = [];
  for (; length > 0; length -= ZEROES.length) parts.push(length < ZEROES.length ? ZEROES.subarray(0, length) : ZEROES);
  return parts;
}

/** The byte position that a 64-bit sector number means; far too large ones lose their low bits. */
function positionAt(chain: Chain, offset: number): number {
  return (chain.load32(offset + 4) * 2 ** 32 + chain.load32(offset)) * SECTOR;
}

/** The configuration space. */
function describe(size: number, queues: number, segments: number): Uint8Array<ArrayBuffer> {
  const config = new DataView(new ArrayBuffer(CONFIG.SIZE));
  config.setBigUint64(CONFIG.capacity, BigInt(size / SECTOR), true);
  config.setUint32(CONFIG.size_max, MAX_SEGMENT, true);
  config.setUint32(CONFIG.seg_max, segments, true);
  config.setUint32(CONFIG.blk_size, SECTOR, true);
  config.setUint16(CONFIG.num_queues, queues, true);
  config.setUint32(CONFIG.max_discard_sectors, MAX_REQUEST / SECTOR, true);
  config.setUint32(CONFIG.max_discard_seg, 1, true);
  config.setUint32(CONFIG.discard_sector_alignment, 1, true);
  config.setUint32(CONFIG.max_write_zeroes_sectors, MAX_REQUEST / SECTOR, true);
  config.setUint32(CONFIG.max_write_zeroes_seg, 1, true);
  config.setUint8(CONFIG.write_zeroes_may_unmap, 1);
  return new Uint8Array(config.buffer);
}

const queueSize: Schema<number> = {
  wanted: "a power of two from 2 to 1024",
  parse(value, path) {
    if (typeof value === "number" && value >= 2 && value <= 1024 && Number.isInteger(Math.log2(value))) return value;
    throw new TypeError(`Cannot configure ${path}: wanted ${this.wanted}, got ${show(value)}`);
  },
};

type Needs = "irq" | "dma" | "clock" | "inbox" | "block";

/** A disk (`/dev/vda`) on a block back end. Data moves straight between the back end and guest RAM. */
const virtioBlk: DeviceDefinition<Needs, Config, VirtioState<null>> = defineDevice({
  name: "virtio_blk",
  needs: ["irq", "dma", "clock", "inbox", "block"],
  config: object({
    readOnly: optional(boolean, false),
    queues: optional(integer({ min: 1, max: 8 }), 1),
    queueSize: optional(queueSize, 256),
  }),
  stateVersion: 1,
  create: ({ config, block, ...services }) => virtioMmio(services, () => new Block(services.dma, block, config)),
});
export default virtioBlk;
