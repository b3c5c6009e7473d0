// KVM in software: a Debian kernel under QEMU's emulation of AMD's SVM, with this host's files, in which /dev/kvm works.
// `deno task kvm:nested [command…]` runs a command there; without one, the kvm tests.

import { createHash } from "node:crypto";
import { fromFileUrl, join } from "@std/path";
import { cpio, type CpioEntry } from "../../cli/images/cpio.ts";
import { exists, kvmCache, need, output, packageBehind, run, unpackPackage } from "./host.ts";

const QEMU = "qemu-system-x86_64";
const TOOLS = { [QEMU]: "qemu-system-x86", "dpkg-deb": "dpkg", "apt-get": "apt", xz: "xz-utils" };
/**
 * With a second processor the VM comes to a standstill now and then. Its kernel patches its own code, the scheduler's
 * with every first and last VM of KVM's, by way of INT3; and QEMU before 8.1 loses a store into code that another
 * processor's thread is just translating: then the VM runs into an INT3 for ever that is no longer there.
 */
const CPUS = 1;
/** What the VM's kernel needs: KVM, and a way to the host's files. */
const MODULES = ["kvm-amd", "virtio_pci", "9p", "9pnet_virtio"];
const ROOT = fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** Printed around a command's output by the VM's init. */
const BEGIN = "\x1eBEGIN\x1e";
const END = "\x1eEND ";

