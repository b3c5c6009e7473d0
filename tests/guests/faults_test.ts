// A host in trouble as Linux sees it: its disk fails, is full or slow, its console is not read, its network floods.

import { assert, assertEquals, assertGreater, assertLess, assertMatch } from "@std/assert";
import { type BlockBackend, type Bytes, defineBackend, type IoResult, type NetBackend, object } from "../../mod.ts";
import { frame, pattern } from "../support/backend_suites.ts";
import { Lag } from "../support/lag.ts";
import { guestImage, LinuxGuest } from "../support/linux_guest.ts";

const image = (await guestImage())!;
const ignore = !image;

const KIB = 1024;
const MIB = KIB * KIB;
/** What a host that others keep busy may take to come back to its timers. */
const RESPONSIVE = { most: 1000, median: 50 } as const;

/** A disk with a bad spot, a part that has no room behind it, and times when it is slow. */
class TroubledDisk implements BlockBackend {
  readonly content: Bytes = pattern(16 * MIB);
  readonly size = 16 * MIB;
  readonly readOnly = false;
  /** Milliseconds that each request takes. */
  delay = 0;
  requests = 0;

  read(position: number, into: readonly Bytes[]): IoResult | Promise<IoResult> {
    return this.#serve(position, into, 4 * MIB, (part, at) => part.set(this.content.subarray(at, at + part.length)));
  }

  write(position: number, from: readonly Bytes[]): IoResult | Promise<IoResult> {
    return this.#serve(position, from, 8 * MIB, (part, at) => this.content.set(part, at));
  }

  flush(): IoResult {
    return "ok";
  }

  #serve(position: number, parts: readonly Bytes[], bad: number, move: (part: Bytes, at: number) => void) {
    this.requests++;
    const perform = (): IoResult => {
      let at = position;
      for (const part of parts) {
        if (at < bad + 64 * KIB && at + part.length > bad) return "error";
        move(part, at);
        at += part.length;
      }
      return "ok";
    };
    if (this.delay === 0) return perform();
    return new Promise<IoResult>((settle) => setTimeout(() => settle(perform()), this.delay));
  }
}

/** A peer that sends as much as is taken, once it is told to. */
class Flooder implements NetBackend {
  readonly offloads = false;
  readonly linkUp = true;
  taken = 0;
  #flooding = false;
  #begin = Promise.withResolvers<void>();
  readonly #packets = Array.from({ length: 32 }, (_, i) => ({ frame: frame(0xffff, i, new Uint8Array(1400)) }));

  set flooding(on: boolean) {
    this.#flooding = on;
    if (on) this.#begin.resolve();
  }

  send(): void {}

  receive(max: number) {
    if (this.#flooding) return this.#take(max);
    this.#begin = Promise.withResolvers();
    return this.#begin.promise.then(() => this.#take(max));
  }

  #take(max: number) {
    this.taken += Math.min(max, 32);
    return this.#packets.slice(0, max);
  }
}

async function hash(bytes: Bytes): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).toHex();
}

