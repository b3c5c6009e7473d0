// A back end called directly, at the edges of its contract: each service has a caller that knows what may come of it.

import {
  type BlockBackend,
  type Bytes,
  createHypervisor,
  type EntropyBackend,
  type IoResult,
  type NetBackend,
  type Packet,
  type PluginUse,
  type StreamBackend,
} from "../../mod.ts";
import { type AnyBackend, BackendWatch, message, same, SECTOR, total } from "./backend_watch.ts";
import { faultIn, Frames } from "./frames.ts";
import type { Random } from "./random.ts";
import { Finding } from "./watch.ts";

/** Seconds that a back end may take for an answer, if nothing else is said: the host may be slow, but not for that long. */
export const ANSWER_SECONDS = 5;
/** What lies around and between the parts of a request, and is not to be touched. */
const [GAP, UNTOUCHED] = [16, 0xa5];
const LENGTHS = [SECTOR, SECTOR, 2 * SECTOR, 4096, 65536];
/** What a back end may do otherwise than the rest; rare, for the time that it takes. */
const LARGE = [1 << 20, (1 << 20) + SECTOR];
/** Requests under way at a time. */
const AT_A_TIME = 24;

/** The back end under test. */
export interface DirectSubject {
  readonly definition: AnyBackend;
  readonly config?: PluginUse["config"];
}

/** What calls a back end: steps at random, then an end in the middle of them. */
interface Caller {
  step(random: Random): void | Promise<void>;
  /** What remains to be seen once it is closed. */
  closed?(): Promise<void>;
}

/** Tells of a call, for the trace. */
type Note = (line: string) => void;
type Found = (sentence: string) => void;
/** Gives the event loop its turn, without a timer's millisecond. */
type Turn = () => Promise<void>;

/** A back end, opened for a case. */
export class BackendBench {
  finding: Finding | undefined;
  readonly watch: BackendWatch = new BackendWatch((sentence) => this.found(sentence));
  readonly #note: Note;
  readonly #patience: number;
  #caller!: Caller;
  #opened: { close?(): void | Promise<void> }[] = [];

  private constructor(note: Note, patience: number) {
    this.#note = note;
    this.#patience = patience;
  }

  /** Opens it; it has `patience` seconds for each answer. Throws what opening throws. */
  static async open(subject: DirectSubject, note: Note, patience = ANSWER_SECONDS): Promise<BackendBench> {
    const bench = new BackendBench(note, patience);
    await bench.#open(subject);
    return bench;
  }

  /** Notes a broken promise; the first one counts. */
  found(sentence: string): void {
    this.finding ??= new Finding(sentence);
  }

  /** Does one thing, or a few. */
  async step(random: Random): Promise<void> {
    try {
      await this.#caller.step(random);
    } catch (error) {
      // What the watch passes on, it has noted.
      if (error instanceof Finding || !this.finding) throw error;
    }
    if (this.finding) throw this.finding;
  }

  /** Closes it, whatever is under way. */
  async close(): Promise<void> {
    this.#note("it is closed");
    for (const each of this.#opened) {
      await within(Promise.resolve(each.close?.()), "it does not come to the end of close", this.#patience);
    }
    if (!this.finding) await this.#caller.closed?.();
    if (this.finding) throw this.finding;
  }

  async #open({ definition, config }: DirectSubject): Promise<void> {
    const { turn } = createHypervisor().host;
    const shared = new Map<string, unknown>();
    const open = async (name: string): Promise<unknown> => {
      const opened = await this.watch.around(definition).open({
        config: definition.config.parse(config ?? {}, name),
        name,
        shared<T>(key: string, make: () => T): T {
          if (!shared.has(key)) shared.set(key, make());
          return shared.get(key) as T;
        },
        log: (line) => this.#note(`it says: ${line}`),
        quit: () => this.#note("it asks for the machine's end"),
      });
      this.#opened.push(opened as { close?(): void });
      return opened;
    };
    const found: Found = (sentence) => this.found(sentence);
    const first = await open("device0");
    switch (definition.provides as string) {
      case "block":
        this.#caller = new DiskCaller(first as BlockBackend, this.#note, found, this.#patience);
        break;
      case "stream":
        this.#caller = new StreamCaller(first as StreamBackend, this.#note, found, turn);
        break;
      case "net":
        // A second end of the cable, if there is one.
        this.#caller = new NetCaller(
          [first, await open("device1").catch(() => first)] as NetBackend[],
          this.#note,
          found,
          turn,
        );
        break;
      case "entropy":
        this.#caller = new EntropyCaller(first as EntropyBackend, this.#note, found);
        break;
      default:
        throw new TypeError(
          `Cannot fuzz ${definition.name}: nothing here calls a back end that provides ${definition.provides}`,
        );
    }
  }
}

