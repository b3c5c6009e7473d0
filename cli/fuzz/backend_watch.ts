// A back end under watch: whatever it is called by, each of its answers is held to its contract.

import type {
  BackendDefinition,
  BackendServices,
  BlockBackend,
  Bytes,
  EntropyBackend,
  IoResult,
  NetBackend,
  Packet,
  StreamBackend,
} from "../../mod.ts";

/** Bytes of a disk's sector. */
export const SECTOR = 512;
const RESULTS: readonly unknown[] = ["ok", "error", "unsupported"] satisfies IoResult[];
/** Bytes that a disk's serial number has at most. */
const ID_LENGTH = 20;

// deno-lint-ignore no-explicit-any -- any back end: its config is its own
export type AnyBackend = BackendDefinition<any, any>;

/** Stands between a back end and who calls it. */
export class BackendWatch {
  /** Requests of disks that have no answer yet, by what they are. */
  readonly pending: Set<{ readonly what: string }> = new Set();
  /** Writes to streams that the host holds. */
  held = 0;
  /** Packets that were sent. */
  sent = 0;
  /** What was printed or sent last. */
  output: Bytes | undefined;
  readonly #found: (sentence: string) => void;

  /** `found` is told of each broken promise. */
  constructor(found: (sentence: string) => void) {
    this.#found = found;
  }

  /** The definition, made to open its back end under watch. */
  around(definition: AnyBackend): AnyBackend {
    return {
      ...definition,
      open: async (context) => this.#wrap(definition.provides, await definition.open(context)),
    };
  }

