// cli/fuzz.ts before back ends: it finds each kind of broken promise, called directly and by devices.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { AnyBackend } from "../../cli/fuzz/backend_watch.ts";
import { fuzz } from "../../cli/fuzz/fuzz.ts";
import {
  type BackendServiceName,
  type BackendServices,
  type BlockBackend,
  type Bytes,
  defineBackend,
  type IoResult,
  object,
} from "../../mod.ts";
import { denovisor } from "../support/denovisor.ts";

const SIZE = 64 * 512;

/** A disk in memory that is in order, but for what a test makes of it. */
class Disk implements BlockBackend {
  readonly size: number = SIZE;
  readonly readOnly: boolean = false;
  readonly bytes: Bytes = new Uint8Array(SIZE);
  holds(position: number, length: number): boolean {
    return position >= 0 && position + length <= SIZE;
  }
  read(position: number, into: readonly Bytes[]): IoResult | Promise<IoResult> {
    if (!this.holds(position, into.reduce((sum, part) => sum + part.length, 0))) return "error";
    for (const part of into) {
      part.set(this.bytes.subarray(position, position + part.length));
      position += part.length;
    }
    return "ok";
  }
  write(position: number, from: readonly Bytes[]): IoResult | Promise<IoResult> {
    if (!this.holds(position, from.reduce((sum, part) => sum + part.length, 0))) return "error";
    for (const part of from) {
      this.bytes.set(part, position);
      position += part.length;
    }
    return "ok";
  }
  flush(): IoResult | Promise<IoResult> {
    return "ok";
  }
  close(): void | Promise<void> {}
}

const backend = <P extends BackendServiceName>(provides: P, open: () => BackendServices[P]): AnyBackend =>
  defineBackend({ name: "faulty", provides, permissions: [], config: object({}), open });

/** A network whose one end gets what it sends, after something was done to it. */
function network(
  change: (frame: Bytes) => Bytes,
  copy: (frame: Bytes) => Bytes = (frame) => frame.slice(),
): AnyBackend {
  return backend("net", () => {
    const frames: Bytes[] = [];
    return {
      offloads: false,
      linkUp: true,
      send: ({ frame }) => void (frame.length >= 14 && frames.push(change(copy(frame)))),
      receive: (max) => frames.length > 0 ? frames.splice(0, max).map((frame) => ({ frame })) : new Promise(() => {}),
    };
  });
}

const FAULTY: Record<string, readonly [definition: AnyBackend, sentence: RegExp]> = {
  "throws beyond its end": [
    backend("block", () =>
      new class extends Disk {
        override holds(position: number, length: number): boolean {
          if (position + length > SIZE) throw new RangeError("no such sector");
          return position >= 0;
        }
      }()),
    /it throws at (read|write) \d+\+\d+: no such sector/,
  ],
  "reads beyond its end": [
    backend("block", () =>
      new class extends Disk {
        override read(position: number, into: readonly Bytes[]) {
          super.read(position, into);
          return "ok" as const;
        }
      }()),
    /it answers ok to read -?\d+\+\d+, beyond its size of 32768/,
  ],
  "loses the first of several parts": [
    backend("block", () =>
      new class extends Disk {
        override write(position: number, from: readonly Bytes[]) {
          const result = super.write(position, from);
          if (result === "ok" && from.length > 1) this.bytes.fill(0, position, position + from[0].length);
          return result;
        }
      }()),
    /it gives other bytes than were written, at \d+ of read \d+\+\d+/,
  ],
  "writes beside a buffer": [
    backend("block", () =>
      new class extends Disk {
        override read(position: number, into: readonly Bytes[]) {
          for (const { buffer, byteOffset, length } of into) new Uint8Array(buffer)[byteOffset + length] = 0;
          return super.read(position, into);
        }
      }()),
    /it writes beside the buffers of read/,
  ],
  "writes after its answer": [
    backend("block", () =>
      new class extends Disk {
        override read(position: number, into: readonly Bytes[]) {
          setTimeout(() => super.read(position, into));
          return this.holds(position, into.reduce((sum, part) => sum + part.length, 0))
            ? "ok" as const
            : "error" as const;
        }
        override write(position: number, from: readonly Bytes[]) {
          const result = super.write(position, from);
          return new Promise<IoResult>((resolve) => setTimeout(resolve, 0, result));
        }
      }()),
    /it (changes memory after its answer to read|gives other bytes than were written)/,
  ],
  "answers what is no answer": [
    backend("block", () =>
      new class extends Disk {
        override flush = () => undefined as unknown as IoResult;
      }()),
    /it answers undefined to flush/,
  ],
  "refuses to answer": [
    backend("block", () =>
      new class extends Disk {
        override flush = () => Promise.reject(new Error("EIO"));
      }()),
    /it refuses its promise of an answer to flush: EIO/,
  ],
  "never answers": [
    backend("block", () =>
      new class extends Disk {
        override flush = () => new Promise<never>(() => {});
      }()),
    /it does not answer flush within 0.1 seconds/,
  ],
  "does not close": [
    backend("block", () =>
      new class extends Disk {
        override close = () => new Promise<never>(() => {});
      }()),
    /it does not come to the end of close within 0.1 seconds/,
  ],
  "changes what is written to it": [
    backend("stream", () => ({ read: () => null, write: (bytes) => void bytes.fill(0) })),
    /it changes what it is given at write of \d+ bytes/,
  ],
  "gives more than a read asks for": [
    backend("stream", () => ({ read: (max) => new Uint8Array(max + 1), write: () => {} })),
    /it gives \d+ bytes to a read of at most \d+ bytes/,
  ],
  "takes frames for longer than they are": [
    backend("net", () => ({
      offloads: false,
      linkUp: true,
      send: ({ frame }) => void new DataView(frame.buffer).getUint16(12),
      receive: () => new Promise(() => {}),
    })),
    /it throws at send of \d+ bytes/,
  ],
  "replaces every byte of a frame": [
    network((frame) => frame.fill(0x77)),
    /gives a frame of \d+ bytes that nobody sent/,
  ],
  "changes a frame's last byte": [
    network((frame) => {
      frame[frame.length - 1] ^= 1;
      return frame;
    }),
    /gives (another frame than the one of \d+ bytes that was sent|a frame of \d+ bytes that nobody sent)/,
  ],
  "cuts long frames": [
    network((frame) => frame.subarray(0, 1500)),
    /gives another frame than the one of \d+ bytes that was sent/,
  ],
  "keeps no copy of what is sent": [
    network((frame) => frame, (frame) => frame),
    /gives a frame of \d+ bytes that nobody sent/,
  ],
  "gives bytes that it goes on to use": [
    backend("stream", () => {
      const buffer = new Uint8Array(16);
      return { read: () => buffer.subarray(0, 1), write: (bytes) => void (buffer[0] = bytes[0]) };
    }),
    /it changes 1 bytes that it gave/,
  ],
  "leaves out the end of a buffer": [
    backend("entropy", () => ({ fill: (into) => void into.subarray(16).fill(7) })),
    /it leaves out the end of fill of 16 bytes/,
  ],
};