/** Waits, but not for ever. */
async function within<T>(done: Promise<T>, otherwise: string, seconds: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Finding(`${otherwise} within ${seconds} seconds`)), seconds * 1000);
  });
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

// ---------------------------------------------------------------- buffers

/** Memory for a request: parts in any order, with bytes around them that are nobody's. */
class Scattered {
  /** In the order of the request. */
  readonly parts: readonly Bytes[];
  readonly #all: Bytes;
  /** All of the memory as it must be: without the parts while they are written to. */
  #kept: Bytes;

  constructor(random: Random, lengths: readonly number[]) {
    const size = lengths.reduce((sum, length) => sum + length + GAP, GAP);
    const buffer = random.oneIn(3) ? new SharedArrayBuffer(size) : new ArrayBuffer(size);
    this.#all = new Uint8Array(buffer).fill(UNTOUCHED);
    const order = lengths.map((_, i) => i);
    if (random.oneIn(2)) order.reverse();
    const parts: Bytes[] = [];
    let at = GAP;
    for (const i of order) {
      parts[i] = new Uint8Array(buffer, at, lengths[i]);
      at += lengths[i] + GAP;
    }
    this.parts = parts;
    this.#kept = this.#all.slice();
  }

  /** Puts bytes into the parts. */
  fill(random: Random): void {
    for (const part of this.parts) {
      const seed = random.below(256);
      for (let i = 0; i < part.length; i++) part[i] = (i * 31 + (i >> 9) * 7 + seed) & 0xff;
    }
    this.keep();
  }

  /** From here on nothing of it may change. */
  keep(): void {
    this.#kept = this.#all.slice();
  }