/** The VM's first program: mounts the host's files, read-only, and runs there what the command line names. */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /usr/bin /usr/sbin /sbin /proc /sys /dev /host
/bin/busybox --install -s
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro host /host
mount -t tmpfs run /host/run; mount -t proc proc /host/proc; mount -t sysfs sysfs /host/sys
mount -o bind /dev /host/dev; mkdir -p /host/dev/shm; mount -t tmpfs shm /host/dev/shm
ip link set lo up
script=$(sed 's/.*nested=\\([^ ]*\\).*/\\1/' /proc/cmdline)
printf '\\036BEGIN\\036\\n'
chroot /host /bin/sh $script 2>&1
printf '\\036END %d\\036\\n' $?
poweroff -f
`;

/** The files that the VM starts from. */
interface NestedVm {
  readonly kernel: string;
  readonly initrd: string;
}

/** The modules that a module needs, and itself behind them. */
async function* inOrder(name: string, folder: string, seen: Set<string>): AsyncGenerator<string> {
  const key = name.replaceAll("-", "_");
  if (seen.has(key)) return;
  seen.add(key);
  const pattern = `${key.replaceAll("_", "[-_]")}.ko*`;
  const path = (await output("find", folder, "-name", pattern))?.split("\n")[0];
  if (!path) return; // built in
  if (path.endsWith(".xz")) await run("xz", ["-d", path]);
  const plain = path.replace(/\.xz$/, "");
  const text = new TextDecoder("latin1").decode(await Deno.readFile(plain));
  const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? "";
  for (const needed of depends.split(",").filter(Boolean)) yield* inOrder(needed, folder, seen);
  yield plain;
}

/** Makes the VM's kernel and initramfs, once for each version of Debian's kernel. */
async function prepare(): Promise<NestedVm> {
  const name = await packageBehind("linux-image-amd64", /linux-image-[\w.+-]+-amd64/);
  const init = createHash("sha256").update(INIT).digest("hex").slice(0, 12);
  const folder = join(kvmCache(), `nested-${name}-${init}`);
  const vm = { kernel: join(folder, "vmlinuz"), initrd: join(folder, "initrd.cpio") };
  if (await exists(folder)) return vm;

  const work = await Deno.makeTempDir();
  try {
    for (const from of [name, "busybox-static"]) await unpackPackage(from, work);
    const busybox = (await output("find", work, "-path", "*bin/busybox"))!.split("\n")[0];
    const entries: CpioEntry[] = [
      { path: "init", data: new TextEncoder().encode(INIT), executable: true },
      { path: "bin" },
      { path: "bin/busybox", data: await Deno.readFile(busybox), executable: true },
      { path: "modules" },
    ];
    const seen = new Set<string>();
    for (const module of MODULES) {
      for await (const path of inOrder(module, join(work, "lib/modules"), seen)) {
        await run("strip", ["-g", path]);
        entries.push({ path: `modules/${entries.length + 10}.ko`, data: await Deno.readFile(path) });
      }
    }
    const partial = `${folder}.partial`;
    await Deno.mkdir(partial, { recursive: true });
    await Deno.copyFile(join(work, "boot", name.replace("linux-image", "vmlinuz")), join(partial, "vmlinuz"));
    await Deno.writeFile(join(partial, "initrd.cpio"), cpio(entries));
    await Deno.rename(partial, folder);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
  return vm;
}

/** How a command ended. */
export interface Ended {
  readonly code: number;
  readonly output: string;
}

/** How {@linkcode runNested} runs. */
export interface NestedOptions {
  readonly seconds: number;
  /** Gets what the command says as it says it. */
  readonly said?: (text: string) => void;
}

/** Runs a shell command inside of the VM, in the repository's folder. Rejects with what is missing, or after a time. */
export async function runNested(command: string, { seconds, said }: NestedOptions): Promise<Ended> {
  await need("run KVM in software", TOOLS);
  const { kernel, initrd } = await prepare();
  // A place that the VM sees: its /run is its own, and the only one where it can write.
  const script = await Deno.makeTempFile({ dir: kvmCache(), suffix: ".sh" });
  const path = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(":");
  const home = Deno.env.get("HOME") ?? "/root";
  const environment =
    `export HOME=${home} PATH=${path} TMPDIR=/run DENO_DIR=/run/deno NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 NESTED=1`;
  await Deno.writeTextFile(script, `${environment}\ncd ${ROOT}\n${command}\n`);
  const child = new Deno.Command(QEMU, {
    args: [
      ...["-accel", "tcg", "-machine", "q35", "-cpu", "max,+svm", "-smp", `${CPUS}`, "-m", "3G"],
      ...["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"],
      ...["-kernel", kernel, "-initrd", initrd],
      ...["-append", `console=ttyS0 quiet mitigations=off tsc=reliable panic=-1 nested=${script}`],
      ...["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
  let text = "";
  let shown: number | undefined;
  try {
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += part;
      const begin = text.indexOf(BEGIN);
      if (begin < 0) continue;
      shown ??= begin + BEGIN.length;
      const end = text.indexOf(END);
      const until = end < 0 ? text.length : end;
      if (until > shown) said?.(text.slice(shown, until).replaceAll("\r", ""));
      shown = Math.max(shown, until);
    }
    await child.status;
  } finally {
    clearTimeout(timer);
    await Deno.remove(script);
  }
  const found = text.split(BEGIN)[1]?.split(END);
  const code = Number(found?.[1]?.split("\x1e")[0] ?? NaN);
  if (Number.isNaN(code)) {
    throw new Error(
      `The nested run did not end within ${seconds} s; it said last: ${JSON.stringify(text.slice(-500))}`,
    );
  }
  return { code, output: found![0].replaceAll("\r", "") };
}

/** The command that runs tests there; `what` is files and options of `deno test`. The VM reaches no registry. */
export function testCommand(what: string): string {
  return `MAP=$(deno run -qA tests/offline_std/map.ts); deno test -A --no-check --no-npm --no-remote $MAP ${what}`;
}

if (import.meta.main) {
  const command = Deno.args.length ? Deno.args.join(" ") : testCommand("tests/kvm tests/plugins/kvm");
  const { code } = await runNested(command, {
    seconds: 900,
    said: (text) => void Deno.stdout.writeSync(new TextEncoder().encode(text)),
  });
  Deno.exit(code);
}
