// Debian's kernel as a guest: its devices work, it runs, idles, pauses, restarts and powers off as on a machine of metal.

import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { fromFileUrl } from "@std/path";
import process from "node:process";
import type { DeviceDescription } from "../../mod.ts";
import { longestWait } from "../support/lag.ts";
import { guestImage, GuestShell, LinuxGuest, within } from "../support/linux_guest.ts";

const image = (await guestImage())!;
const ignore = !image;

const MEBIBYTE = 2 ** 20;

function disk(path: string, readOnly = false): DeviceDescription {
  return { use: "virtio_blk", backends: { block: { use: "file_disk", config: { path, readOnly } } } };
}

/** A file of zeroes, removed at the end. */
async function scratchFile(bytes: number): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempFile({ prefix: "denovisor_test_" });
  await Deno.truncate(path, bytes);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

/** The SHA-256 of a file on the host, as the guest's sha256sum prints it. */
async function sha256(path: string, from: number, length: number): Promise<string> {
  const bytes = (await Deno.readFile(path)).subarray(from, from + length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return digest.toHex();
}

const sleep = (seconds: number): Promise<void> => new Promise((settle) => setTimeout(settle, seconds * 1000));

Deno.test({
  name: "Debian's kernel boots, and its devices work",
  ignore,
  async fn(t) {
    await using raw = await scratchFile(8 * MEBIBYTE);
    await using files = await scratchFile(0);
    await Deno.copyFile(image.disk, files.path);
    await using guest = await LinuxGuest.boot({
      image,
      memory: "512M",
      devices: [
        disk(files.path),
        disk(raw.path),
        disk(raw.path, true),
        { use: "virtio_rng" },
        { use: "virtio_console", name: "hvc" },
      ],
    });
    const { shell, machine } = guest;

    await t.step("the shell answers, with exit status", async () => {
      assertMatch(await shell.get("uname -srm"), /^Linux \S+ riscv64$/);
      assertEquals(await shell.get("expr 6 \\* 7"), "42");
      assertEquals(await shell.run("(exit 3)"), { status: 3, output: "" });
      assertEquals(machine.status, "running");
    });

    await t.step("what is written to a disk stands in the host's file", async () => {
      await shell.get("dd if=/dev/urandom of=/dev/vdb bs=1M seek=2 count=4 conv=fsync");
      await shell.get("echo 3 > /proc/sys/vm/drop_caches");
      const hash = await shell.get("dd if=/dev/vdb bs=1M skip=2 count=4 2> /dev/null | sha256sum | cut -d ' ' -f 1");
      assertEquals(hash, await sha256(raw.path, 2 * MEBIBYTE, 4 * MEBIBYTE));
      assertNotEquals(hash, await sha256(raw.path, 0, 4 * MEBIBYTE));
    });

    await t.step("files survive unmounting", async () => {
      assertStringIncludes(await shell.get("mount"), "/dev/vda on /mnt type ext4 (rw");
      const wrote = await shell.get("seq 1 20000 > /mnt/numbers; sha256sum < /mnt/numbers");
      await shell.get("umount /mnt; echo 3 > /proc/sys/vm/drop_caches; mount /dev/vda /mnt");
      assertEquals(await shell.get("sha256sum < /mnt/numbers"), wrote);
    });

    await t.step("a read-only disk is read, and refuses writes", async () => {
      assertEquals(await shell.get("cat /sys/block/vdc/ro"), "1");
      assertEquals(await shell.get("cmp /dev/vdb /dev/vdc && echo same"), "same");
      const before = await sha256(raw.path, 0, MEBIBYTE);
      assertNotEquals((await shell.run("dd if=/dev/urandom of=/dev/vdc bs=4k count=1")).status, 0);
      assertEquals(await sha256(raw.path, 0, MEBIBYTE), before);
    });

    await t.step("the entropy device feeds the kernel", async () => {
      assertMatch(await shell.get("cat /sys/class/misc/hw_random/rng_current"), /^virtio_rng/);
      const read = "head -c 64 /dev/hwrng | sha256sum";
      assertNotEquals(await shell.get(read), await shell.get(read));
    });

    await t.step("the second console speaks and listens", async () => {
      const hvc = new GuestShell(machine.streams.hvc);
      await shell.get("exec 3<> /dev/hvc0; stty raw -echo <&3; echo from the guest >&3");
      await hvc.until("from the guest\n");
      hvc.type("from the host\n");
      assertEquals(await shell.get("head -n 1 <&3"), "from the host");
    });

    await t.step("the clock on the wall is right", async () => {
      const guestSeconds = Number(await shell.get("cat /sys/class/rtc/rtc0/since_epoch"));
      assertLess(Math.abs(Date.now() / 1000 - guestSeconds), 10);
      assertLess(Math.abs(Date.now() / 1000 - Number(await shell.get("date +%s"))), 10);
    });

    await t.step("a sleep takes as long as on the host", async () => {
      const started = performance.now();
      await shell.get("sleep 2");
      const took = (performance.now() - started) / 1000;
      assert(took > 1.9 && took < 4, `${took} s`);
    });

    await t.step("a pause stops the guest and its clock", async () => {
      const uptime = async () => Number((await shell.get("cat /proc/uptime")).split(" ")[0]);
      const before = await uptime();
      await machine.pause();
      assertEquals(machine.status, "paused");
      const { instructions } = machine.stats();
      await sleep(3);
      assertEquals(machine.stats().instructions, instructions);
      machine.resume();
      const gone = await uptime() - before;
      assert(gone >= 0 && gone < 2, `${gone} s`);
    });

    await t.step("an idle guest costs the host less than 3 % of a core", async () => {
      const seconds = 5;
      let best = Infinity;
      for (let attempt = 0; attempt < 4 && best >= 0.03; attempt++) {
        await sleep(1);
        const before = process.cpuUsage();
        await sleep(seconds);
        const { user, system } = process.cpuUsage(before);
        best = Math.min(best, (user + system) / 1e6 / seconds);
      }
      assertLess(best, 0.03);
    });

    await t.step("a busy guest leaves the host's event loop its turn within ten milliseconds", async () => {
      await shell.get("sha256sum /dev/zero &");
      await sleep(0.2);
      assertLess(await longestWait(10), 10);
      await shell.get("kill $!");
    });

    await t.step("reboot starts the guest anew", async () => {
      await shell.get("touch /tmp/gone; sync");
      const { nanoseconds } = machine.stats();
      shell.type("reboot -f\n");
      await shell.ready();
      assertEquals(await shell.get("ls /tmp"), "");
      assertStringIncludes(await shell.get("ls -l /mnt"), "numbers");
      assertGreater(machine.stats().nanoseconds, nanoseconds);
      assertEquals(machine.status, "running");
    });

    await t.step("power off ends the run with code 0", async () => {
      assertEquals(await guest.powerOff(), 0);
      assertEquals(machine.status, "off");
    });
  },
});

Deno.test({
  name: "two harts work, and both take interrupts",
  ignore,
  async fn() {
    await using guest = await LinuxGuest.boot({ image, cpus: 2 });
    const { shell } = guest;
    assertEquals(await shell.get("nproc"), "2");
    assertEquals(await shell.get("cat /sys/devices/system/cpu/online"), "0-1");

    const spin = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    await shell.get(
      `for cpu in 0 1; do taskset -c $cpu sh -c '${spin}; cut -d " " -f 39 /proc/self/stat' > /tmp/$cpu & done; wait`,
    );
    assertEquals(await shell.get("cat /tmp/0 /tmp/1"), "0\n1");

    const interrupts = await shell.get("cat /proc/interrupts");
    for (const name of ["riscv-timer", "IPI0"]) {
      const line = interrupts.split("\n").find((line) => line.includes(name)) ?? "";
      const [first, second] = line.trim().split(/\s+/).slice(1).map(Number);
      assert(first > 0 && second > 0, interrupts);
    }
    assertEquals(await guest.powerOff(), 0);
  },
});

const root = fromFileUrl(new URL("../..", import.meta.url));

/** `denovisor run` with the image; `input` goes to its standard input. */
async function run(input: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const map = await new Deno.Command(Deno.execPath(), { args: ["run", "-qA", `${root}tests/offline_std/map.ts`] })
    .output();
  const decoder = new TextDecoder();
  const option = decoder.decode(map.stdout).trim();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-qA", ...(option ? [option] : []), `${root}cli/main.ts`, "run", "--image", image.name, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await within(240, "denovisor run", child.output());
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test({
  name: "denovisor run reads commands from a pipe and exits with 0 when the guest powers off",
  ignore,
  async fn() {
    const { code, out, err } = await run("expr 1000 + 234\npoweroff\n");
    assertEquals({ code, err }, { code: 0, err: "" }, out);
    assertMatch(out, /^1234\r?$/m);
  },
});

Deno.test({
  name: "denovisor run --timeout ends with 124",
  ignore,
  async fn() {
    assertEquals((await run("", "--timeout", "3")).code, 124);
  },
});
