// Disks through crashes: after the process is killed, or the power is lost, at any point, every file that the guest
// has fsynced is whole. The host's e2fsck is the referee. DENOVISOR_FUZZ_SEED chooses other points.

import { assert, assertEquals, assertGreater } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { Random } from "../../cli/fuzz/random.ts";
import { type BlockBackend, type Bytes, defineBackend, type IoResult, object } from "../../mod.ts";
import { checkExt4, hasE2fsprogs, makeExt4, readExt4 } from "../support/e2fsprogs.ts";
import { guestImage, GuestShell, LinuxGuest } from "../support/linux_guest.ts";

const image = (await guestImage())!;
const ignore = !image || !await hasE2fsprogs();

const SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);
const SIZE = 24 * 2 ** 20;
const SECTOR = 512;

/** What the guest writes: files one after the other, each made durable and then told; in between some that are not. */
function writer(from: number, to: number): string {
  return `i=${from}; while [ $i -lt ${to} ]; do seq $i $((i * 7 % 5000 + i)) | dd of=/mnt/f$i conv=fsync 2> /dev/null; ` +
    `echo "fsynced $i"; seq 1 $((i % 900)) > /mnt/junk$((i % 5)); rm -f /mnt/junk$(((i + 2) % 5)); i=$((i + 1)); done`;
}

function content(i: number): string {
  return Array.from({ length: i * 7 % 5000 + 1 }, (_, n) => `${i + n}\n`).join("");
}

/** The files that are in `found` as they should be; says what is wrong with those up to `fsynced`. */
function assertWhole(found: ReadonlyMap<string, Uint8Array>, fsynced: number, where: string): void {
  for (let i = 1; i <= fsynced; i++) {
    const file = found.get(`f${i}`);
    assert(file, `${where}: f${i} of ${fsynced} fsynced files is missing`);
    assert(new TextDecoder().decode(file) === content(i), `${where}: f${i} of ${fsynced} fsynced files is not whole`);
  }
}

/** What was asked of a disk, in order. */
type Logged = { readonly at: number; readonly bytes: Bytes } | "flush";

/** A disk that keeps a log of all that changes it. */
class LoggedDisk implements BlockBackend {
  readonly log: Logged[] = [];
  readonly size: number;
  readonly readOnly = false;
  readonly #bytes: Bytes;

  constructor(initial: Bytes) {
    this.size = initial.length;
    this.#bytes = initial.slice();
  }

