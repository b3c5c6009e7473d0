// Mixed work on machines for as long as one likes, with the host's memory, handles and the engines' caches watched.

import { fuzz } from "../../cli/fuzz/fuzz.ts";
import { Random } from "../../cli/fuzz/random.ts";
import { loadSubject } from "../../cli/fuzz/subject.ts";
import { createHypervisor, createMachine, type Hypervisor } from "../../mod.ts";
import { LOOP } from "./boot_files.ts";
import { growthIn, ROOM, type Sample } from "./growth.ts";
import type { GuestImage } from "../../cli/images.ts";
import { LinuxGuest } from "./linux_guest.ts";

/**
 * Every so many rounds the parts of memory are looked at, and a full collection is made, where the host lets one ask for
 * it (`--expose-gc`): V8 frees the code of modules that went only with those.
 */
const COLLECTED = 16;

/** How it went. */
export interface SoakReport {
  readonly samples: readonly Sample[];
  /** How often each kind of work was done. */
  readonly work: Readonly<Record<string, number>>;
  /** How often the second guest's code was thrown away for lack of room. */
  readonly evictions: number;
  /** What grew, in a sentence each. */
  readonly growth: readonly string[];
}

/** How to soak. */
export interface SoakOptions {
  readonly image: GuestImage;
  readonly seconds: number;
  readonly seed: number;
  /** Told of every round. */
  readonly progress?: (sample: Sample, rounds: number) => void;
}

