// Back ends that do all that their contracts allow, and fail in every way a host fails.

import {
  type BlockBackend,
  type Bytes,
  defineBackend,
  type EntropyBackend,
  type IoResult,
  type NetBackend,
  object,
  type Packet,
  type PluginDefinition,
  type StreamBackend,
} from "../../mod.ts";
import type { Random } from "./random.ts";

const DISK_SIZE = 32 << 20;
/** What is written beyond is forgotten, and reads as zeroes. */
const DISK_KEPT = 1 << 20;
const SECTOR = 512;
/** Outputs that are remembered. */
const KEPT = 64;

/** How requests are answered. */
type Manner = "well" | "slow" | "failing" | "rejecting" | "throwing";

/** A host's failure. */
class HostError extends Error {}

/** All that one device's back ends do, by the seeded hand of the fuzzer. */
export class Backends {
  /** By service. */
  readonly plugins: Readonly<Record<string, PluginDefinition>>;
  #manner: Manner = "well";
  #partial = false;
  /** Answers that are held back. */
  #waiting: (() => void)[] = [];
  #input: Bytes[] = [];
  #packets: Packet[] = [];
  #flood = false;
  #linkUp = true;
  #ended = false;
  #reader: (() => void) | undefined;
  #receiver: (() => void) | undefined;
  #linkWatcher: ((up: boolean) => void) | undefined;
  readonly #called: () => void;
  readonly #found: (sentence: string) => void;
  readonly #random: Random;

