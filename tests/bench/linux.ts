// In one booted guest of each contestant, in turns: the disk, and the programs of guests/.

import { join } from "@std/path";
import { type Bench, CONSOLE, timed } from "./bench.ts";
import { buildInitrd, PROGRAMS } from "./build.ts";
import type { Contestant, GuestProcess } from "./contestants.ts";
import { type Group, rate, type Row, SECONDS } from "./results.ts";

const DISK_SIZE = 256 * 2 ** 20;
const BLOCK = 2 ** 20;
/** As in guests/randread.c. */
const RANDOM_READS = 5000;
const LIMIT = 300;

const READ: Row = { name: "sequential read", unit: rate(DISK_SIZE / 1e6, "MB/s"), wanted: { ratio: 2 } };
const WRITE: Row = { name: "sequential write", unit: rate(DISK_SIZE / 1e6, "MB/s"), wanted: { ratio: 2 } };
const RANDOM: Row = { name: "random read of 4 KiB", unit: rate(RANDOM_READS, "IOPS"), wanted: { ratio: 2 } };

export const DISK: Group = { name: "virtio disk, past the guest's cache", rows: [READ, WRITE, RANDOM] };

const programs = (name: string, mean: number, ...names: string[]): Group => ({
  name,
  mean,
  rows: names.map((name) => ({ name, unit: SECONDS })),
});

export const PROGRAM_GROUPS: readonly Group[] = [
  programs("integer kernels", 1.0, "alu", "sort", "hash", "crc", "lz"),
  programs("memory", 1.0, "stream", "memcpy", "chase"),
  programs("double precision", 0.5, "matmul", "nbody", "fft"),
  programs("calls, function pointers", 0.8, "fib", "pointers"),
  programs("jump tables", 1.4, "bytecode"),
  programs("processes and system calls", 1.0, "fork", "pipe", "getppid"),
  programs("busybox", 1.0, "sha256sum", "gzip"),
];

/** Boots each contestant's guest and lets them take turns at every row. Throws if they disagree on a checksum. */
export async function measureLinux(bench: Bench): Promise<void> {
  await using guests = new AsyncDisposableStack();
  const running: { name: Contestant["name"]; guest: GuestProcess }[] = [];
  const initrd = bench.compiler ? await buildInitrd(bench.image.initrd, bench.folder) : bench.image.initrd;
  for (const contestant of bench.contestants) {
    const disk = join(bench.folder, `${contestant.name}.raw`);
    await writeDisk(disk);
    const { kernel } = bench.image;
    const guest = await contestant.start({ memory: "512M", kernel, initrd, append: CONSOLE, disk });
    guests.use(guest);
    await guest.shell.ready(300);
    running.push({ name: contestant.name, guest });
  }

  const measure = async (row: Row, sample: (guest: GuestProcess) => Promise<number>): Promise<void> => {
    if (!bench.wants(row)) return;
    for (let round = 0; round < bench.rounds; round++) {
      for (const { name, guest } of running) bench.results.add(row, name, await sample(guest));
    }
  };
  const sums = new Map<string, string>();
  const program = (name: string, argument = "") => async ({ shell }: GuestProcess): Promise<number> => {
    const [cost, sum] = (await shell.get(`${PROGRAMS} ${name} ${argument}`, LIMIT)).split(" ");
    const known = sums.get(name) ?? sum;
    if (sum !== known) throw new Error(`The checksum of ${name} is ${sum} here and ${known} there`);
    sums.set(name, sum);
    return Number(cost);
  };

  await measure(READ, copy("if=/dev/vda of=/dev/null iflag=direct"));
  if (bench.compiler) await measure(RANDOM, program("randread", "/dev/vda"));
  await measure(WRITE, copy("if=/dev/zero of=/dev/vda oflag=direct"));
  if (!bench.compiler) return;
  for (const { rows } of PROGRAM_GROUPS) {
    for (const row of rows) await measure(row, program(row.name));
  }
}

/** Seconds that dd takes for the whole disk. */
function copy(operands: string): (guest: GuestProcess) => Promise<number> {
  return ({ shell }) => timed(shell, `dd ${operands} bs=${BLOCK} count=${DISK_SIZE / BLOCK} 2> /dev/null`);
}

async function writeDisk(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  const words = new Uint32Array(BLOCK / 4);
  for (let block = 0; block < DISK_SIZE / BLOCK; block++) {
    for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + block * 7919, 2654435761);
    await file.write(new Uint8Array(words.buffer));
  }
}