  /** All parts' bytes. */
  get content(): Bytes {
    const all = new Uint8Array(total(this.parts));
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Whether everything is as it was. */
  get intact(): boolean {
    return same(this.#kept, this.#all);
  }

  /** Whether at least everything beside the parts is. */
  get intactBeside(): boolean {
    const gaps = [0, ...this.parts.map((part) => part.byteOffset + part.length)];
    return gaps.every((at) => this.#all.subarray(at, at + GAP).every((byte) => byte === UNTOUCHED));
  }
}

/** What a back end gave: it has to leave that alone until more is asked for. */
class Given {
  readonly #found: Found;
  #given: readonly { readonly bytes: Bytes; readonly before: Bytes }[] = [];

  constructor(found: Found) {
    this.#found = found;
  }

  keep(all: readonly Bytes[]): void {
    this.#given = all.map((bytes) => ({ bytes, before: bytes.slice() }));
  }

  look(): void {
    const changed = this.#given.find(({ bytes, before }) => !same(bytes, before));
    if (changed) this.#found(`it changes ${changed.bytes.length} bytes that it gave`);
  }
}

/** Lengths of some parts that a request consists of; sometimes one of them is empty. */
function split(random: Random, length: number): number[] {
  const parts: number[] = [];
  while (length > SECTOR && parts.length < 3 && random.oneIn(2)) {
    const part = SECTOR * (1 + random.below(length / SECTOR - 1));
    parts.push(part);
    length -= part;
  }
  parts.push(length);
  if (random.oneIn(8)) parts.splice(random.below(parts.length + 1), 0, 0);
  return parts;
}

// ---------------------------------------------------------------- disks

interface Request {
  readonly what: string;
  readonly first: number;
  readonly end: number;
  readonly writes: boolean;
  /** Another one touched the same sectors meanwhile: what they hold is not known. */
  mixed: boolean;
  done: Promise<void>;
}

/** Reads and writes a disk, and knows what its sectors hold. */
class DiskCaller implements Caller {
  readonly #disk: BlockBackend;
  readonly #note: Note;
  readonly #found: Found;
  readonly #patience: number;
  readonly #known = new Map<number, Bytes>();
  readonly #requests = new Set<Request>();
  /** Memory of requests that were answered. */
  readonly #given: { what: string; memory: Scattered }[] = [];

  constructor(disk: BlockBackend, note: Note, found: Found, patience: number) {
    this.#disk = disk;
    this.#note = note;
    this.#found = found;
    this.#patience = patience;
  }

  async step(random: Random): Promise<void> {
    for (let count = random.pick([1, 1, 2, 8]); count > 0; count--) this.#request(random);
    if (random.oneIn(3) || this.#requests.size > AT_A_TIME) await this.#answers();
    this.#look();
  }

  async closed(): Promise<void> {
    await this.#answers();
    this.#look();
  }

  /** Waits for all answers. */
  async #answers(): Promise<void> {
    for (const request of this.#requests) {
      await within(request.done, `it does not answer ${request.what}`, this.#patience);
    }
  }

  /** Who has given an answer leaves the memory alone. */
  #look(): void {
    for (const { what, memory } of this.#given) {
      if (!memory.intact) this.#found(`it changes memory after its answer to ${what}`);
    }
    this.#given.splice(0, Math.max(0, this.#given.length - 4));
  }

  #request(random: Random): void {
    const { size } = this.#disk;
    const kind = random.pick(
      ["read", "read", "read", "write", "write", "write", "flush", "discard", "writeZeroes"] as const,
    );
    const length = random.oneIn(10) ? 0 : random.pick(random.oneIn(16) ? LARGE : LENGTHS);
    const position = random.pick([
      0,
      SECTOR,
      size - length,
      size - SECTOR,
      SECTOR * random.below(Math.min(size / SECTOR, 64)),
      SECTOR * random.below(size / SECTOR),
      ...random.oneIn(3) ? [size, size + SECTOR, 2 ** 40, 2 ** 53 - SECTOR, -SECTOR, -length] : [],
    ]);
    switch (kind) {
      case "flush":
        return this.#start("flush", 0, 0, false, () => this.#disk.flush());
      case "discard":
      case "writeZeroes": {
        if (!this.#disk[kind]) return;
        const zeroes = kind === "writeZeroes" ? new Uint8Array(length) : undefined;
        const act = (): IoResult | Promise<IoResult> => this.#disk[kind]!(position, length);
        return this.#start(kind, position, length, true, act, () => zeroes);
      }
    }
    const memory = new Scattered(random, split(random, length));
    if (kind === "write") memory.fill(random);
    const act = (): IoResult | Promise<IoResult> => this.#disk[kind](position, memory.parts);
    this.#start(kind, position, length, kind === "write", act, (what) => {
      if (kind === "write" && !memory.intact) {
        this.#found(`it changes what it is to write, or bytes beside, at ${what}`);
      }
      if (!memory.intactBeside) this.#found(`it writes beside the buffers of ${what}`);
      memory.keep();
      this.#given.push({ what, memory });
      return memory.content;
    });
  }

  /** Asks; `content` gives what the sectors hold after an answer, if that is known. */
  #start(
    kind: string,
    position: number,
    length: number,
    writes: boolean,
    act: () => IoResult | Promise<IoResult>,
    content: (what: string) => Bytes | undefined = () => undefined,
  ): void {
    const what = kind === "flush" ? kind : `${kind} ${position}+${length}`;
    this.#note(what);
    const { size, readOnly } = this.#disk;
    const [first, end] = [position, position + length];
    const mixed = [...this.#requests].filter((other) =>
      other.first < end && first < other.end && (writes || other.writes)
    );
    const request: Request = { what, first, end, writes, mixed: mixed.length > 0, done: Promise.resolve() };
    for (const other of mixed) other.mixed = true;
    const answer = (result: IoResult): void => {
      this.#requests.delete(request);
      this.#note(`${what} is answered: ${result}`);
      const bytes = content(what);
      if (result === "ok" && length > 0 && (first < 0 || end > size)) {
        this.#found(`it answers ok to ${what}, beyond its size of ${size}`);
      }
      if (result === "ok" && length > 0 && writes && readOnly) {
        this.#found(`it answers ok to ${what}, and is read-only`);
      }
      if (first < 0 || end > size || readOnly && writes) return;
      this.#learn(request, result === "ok" && !request.mixed ? bytes : undefined);
    };
    const result = act();
    if (!(result instanceof Promise)) return answer(result);
    this.#requests.add(request);
    request.done = result.then(answer, () => void this.#requests.delete(request));
  }

  #learn({ what, first, end, writes }: Request, bytes: Bytes | undefined): void {
    for (let at = first; at < end; at += SECTOR) {
      const sector = bytes?.slice(at - first, at - first + SECTOR);
      const known = this.#known.get(at);
      if (!writes && sector && known && !same(sector, known)) {
        return this.#found(`it gives other bytes than were written, at ${at} of ${what}`);
      }
      if (sector) this.#known.set(at, sector);
      else if (writes) this.#known.delete(at);
    }
  }
}

// ---------------------------------------------------------------- streams

/** Writes and reads a stream, as its contract asks: one read at a time, and no write while one is held. */
class StreamCaller implements Caller {
  readonly #stream: StreamBackend;
  readonly #note: Note;
  #reading = false;
  #ended = false;
  #held = false;
  readonly #given: Given;
  readonly #turn: Turn;

  constructor(stream: StreamBackend, note: Note, found: Found, turn: Turn) {
    this.#stream = stream;
    this.#note = note;
    this.#given = new Given(found);
    this.#turn = turn;
  }