  /** `called` is told of each call, `found` of a call that the contract forbids. */
  constructor(random: Random, called: () => void, found: (sentence: string) => void) {
    this.#random = random;
    this.#called = called;
    this.#found = found;
    const config = object({});
    const permissions: string[] = [];
    this.plugins = {
      stream: defineBackend({
        name: "fuzz_stream",
        provides: "stream",
        permissions,
        config,
        open: () => this.#stream(),
      }),
      block: defineBackend({ name: "fuzz_block", provides: "block", permissions, config, open: () => this.#block() }),
      net: defineBackend({ name: "fuzz_net", provides: "net", permissions, config, open: () => this.#net() }),
      entropy: defineBackend({
        name: "fuzz_entropy",
        provides: "entropy",
        permissions,
        config,
        open: () => this.#entropy(),
      }),
    };
  }

  /** What was printed or sent, the last few. */
  readonly outputs: Bytes[] = [];

  /** Changes what the host does, or lets something come in; tells what. */
  stir(random: Random): string {
    switch (random.below(7)) {
      case 0:
      case 1:
        this.#manner = random.pick(["well", "well", "slow", "slow", "failing", "rejecting", "throwing"]);
        this.#partial = random.oneIn(2);
        return `the host is ${this.#manner}`;
      case 2: {
        const length = random.pick([1, 2, 15, 16, 17, 300, 5000]);
        this.type(random.bytes(length));
        return `${length} bytes are typed`;
      }
      case 3: {
        const count = random.pick([1, 2, 40]);
        for (let n = count; n > 0; n--) this.#packets.push(packet(random));
        this.#arrived();
        return `${count} packets arrive`;
      }
      case 4:
        this.#plug(random.oneIn(2));
        return `the cable is plugged ${this.#linkUp ? "in" : "out"}`;
      case 5:
        this.#flood = random.oneIn(2);
        this.#arrived();
        return `the host ${this.#flood ? "floods" : "does not flood"}`;
      default:
        if (random.oneIn(20)) this.#ended = true;
        for (let n = random.below(4); n > 0; n--) this.settle();
        return "the host gives answers";
    }
  }

  /** Gives the oldest answer that is held back; whether there was one. */
  settle(): boolean {
    const next = this.#waiting.shift();
    next?.();
    return next !== undefined;
  }

  /** The host does its work again, and has answered everything. */
  heal(): void {
    this.#manner = "well";
    this.#flood = this.#ended = false;
    this.#input = [];
    this.#packets = [];
    this.#plug(true);
    while (this.settle());
  }

  /** Somebody types. */
  type(bytes: Bytes): void {
    this.#input.push(bytes);
    this.#arrived();
  }

  /** A frame comes in. */
  arrive(frame: Bytes): void {
    this.#packets.push({ frame });
    this.#arrived();
  }

  #output(bytes: Bytes): void {
    this.outputs.push(bytes.slice());
    if (this.outputs.length > KEPT) this.outputs.shift();
  }

  // ---------------------------------------------------------------- streams

  #stream(): StreamBackend {
    return {
      read: (max) => {
        this.#called();
        if (!(max >= 1)) this.#found(`it reads at most ${max} bytes of its stream`);
        const take = (): Bytes | null => {
          const all = this.#input.shift() ?? new Uint8Array(this.#flood ? 64 : 0);
          if (all.length > max) this.#input.unshift(all.subarray(max));
          return all.length > 0 ? all.subarray(0, max) : null;
        };
        if (this.#manner === "throwing") throw new HostError("EIO");
        if (this.#manner === "rejecting") return Promise.reject(new HostError("EIO"));
        if (this.#input.length > 0 || this.#ended || this.#flood) return take();
        return new Promise((resolve) => this.#reader = () => resolve(take()));
      },
      write: (bytes) => {
        this.#called();
        if (bytes.length === 0) this.#found("it writes no bytes to its stream");
        this.#output(bytes);
        if (this.#manner === "throwing") throw new HostError("ENOSPC");
        if (this.#manner === "rejecting" || this.#manner === "failing") return Promise.reject(new HostError("ENOSPC"));
        if (this.#manner === "slow") return new Promise((resolve) => this.#waiting.push(resolve));
      },
    };
  }

  #arrived(): void {
    if (this.#input.length > 0 || this.#flood) {
      this.#reader?.();
      this.#reader = undefined;
    }
    if (this.#packets.length > 0 || this.#flood) {
      this.#receiver?.();
      this.#receiver = undefined;
    }
  }

  // ---------------------------------------------------------------- disks

  #block(): BlockBackend {
    const disk = new Uint8Array(DISK_KEPT);
    const act = (position: number, length: number, work: (share: number) => void): IoResult | Promise<IoResult> => {
      this.#called();
      const whole = position % SECTOR === 0 && length % SECTOR === 0;
      if (!whole || position < 0 || !(position + length <= DISK_SIZE)) {
        this.#found(`it asks its disk of ${DISK_SIZE} bytes for ${length} bytes at ${position}`);
      }
      const manner = this.#manner;
      const partial = this.#partial;
      if (manner === "throwing") throw new HostError("EIO");
      if (manner === "rejecting") return Promise.reject(new HostError("EIO"));
      const perform = (): IoResult => {
        // A host that fails may have done a part before.
        if (manner === "failing") {
          if (partial) work(0.5);
          return partial ? "error" : "unsupported";
        }
        work(1);
        return "ok";
      };
      if (manner !== "slow") return perform();
      return new Promise((resolve, reject) =>
        this.#waiting.push(() => this.#manner === "rejecting" ? reject(new HostError("EIO")) : resolve(perform()))
      );
    };
    const move = (position: number, parts: readonly Bytes[], one: (part: Bytes, position: number) => void) =>
      act(position, parts.reduce((sum, part) => sum + part.length, 0), (share) => {
        let at = position;
        for (const part of parts.slice(0, Math.ceil(parts.length * share))) {
          one(part.subarray(0, Math.ceil(part.length * share)), at);
          at += part.length;
        }
      });
    return {
      size: DISK_SIZE,
      readOnly: false,
      id: "fuzz",
      read: (position, into) =>
        move(position, into, (part, at) => {
          const kept = disk.subarray(at, at + part.length);
          part.set(kept);
          part.fill(0, kept.length);
        }),
      write: (position, from) =>
        move(position, from, (part, at) => {
          if (at < DISK_KEPT) disk.set(part.subarray(0, DISK_KEPT - at), at);
        }),
      flush: () => act(0, 0, () => {}),
      discard: (position, length) => act(position, length, () => {}),
      writeZeroes: (position, length) => act(position, length, () => disk.fill(0, position, position + length)),
    };
  }

  // ---------------------------------------------------------------- networks

  /** Frames that were sent. */
  sent = 0;

  #plug(up: boolean): void {
    if (up === this.#linkUp) return;
    this.#linkUp = up;
    this.#linkWatcher?.(up);
    this.#linkWatcher = undefined;
  }

  #net(): NetBackend {
    const linkUp = (): boolean => this.#linkUp;
    return {
      offloads: true,
      get linkUp() {
        return linkUp();
      },
      send: ({ frame, checksum }) => {
        this.#called();
        this.sent++;
        this.#output(frame);
        if (checksum && checksum.start + checksum.offset + 2 > frame.length) {
          this.#found("it sends a checksum outside of its frame");
        }
        if (this.#manner === "throwing") throw new HostError("ENETDOWN");
      },
      receive: (max) => {
        this.#called();
        if (!(max >= 1)) this.#found(`it receives at most ${max} packets`);
        const take = (): Packet[] | null => {
          const taken = this.#packets.splice(0, max);
          while (this.#flood && taken.length < max) taken.push(packet(this.#random));
          return taken.length > 0 ? taken : null;
        };
        if (this.#manner === "throwing") throw new HostError("ENETDOWN");
        if (this.#manner === "rejecting") return Promise.reject(new HostError("ENETDOWN"));
        if (this.#packets.length > 0 || this.#flood) return take();
        return new Promise((resolve) => this.#receiver = () => resolve(take()));
      },
      linkChange: () => {
        this.#called();
        if (this.#manner === "throwing") throw new HostError("ENETDOWN");
        if (this.#manner === "rejecting") return Promise.reject(new HostError("ENETDOWN"));
        return new Promise((resolve) => this.#linkWatcher = resolve);
      },
    };
  }

  // ---------------------------------------------------------------- entropy

  #entropy(): EntropyBackend {
    return {
      fill: (into) => {
        this.#called();
        for (let i = 0; i < into.length; i++) into[i] = i * 7 + 1;
      },
    };
  }
}

/** A packet of any size, whose sender left undone what it liked, whether that makes sense or not. */
function packet(random: Random): Packet {
  const frame = new Uint8Array(random.pick([0, 1, 14, 60, 60, 1514, 5000, 65_553, 70_000]));
  for (let i = 12; i < Math.min(frame.length, 64); i++) frame[i] = random.pick([0, 8, 0x45, 6, 0x50, 0x81, 0x86, 0xdd]);
  if (!random.oneIn(3)) return { frame };
  const checksum = { start: random.pick([0, 14, 34, 54, 60_000]), offset: random.pick([0, 6, 16, 70_000]) };
  if (random.oneIn(2)) return { frame, checksum };
  const size = random.pick([0, 1, 4, 64, 1000, 1448]);
  const segmentation = { kind: random.pick(["tcp4", "tcp6", "udp"] as const), size, headerLength: 54, ecn: false };
  return random.oneIn(2) ? consistent(frame, random) : { frame, checksum, segmentation };
}

/** A packet that holds together: IPv6, and its TCP header where it is announced, however far behind. */
function consistent(frame: Bytes, random: Random): Packet {
  const start = random.pick([54, 54, Math.max(54, frame.length - 5000)]);
  if (start + 20 < frame.length) {
    frame.set([0x86, 0xdd], 12);
    frame[start + 12] = 0x50;
  }
  const size = random.pick([4, 64, 1448]);
  const segmentation = { kind: "tcp6", size, headerLength: start + 20, ecn: random.oneIn(2) } as const;
  return { frame, checksum: { start, offset: 16 }, segmentation };
}