  #wrap(service: keyof BackendServices, backend: BackendServices[keyof BackendServices]): typeof backend {
    if (typeof backend !== "object" || backend === null) return backend; // which core refuses
    switch (service) {
      case "block":
        return this.#block(backend as BlockBackend);
      case "stream":
        return this.#stream(backend as StreamBackend);
      case "net":
        return this.#net(backend as NetBackend);
      case "entropy":
        return this.#entropy(backend as EntropyBackend);
      default:
        return backend;
    }
  }

  /** Calls; an exception is a broken promise, since each contract has an answer for what can not be done. */
  #call<T>(what: string, act: () => T): T {
    try {
      return act();
    } catch (error) {
      this.#found(`it throws at ${what}: ${message(error)}`);
      throw error;
    }
  }

  #close(backend: { close?(): void | Promise<void> }): () => Promise<void> {
    let closed = false;
    return async () => {
      if (closed) this.#found("it is closed twice");
      closed = true;
      try {
        await backend.close?.();
      } catch (error) {
        this.#found(`it fails to close: ${message(error)}`);
      }
    };
  }

  // ---------------------------------------------------------------- disks

  #block(disk: BlockBackend): BlockBackend {
    const { size, readOnly, id } = disk;
    if (!(Number.isSafeInteger(size) && size > 0 && size % SECTOR === 0)) {
      this.#found(`its size is ${size}: wanted whole sectors of ${SECTOR} bytes`);
    }
    if (typeof readOnly !== "boolean") this.#found(`its readOnly is ${readOnly}: wanted a boolean`);
    if (id !== undefined && !(id.length <= ID_LENGTH && /^[\0-\x7f]*$/.test(id))) {
      this.#found(`its id is ${JSON.stringify(id)}: wanted at most ${ID_LENGTH} ASCII characters`);
    }
    const ask = (what: string, act: () => IoResult | Promise<IoResult>): IoResult | Promise<IoResult> => {
      const answer = this.#call(what, act);
      if (disk.size !== size || disk.readOnly !== readOnly) this.#found(`it changes its size or readOnly at ${what}`);
      if (!(answer instanceof Promise)) return this.#result(what, answer);
      const request = { what };
      this.pending.add(request);
      return answer.then((result) => this.#result(what, result), (error) => {
        this.#found(`it refuses its promise of an answer to ${what}: ${message(error)}`);
        throw error;
      }).finally(() => this.pending.delete(request));
    };
    const { discard, writeZeroes } = disk;
    return {
      size,
      readOnly,
      id,
      read: (position, into) => ask(`read ${position}+${total(into)}`, () => disk.read(position, into)),
      write: (position, from) => ask(`write ${position}+${total(from)}`, () => disk.write(position, from)),
      flush: () => ask("flush", () => disk.flush()),
      discard: discard &&
        ((position, length) => ask(`discard ${position}+${length}`, () => discard.call(disk, position, length))),
      writeZeroes: writeZeroes &&
        ((position, length) =>
          ask(`writeZeroes ${position}+${length}`, () => writeZeroes.call(disk, position, length))),
      close: this.#close(disk),
    };
  }

  #result(what: string, result: IoResult): IoResult {
    if (!RESULTS.includes(result)) this.#found(`it answers ${result} to ${what}: wanted one of ${RESULTS.join(", ")}`);
    return result;
  }

  // ---------------------------------------------------------------- streams

  #stream(stream: StreamBackend): StreamBackend {
    const got = (max: number, bytes: Bytes | null): Bytes | null => {
      const good = bytes === null || bytes instanceof Uint8Array && bytes.length >= 1 && bytes.length <= max;
      if (!good) this.#found(`it gives ${shown(bytes)} to a read of at most ${max} bytes: wanted 1 to ${max}, or null`);
      return bytes;
    };
    return {
      read: (max) => {
        const answer = this.#call(`read of at most ${max} bytes`, () => stream.read(max));
        return answer instanceof Promise ? answer.then((bytes) => got(max, bytes)) : got(max, answer);
      },
      write: (bytes) => {
        const what = `write of ${bytes.length} bytes`;
        const before = this.output = bytes.slice();
        const answer = this.#call(what, () => stream.write(bytes));
        if (!same(bytes, before)) this.#found(`it changes what it is given at ${what}`);
        if (!(answer instanceof Promise)) return;
        this.held++;
        return answer.finally(() => this.held--);
      },
      close: this.#close(stream),
    };
  }

  // ---------------------------------------------------------------- networks

  #net(net: NetBackend): NetBackend {
    const { offloads } = net;
    if (typeof offloads !== "boolean") this.#found(`its offloads is ${offloads}: wanted a boolean`);
    if (typeof net.linkUp !== "boolean") this.#found(`its linkUp is ${net.linkUp}: wanted a boolean`);
    const got = (max: number, packets: Packet[] | null): Packet[] | null => {
      if (packets === null) return null;
      if (!Array.isArray(packets) || packets.length < 1 || packets.length > max) {
        this.#found(`it gives ${shown(packets)} to a receive of at most ${max}: wanted 1 to ${max} packets, or null`);
      } else if (packets.some(({ frame }) => !(frame instanceof Uint8Array))) {
        this.#found("it gives a packet whose frame is no Uint8Array");
      } else if (!offloads && packets.some(({ checksum, segmentation }) => checksum || segmentation)) {
        this.#found("it gives a packet with work undone, though it says that it has no offloads");
      }
      return packets;
    };
    const { linkChange } = net;
    return {
      offloads,
      get linkUp() {
        return net.linkUp;
      },
      send: (packet) => {
        this.sent++;
        const before = this.output = packet.frame.slice();
        const what = `send of ${before.length} bytes`;
        this.#call(what, () => net.send(packet));
        if (!same(packet.frame, before)) this.#found(`it changes the frame it is given at ${what}`);
      },
      receive: (max) => {
        const answer = this.#call(`receive of at most ${max}`, () => net.receive(max));
        return answer instanceof Promise ? answer.then((packets) => got(max, packets)) : got(max, answer);
      },
      linkChange: linkChange && (async () => {
        const up = await this.#call("linkChange", () => linkChange.call(net));
        if (typeof up !== "boolean") this.#found(`its linkChange gives ${shown(up)}: wanted a boolean`);
        return up;
      }),
      close: this.#close(net),
    };
  }

  // ---------------------------------------------------------------- entropy

  #entropy(entropy: EntropyBackend): EntropyBackend {
    return {
      fill: (into) => {
        const answer: unknown = this.#call(`fill of ${into.length} bytes`, () => entropy.fill(into));
        if (answer instanceof Promise) this.#found("it fills later: wanted the bytes when fill comes back");
      },
      close: this.#close(entropy),
    };
  }
}

/** What an error says. */
export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Bytes of all parts. */
export function total(parts: readonly Bytes[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** Whether two runs of bytes are the same. */
export function same(a: Bytes, b: Bytes): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return Array.isArray(value) ? `a list of ${value.length}` : String(value);
}