for (const [does, [definition, sentence]] of Object.entries(FAULTY)) {
  Deno.test(`fuzz finds a back end that ${does}`, async () => {
    const { failure } = await fuzz({ definition, behind: [] }, { seed: 1, cases: 10, cuts: 5, patience: 0.1 });
    assert(failure, "nothing was found");
    assertMatch(failure.sentence, sentence);
  });
}

for (const definition of [backend("block", () => new Disk()), network((frame) => frame)]) {
  Deno.test(`fuzz lets a back end in order pass: ${definition.provides}`, async () => {
    const { failure } = await fuzz({ definition, behind: [] }, { seed: 1, cases: 10 });
    assertEquals(failure, undefined);
  });
}

Deno.test("fuzz drives a user's own back end, and finds it out behind a device, too", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/my_disk.ts`;
    const mod = new URL("../../mod.ts", import.meta.url).href;
    const write = (answer: string) =>
      Deno.writeTextFile(
        path,
        `import { boolean, defineBackend, object, optional } from ${JSON.stringify(mod)};
export default defineBackend({
  name: "my_disk",
  provides: "block",
  permissions: [],
  config: object({ late: optional(boolean, false) }),
  open: ({ config }) => {
    const disk = new Uint8Array(65536);
    const act = (position: number, parts: readonly Uint8Array[], move: (part: Uint8Array, at: number) => void) => {
      const length = parts.reduce((sum, part) => sum + part.length, 0);
      if (position < 0 || position + length > disk.length) return "error";
      let at = position;
      for (const part of parts) move(part, at), at += part.length;
      return config.late ? new Promise((resolve) => setTimeout(resolve, 1, ${answer})) : ${answer};
    };
    return {
      size: disk.length,
      readOnly: false,
      read: (position, into) => act(position, into, (part, at) => part.set(disk.subarray(at, at + part.length))),
      write: (position, from) => act(position, from, (part, at) => disk.set(part, at)),
      flush: () => "ok",
    };
  },
});`,
      );
    await write('"ok"');
    for (const config of ["", ',{"late":true}']) {
      const { code, out, err } = await denovisor(["fuzz", path + config, "--seed", "1", "--cases", "4"]);
      assertEquals(code, 0, out + err);
      assertStringIncludes(out, "4 cases of 120 steps from seed 1 on, all well");
    }
    await write('"done"');
    for (const seed of ["2", "3"]) { // the first one directly, the second one behind a device
      const { code, out } = await denovisor(["fuzz", path, "--seed", seed, "--cases", "1"]);
      assertEquals(code, 1, out);
      assertMatch(out, /it answers done to (read|write) \d+\+\d+: wanted one of ok, error, unsupported/);
      assertMatch(out, /again: denovisor fuzz '.*my_disk\.ts' --seed [23] --cases 1/);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
