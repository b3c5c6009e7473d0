// Debian's kernel under load: a long shell workload, and Python with its own tests, end with the right answers.

import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { ext4 } from "../../cli/images/ext4.ts";
import type { DeviceDescription } from "../../mod.ts";
import { packedFiles } from "../support/debian_packages.ts";
import { guestImage, LinuxGuest } from "../support/linux_guest.ts";

const image = (await guestImage())!;

/** Python's own tests that a guest runs: numbers, formats, containers, compression. */
const TESTS = ["bisect", "heapq", "float", "zlib"].map((name) => `test_${name}`);
const PYTHON = {
  name: "python3.13",
  packages: ["python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib", "libpython3.13-testsuite"]
    .concat(["libc6", "libexpat1", "zlib1g"]),
  files: (path: string): boolean => {
    if (/share\/(doc|man|lintian)|gconv|audit|__pycache__|pydoc_data|ensurepip|idlelib/.test(path)) return false;
    const test = /\/python3\.13\/test\/(.*)/.exec(path)?.[1];
    return test === undefined || /^(__init__\.py|support\/|mathdata\/)/.test(test) ||
      TESTS.some((name) => test === `${name}.py`);
  },
};
const DISK_BYTES = 128 * 2 ** 20;

/** The archive with Python; nothing, and the reason printed, where it can not be had. */
async function pythonArchive(): Promise<string | undefined> {
  try {
    return image && await packedFiles(PYTHON);
  } catch (error) {
    console.log(`skipped: Python can not be fetched: ${error instanceof Error ? error.message : error}`);
  }
}
const python = await pythonArchive();

const disk = (path: string, readOnly = false): DeviceDescription => ({
  use: "virtio_blk",
  backends: { block: { use: "file_disk", config: { path, readOnly } } },
});

/** A file with an empty file system, removed at the end. */
async function emptyDisk(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempFile({ prefix: "denovisor_test_" });
  using file = await Deno.open(path, { write: true });
  await file.truncate(DISK_BYTES);
  for (const [offset, bytes] of ext4(DISK_BYTES, "work", new Uint8Array(16).fill(7))) {
    await file.seek(offset, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

async function sha256(text: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}

const numbers = (count: number): string => Array.from({ length: count }, (_, i) => `${i + 1}\n`).join("");

Deno.test({
  name: "a long shell workload ends with the right answers",
  ignore: !image,
  async fn(t) {
    await using work = await emptyDisk();
    await using guest = await LinuxGuest.boot({ image, memory: "512M", devices: [disk(work.path)] });
    const { shell } = guest;
    const sum = "sha256sum | cut -d ' ' -f 1";
    const seconds = 150;

    await t.step("checksums of files on a disk", async () => {
      await shell.get("seq 1 100000 > /mnt/numbers; sync; echo 3 > /proc/sys/vm/drop_caches", seconds);
      assertEquals(await shell.get(`cat /mnt/numbers | ${sum}`, seconds), await sha256(numbers(100_000)));
    });

    await t.step("compression, and back", async () => {
      for (const [pack, unpack] of [["gzip", "gunzip"], ["bzip2", "bunzip2"]]) {
        const wanted = await sha256(numbers(100_000));
        assertEquals(await shell.get(`${pack} < /mnt/numbers | ${unpack} | ${sum}`, seconds), wanted, pack);
      }
    });

    await t.step("sorting what was put out of order", async () => {
      // Multiples of a number modulo a prime: all numbers below the prime, in another order.
      const shuffled = "seq 1 30010 | awk '{ print ($1 * 7919) % 30011 }'";
      assertEquals(await shell.get(`${shuffled} | sort -n | ${sum}`, seconds), await sha256(numbers(30_010)));
    });

    await t.step("thousands of processes", async () => {
      const script = `n=0; while [ $n -lt 2000 ]; do (exit 0) && n=$((n + 1)); done; echo $n`;
      const before = Number(await shell.get("awk '/^processes/ { print $2 }' /proc/stat"));
      assertEquals(await shell.get(script, seconds), "2000");
      const after = Number(await shell.get("awk '/^processes/ { print $2 }' /proc/stat"));
      assertGreater(after - before, 1999);
    });
    assertEquals(await guest.powerOff(), 0);
  },
});

Deno.test({
  name: "Python and its own tests run from a disk",
  ignore: !python,
  async fn(t) {
    await using work = await emptyDisk();
    await using guest = await LinuxGuest.boot({
      image,
      memory: "512M",
      devices: [disk(work.path), disk(python!, true), { use: "virtio_rng" }],
    });
    const { shell } = guest;
    await shell.get("cd /mnt && cpio -idm < /dev/vdb 2> /dev/null && mkdir -p proc dev tmp", 60);
    await shell.get("mount -t proc proc proc && mount --bind /dev dev && mount -t tmpfs tmpfs tmp");
    const run = (args: string, seconds: number) =>
      shell.run(`LC_ALL=C.UTF-8 chroot /mnt /usr/bin/python3.13 ${args} 2>&1`, seconds);

    await t.step("it computes", async () => {
      const source = "import zlib; n = pow(3, 20000); print(n % (2**127 - 1), zlib.crc32(str(n)[:4000].encode()))";
      const n = 3n ** 20000n;
      const { output } = await run(`-X int_max_str_digits=0 -c '${source}'`, 60);
      assertEquals(output, `${n % (2n ** 127n - 1n)} ${crc32(n.toString().slice(0, 4000))}\n`);
    });

    await t.step("its own tests pass", async () => {
      const { output, status } = await run(`-m unittest -q ${TESTS.map((name) => `test.${name}`).join(" ")}`, 150);
      assertEquals(status, 0, output.slice(-2000));
      assertMatch(output, /Ran \d{3,} tests in/);
    });
    assertEquals(await guest.powerOff(), 0);
  },
});

/** CRC-32 as zlib has it. */
function crc32(text: string): number {
  let crc = -1;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