/** Works two Linux guests and many short-lived machines. Throws where a guest's answer is wrong. */
export async function soak({ image, seconds, seed, progress }: SoakOptions): Promise<SoakReport> {
  const folder = await Deno.makeTempDir();
  await using hypervisor = createHypervisor();
  try {
    await using pair = await Pair.boot(hypervisor, image, folder);
    const random = new Random(seed);
    const samples: Sample[] = [];
    const work: Record<string, number> = {};
    const started = performance.now();
    const elapsed = (): number => (performance.now() - started) / 1000;
    for (let round = 0; elapsed() < seconds; round++) {
      const name = random.pick(Object.keys(WORK));
      try {
        await WORK[name](pair, random);
      } catch (error) {
        throw new Error(`Round ${round} of seed ${seed}, ${name}: ${(error as Error).message}`, { cause: error });
      }
      work[name] = (work[name] ?? 0) + 1;
      const collected = round % COLLECTED === 0;
      if (collected) (globalThis as { gc?: () => void }).gc?.();
      const code = [pair.first, pair.second].map(({ machine }) => machine.stats().residentBytes);
      const sample = { seconds: elapsed(), ...measure(), code, ...(collected ? { data: dataBytes() } : {}) };
      samples.push(sample);
      progress?.(sample, round + 1);
    }
    const { evictions, codeFlushes } = pair.second.machine.stats();
    return { samples, work, evictions: evictions + codeFlushes, growth: growthIn(samples) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What the process holds now. */
function measure(): Omit<Sample, "seconds" | "code" | "data"> {
  const { rss, heapUsed, external } = Deno.memoryUsage();
  let handles = 0;
  try {
    handles = [...Deno.readDirSync("/proc/self/fd")].length;
  } catch {
    // Another system than Linux.
  }
  return { rss, heap: heapUsed, external, handles };
}

/** What the process holds in private, writable memory that has no name and is no code. */
function dataBytes(): number | undefined {
  let maps: string;
  try {
    maps = Deno.readTextFileSync("/proc/self/smaps");
  } catch {
    return undefined; // another system than Linux
  }
  const anonymous = /^[\da-f]+-[\da-f]+ rw-p \S+ \S+ 0 *\n(?:.*\n)*?Rss: +(\d+) kB$/gm;
  return [...maps.matchAll(anonymous)].reduce((sum, [, kilobytes]) => sum + 1024 * Number(kilobytes), 0);
}

/** Two guests on one hub. */
class Pair implements AsyncDisposable {
  private constructor(readonly hypervisor: Hypervisor, readonly first: LinuxGuest, readonly second: LinuxGuest) {}

  static async boot(hypervisor: Hypervisor, image: GuestImage, folder: string): Promise<Pair> {
    const boot = async (number: number): Promise<LinuxGuest> => {
      const path = `${folder}/disk${number}.raw`;
      await Deno.copyFile(image.disk, path);
      const guest = await LinuxGuest.boot({
        image,
        hypervisor,
        name: `guest${number}`,
        memory: "256M",
        engine: { use: "riscv", config: { compiledCode: ROOM[number - 1] } },
        append: `denovisor.ip=10.0.0.${number}/24`,
        devices: [
          { use: "virtio_blk", backends: { block: { use: "file_disk", config: { path } } } },
          { use: "virtio_net", backends: { net: { use: "hub_net", config: { hub: "soak" } } } },
          { use: "virtio_rng" },
        ],
      });
      // Memory that a guest has touched stays with the host: it is to be touched now.
      await guest.shell.get(
        "mkdir /fill; mount -t tmpfs -o size=100m tmpfs /fill; dd if=/dev/zero of=/fill/a bs=1M || true",
      );
      await guest.shell.get("umount /fill; echo 1 > /proc/sys/kernel/printk");
      return guest;
    };
    const first = await boot(1);
    const second = await boot(2);
    await first.shell.get("mkdir -p /www; seq 1 100000 > /www/file; httpd -h /www");
    return new Pair(hypervisor, first, second);
  }

  /** Has both guests do the same; gives what they said, which has to be the same, too. */
  async both(command: string): Promise<string> {
    const [one, other] = await Promise.all([this.first.shell.get(command, 120), this.second.shell.get(command, 120)]);
    if (one !== other) throw new Error(`${command}: one guest says ${show(one)}, the other ${show(other)}`);
    return one;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.first[Symbol.asyncDispose](), this.second[Symbol.asyncDispose]()]);
  }
}

const show = (text: string): string => JSON.stringify(text.slice(0, 200));

function expect(is: string, wanted: string): void {
  if (is !== wanted) throw new Error(`wanted ${show(wanted)}, got ${show(is)}`);
}

/** The kinds of work; each throws if something comes out wrong. */
const WORK: Readonly<Record<string, (pair: Pair, random: Random) => Promise<void>>> = {
  async files(pair, random) {
    const count = 500 + random.below(20_000);
    const sum = await pair.both(
      `seq 1 ${count} > /mnt/soak; sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum < /mnt/soak; rm /mnt/soak`,
    );
    const text = Array.from({ length: count }, (_, i) => `${i + 1}\n`).join("");
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    expect(sum.slice(0, 64), digest.toHex());
  },
  async programs(pair, random) {
    const count = 1000 + random.below(3000);
    expect(await pair.both(`seq 1 ${count} | sort -rn | gzip | gunzip | tail -n 1`), "1");
  },
  async processes(pair) {
    expect(await pair.both("for i in $(seq 1 40); do /bin/busybox true || echo no; done; echo done"), "done");
  },
  async arithmetic(pair, random) {
    const n = 200 + random.below(800);
    const sum = await pair.both(`i=0; s=0; while [ $i -lt ${n} ]; do i=$((i+1)); s=$((s+i*i)); done; echo $s`);
    expect(sum, String(n * (n + 1) * (2 * n + 1) / 6));
  },
  async console(pair, random) {
    const count = 100 + random.below(1500);
    expect(await pair.both(`seq 1 ${count}`), Array.from({ length: count }, (_, i) => String(i + 1)).join("\n"));
  },
  async network({ first, second }) {
    const wanted = await first.shell.get("sha256sum < /www/file");
    expect(await second.shell.get("wget -q -O - http://10.0.0.1/file | sha256sum", 120), wanted);
  },
  async pauses({ first, second }) {
    for (const { machine, shell } of [first, second]) {
      await machine.pause();
      await machine.stateHash();
      machine.resume();
      expect(await shell.get("echo here"), "here");
    }
  },
  async machines({ hypervisor }) {
    for (let n = 0; n < 5; n++) {
      const machine = await createMachine({ memory: "16M", boot: { kernel: LOOP } }, { hypervisor });
      const run = machine.run().catch(() => {});
      await new Promise((settle) => setTimeout(settle, 5));
      await machine.reset();
      await machine[Symbol.asyncDispose]();
      await run;
    }
  },
  async hostility(_pair, random) {
    const use = random.pick(["virtio_blk", "virtio_net", "virtio_console", "serial_16550", "plic"]);
    const { failure } = await fuzz(await loadSubject({ use }), { seed: random.below(2 ** 31), cases: 2 });
    if (failure) throw new Error(`denovisor fuzz ${use} --seed ${failure.seed} --cases 1: ${failure.sentence}`);
  },
};