  async step(random: Random): Promise<void> {
    if (random.oneIn(3)) this.#read(random.pick([1, 2, 16, 4096, 2 ** 20]));
    else if (!this.#held) this.#write(random);
    // What is held may be held for long: nobody need read the other end.
    if (random.oneIn(3)) await this.#turn();
  }

  #read(max: number): void {
    if (this.#reading || this.#ended) return;
    this.#note(`read of at most ${max} bytes`);
    this.#given.look();
    const got = (bytes: Bytes | null): void => {
      this.#given.keep(bytes ? [bytes] : []);
      this.#reading = false;
      this.#ended = bytes === null;
      this.#note(`it gives ${bytes === null ? "the end" : `${bytes.length} bytes`}`);
    };
    const answer = this.#stream.read(max);
    if (!(answer instanceof Promise)) return got(answer);
    this.#reading = true;
    answer.then(got, (error) => {
      this.#reading = false;
      this.#note(`the read fails: ${message(error)}`);
    });
  }

  #write(random: Random): void {
    const bytes = new Uint8Array(random.pick([1, 2, 80, 1000, 65_536, 200_000]));
    // Letters and lines: should a terminal show them, it stays usable.
    for (let i = 0; i < bytes.length; i++) bytes[i] = i % 64 === 63 ? 10 : 97 + (i + bytes.length) % 26;
    this.#note(`write of ${bytes.length} bytes`);
    const answer = this.#stream.write(bytes);
    bytes.fill(0); // they are copied
    if (!(answer instanceof Promise)) return;
    this.#held = true;
    answer.catch((error) => this.#note(`the write fails: ${message(error)}`)).finally(() => this.#held = false);
  }
}

// ---------------------------------------------------------------- networks

interface End {
  readonly net: NetBackend;
  readonly given: Given;
  receiving: boolean;
  watching: boolean;
  ended: boolean;
}

/** Sends and receives at two ends, or at one. */
class NetCaller implements Caller {
  readonly #ends: readonly End[];
  readonly #frames = new Frames();
  readonly #note: Note;
  readonly #found: Found;
  readonly #turn: Turn;

  constructor(ends: readonly NetBackend[], note: Note, found: Found, turn: Turn) {
    this.#turn = turn;
    this.#ends = [...new Set(ends)].map((net) => ({
      net,
      given: new Given(found),
      receiving: false,
      watching: false,
      ended: false,
    }));
    this.#note = note;
    this.#found = found;
  }

  async step(random: Random): Promise<void> {
    const end = random.pick(this.#ends);
    switch (random.below(4)) {
      case 0:
        this.#receive(end, random.pick([1, 3, 256]));
        break;
      case 1:
        if (!end.watching && end.net.linkChange) {
          end.watching = true;
          end.net.linkChange().then(() => end.watching = false, () => end.watching = false);
        }
        await this.#turn();
        break;
      default:
        for (let count = random.pick([1, 1, 5, 300]); count > 0; count--) this.#send(end.net, random);
    }
  }

  #send(net: NetBackend, random: Random): void {
    const packet = this.#frames.next(random, net.offloads);
    this.#note(`send of ${packet.frame.length} bytes`);
    net.send(packet);
    packet.frame.fill(0); // they are copied
  }

  #receive(end: End, max: number): void {
    if (end.receiving || end.ended) return;
    this.#note(`receive of at most ${max}`);
    end.given.look();
    const got = (packets: Packet[] | null): void => {
      end.receiving = false;
      end.ended = packets === null;
      const frames = packets?.map(({ frame }) => frame) ?? [];
      end.given.keep(frames);
      for (const frame of frames) {
        const fault = faultIn(frame);
        if (fault) this.#found(fault);
      }
      this.#note(`it gives ${packets === null ? "the end" : `${packets.length} packets`}`);
    };
    const answer = end.net.receive(max);
    if (!(answer instanceof Promise)) return got(answer);
    end.receiving = true;
    answer.then(got, (error) => {
      end.receiving = false;
      this.#note(`the receive fails: ${message(error)}`);
    });
  }
}

// ---------------------------------------------------------------- entropy

/** Asks for random bytes in memory of every kind and length. */
class EntropyCaller implements Caller {
  readonly #entropy: EntropyBackend;
  readonly #note: Note;
  readonly #found: Found;

  constructor(entropy: EntropyBackend, note: Note, found: Found) {
    this.#entropy = entropy;
    this.#note = note;
    this.#found = found;
  }

  step(random: Random): void {
    const length = random.pick([0, 1, 3, 16, 64, 4096, 65_536, 65_537, 200_000]);
    const memory = new Scattered(random, [length]);
    const what = `fill of ${length} bytes`;
    this.#note(what);
    this.#entropy.fill(memory.parts[0]);
    if (!memory.intactBeside) this.#found(`it writes beside the buffer of ${what}`);
    // By chance once in 2^128.
    const last = memory.content.subarray(-16);
    if (length >= 16 && last.every((byte) => byte === UNTOUCHED)) this.#found(`it leaves out the end of ${what}`);
  }
}