  read(position: number, into: readonly Bytes[]): IoResult {
    for (const part of into) {
      part.set(this.#bytes.subarray(position, position + part.length));
      position += part.length;
    }
    return "ok";
  }

  write(position: number, from: readonly Bytes[]): IoResult {
    for (const part of from) {
      this.#bytes.set(part, position);
      this.log.push({ at: position, bytes: part.slice() });
      position += part.length;
    }
    return "ok";
  }

  flush(): IoResult {
    this.log.push("flush");
    return "ok";
  }
}

/** The disk as it is after the process was killed within log entry `point`: the last write is done up to a sector. */
function killedAt(initial: Bytes, log: readonly Logged[], point: number, random: Random): Bytes {
  const disk = initial.slice();
  for (const [i, entry] of log.slice(0, point + 1).entries()) {
    if (entry === "flush") continue;
    const sectors = entry.bytes.length / SECTOR;
    const done = i === point ? random.below(sectors + 1) : sectors;
    disk.set(entry.bytes.subarray(0, done * SECTOR), entry.at);
  }
  return disk;
}

/** The disk as it is after the host lost its power: what was flushed is there, and any part of what was not. */
function unpoweredAt(initial: Bytes, log: readonly Logged[], point: number, random: Random): Bytes {
  const disk = initial.slice();
  const flushed = log.lastIndexOf("flush", point);
  for (const [i, entry] of log.slice(0, point + 1).entries()) {
    if (entry !== "flush" && (i <= flushed || random.oneIn(2))) disk.set(entry.bytes, entry.at);
  }
  return disk;
}

Deno.test({
  name: "every fsynced file is whole at whatever point a guest's writes are cut off, with and without the host's power",
  ignore,
  async fn() {
    const path = await Deno.makeTempFile();
    try {
      await makeExt4(path, SIZE);
      const initial = await Deno.readFile(path);
      const disk = new LoggedDisk(initial);
      const config = object({});
      const logged = defineBackend({ name: "logged", provides: "block", permissions: [], config, open: () => disk });
      await using guest = await LinuxGuest.boot({
        image,
        plugins: { logged },
        devices: [{ use: "virtio_blk", backends: { block: { use: "logged" } } }],
      });
      const { shell } = guest;
      /** How long the log was when a file was known to be durable. */
      const known: number[] = [disk.log.length];
      shell.type(`${writer(1, 60)}; echo finished\n`);
      for (let i = 1; i < 60; i++) {
        await shell.until(`fsynced ${i}\r`);
        known.push(disk.log.length);
      }
      await shell.until("finished");
      const { log } = disk;
      assertGreater(log.filter((entry) => entry === "flush").length, 50);

      const random = new Random(SEED);
      let most = 0;
      for (let n = 0; n < 24; n++) {
        const point = known[0] + random.below(log.length - known[0]);
        const fsynced = known.findLastIndex((length) => length <= point);
        const [how, make] = n % 2 ? ["killed", killedAt] as const : ["without power", unpoweredAt] as const;
        const where = `DENOVISOR_FUZZ_SEED=${SEED}: ${how} at entry ${point} of ${log.length}`;
        await Deno.writeFile(path, make(initial, log, point, random) as Uint8Array<ArrayBuffer>);
        assertEquals(await checkExt4(path), "", where);
        assertWhole(await readExt4(path), fsynced, where);
        most = Math.max(most, fsynced);
      }
      assertGreater(most, 20);

      // The referee sees it where flushes mean nothing: this can fail.
      const lost = initial.slice();
      for (const [i, entry] of log.entries()) if (entry !== "flush" && i % 3) lost.set(entry.bytes, entry.at);
      await Deno.writeFile(path, lost);
      const damage = await checkExt4(path);
      const missing = await readExt4(path).then((found) => {
        assertWhole(found, 59, "");
        return "";
      }).catch((error) => error.message);
      assert(damage || missing, "a disk that drops every third write is found out");
    } finally {
      await Deno.remove(path);
    }
  },
});

const ROOT = fromFileUrl(new URL("../..", import.meta.url));

/** `denovisor run` in a process of its own, with its guest's shell. */
async function spawn(disk: string): Promise<{ child: Deno.ChildProcess; shell: GuestShell }> {
  const map = await new Deno.Command(Deno.execPath(), { args: ["run", "-qA", "tests/offline_std/map.ts"], cwd: ROOT })
    .output();
  const words = new TextDecoder().decode(map.stdout).trim().split(/\s+/).filter(Boolean);
  const { kernel, initrd } = image;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-qA", "--no-check", ...words, "cli/main.ts", "run", "--kernel", kernel, "--initrd", initrd],
      ...["--append", "console=ttyS0 quiet cryptomgr.notests", "--disk", disk],
    ],
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const shell = new GuestShell({ readable: child.stdout, writable: child.stdin });
  await shell.ready();
  return { child, shell };
}

Deno.test({
  name: "a disk's file is whole after its process was killed, for the guest that mounts it again and for e2fsck",
  ignore,
  async fn() {
    const path = await Deno.makeTempFile();
    const random = new Random(SEED, 2);
    let fsynced = 0;
    try {
      await makeExt4(path, SIZE);
      for (let round = 0; round < 2; round++) {
        const { child, shell } = await spawn(path);
        try {
          // The guest itself has replayed the journal, and finds what was durable.
          assertEquals(await shell.get("grep -c ' /mnt ext4 rw' /proc/mounts"), "1");
          for (let i = 1; i <= fsynced; i++) {
            const sum = await shell.get(`sha256sum < /mnt/f${i}`);
            const wanted = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(content(i))));
            assertEquals(sum.slice(0, 64), wanted.toHex(), `f${i} of ${fsynced} after a kill`);
          }
          shell.type(`${writer(fsynced + 1, 10_000)}\n`);
          for (const last = fsynced + 5 + random.below(15); fsynced < last; fsynced++) {
            await shell.until(`fsynced ${fsynced + 1}\r`);
          }
          await new Promise((settle) => setTimeout(settle, random.below(200)));
        } finally {
          child.kill("SIGKILL");
          await child.status;
          await shell.ended;
          await child.stdin.close().catch(() => {});
        }
        // A copy: the guest is to find the journal as it was left.
        const copy = `${path}.copy`;
        await Deno.copyFile(path, copy);
        try {
          assertEquals(await checkExt4(copy), "", `DENOVISOR_FUZZ_SEED=${SEED}, round ${round}`);
          assertWhole(await readExt4(copy), fsynced, `DENOVISOR_FUZZ_SEED=${SEED}, round ${round}`);
        } finally {
          await Deno.remove(copy);
        }
      }
      assertGreater(fsynced, 9);
    } finally {
      await Deno.remove(path);
    }
  },
});