Deno.test({
  name: "Linux sees the host's errors or waits, loses no byte, and the host stays responsive",
  ignore,
  async fn(t) {
    const disk = new TroubledDisk();
    const net = new Flooder();
    const config = object({});
    const plugins = {
      troubled: defineBackend({ name: "troubled", provides: "block", permissions: [], config, open: () => disk }),
      flooder: defineBackend({ name: "flooder", provides: "net", permissions: [], config, open: () => net }),
    };
    await using guest = await LinuxGuest.boot({
      image,
      plugins,
      append: "denovisor.ip=10.0.0.1/24",
      devices: [
        { use: "virtio_blk", backends: { block: { use: "troubled" } } },
        { use: "virtio_net", backends: { net: { use: "flooder" } } },
        { use: "serial_16550", name: "printer" },
      ],
    });
    const { shell, machine } = guest;
    const drop = "echo 3 > /proc/sys/vm/drop_caches";
    // What the kernel says of errors would stand between the answers.
    await shell.get("echo 1 > /proc/sys/kernel/printk");

    await t.step("a read that fails is an I/O error of the sectors it meant, and of no others", async () => {
      const failed = await shell.run("dd if=/dev/vda of=/dev/null bs=64k skip=64 count=1 2>&1");
      assertEquals(failed.status, 1);
      assertMatch(failed.output, /Input\/output error/);
      const good = await shell.get(`${drop}; dd if=/dev/vda bs=64k skip=60 count=4 2> /dev/null | sha256sum`);
      assertEquals(good.slice(0, 64), await hash(disk.content.subarray(60 * 64 * KIB, 64 * 64 * KIB)));
    });

    await t.step("a write that the host has no room for is an I/O error when the guest asks for it", async () => {
      const before = disk.content.slice(8 * MIB, 8 * MIB + 64 * KIB);
      const failed = await shell.run("dd if=/dev/zero of=/dev/vda bs=64k seek=128 count=1 conv=fsync 2>&1");
      assertEquals(failed.status, 1);
      assertMatch(failed.output, /Input\/output error/);
      assertEquals(disk.content.subarray(8 * MIB, 8 * MIB + 64 * KIB), before);
      await shell.get("dd if=/dev/zero of=/dev/vda bs=64k seek=130 count=1 conv=fsync 2> /dev/null");
      assert(disk.content.subarray(130 * 64 * KIB, 131 * 64 * KIB).every((byte) => byte === 0));
    });

    await t.step("a slow disk is waited for, and nothing else waits", async () => {
      await shell.get(drop);
      disk.delay = 40;
      disk.requests = 0;
      using lag = new Lag();
      const started = performance.now();
      const read = await shell.get("dd if=/dev/vda bs=256k skip=40 count=8 2> /dev/null | sha256sum");
      const took = performance.now() - started;
      disk.delay = 0;
      assertEquals(read.slice(0, 64), await hash(disk.content.subarray(10 * MIB, 12 * MIB)));
      assertGreater(disk.requests, 0);
      assertGreater(took, 40);
      const { most, median } = lag.measured;
      assertLess(median, RESPONSIVE.median);
      assertLess(most, RESPONSIVE.most);
    });

    await t.step("a console that nobody reads stops who prints, and loses nothing", async () => {
      await shell.get("exec 3<> /dev/ttyS1; stty -F /dev/ttyS1 raw -opost -echo");
      using lag = new Lag();
      await shell.get("{ seq 1 20000 >&3; echo printed > /tmp/printed; } & true");
      await new Promise((settle) => setTimeout(settle, 500));
      assertEquals((await shell.run("test -e /tmp/printed")).status, 1, "109 KB do not fit into what the host keeps");
      const wanted = Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join("");
      let got = "";
      const decoder = new TextDecoder();
      const reader = machine.streams.printer.readable.getReader();
      let largest = 0;
      while (got.length < wanted.length) {
        const { value } = await reader.read();
        largest = Math.max(largest, value!.length);
        got += decoder.decode(value, { stream: true });
      }
      const at = [...wanted].findIndex((character, i) => character !== got[i]);
      assertEquals(at, -1, `got ${JSON.stringify(got.slice(at, at + 80))} at ${at}`);
      assertLess(largest, 65_537);
      reader.releaseLock();
      assertLess(lag.measured.median, RESPONSIVE.median);
      assertLess(lag.measured.most, RESPONSIVE.most);
    });

    await t.step("a peer that floods takes the host's memory no more than its attention", async () => {
      const before = Deno.memoryUsage().rss;
      using lag = new Lag();
      net.flooding = true;
      for (let i = 0; i < 3; i++) {
        assertEquals(await shell.get("sleep 0.3; echo here"), "here");
      }
      net.flooding = false;
      assertGreater(net.taken, 100);
      const { most, median } = lag.measured;
      assertLess(median, RESPONSIVE.median);
      assertLess(most, RESPONSIVE.most);
      assertLess(Deno.memoryUsage().rss - before, 128 * MIB);
      const received = Number(await shell.get("cat /sys/class/net/eth0/statistics/rx_packets"));
      assertGreater(received, 100);
    });

    assertEquals(await guest.powerOff(), 0);
  },
});
