// A Linux kernel for x86-64, built by `deno task kvm:kernel`: on the kvm engine, and under QEMU's emulation for comparison.

import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import { createHypervisor, createMachine, type MachineDescription, type Packet } from "../../mod.ts";
import { PVM_PATH } from "../../plugins/kvm/fixups.ts";
import hub_net from "../../plugins/hub_net.ts";
import { GuestShell } from "../support/linux_guest.ts";
import { hasBusybox, initramfs, READY, rootDisk } from "./guest.ts";
import { exists, output } from "./host.ts";
import { findKernel } from "./kernel.ts";
import { withoutKvm } from "./x86.ts";

const kernel = await findKernel();
const built = kernel !== undefined && await hasBusybox();
if (!built) console.log("skipped: there is no guest kernel; run deno task kvm:kernel");
const noKvm = await withoutKvm() !== undefined;
/** Whether this runs in a VM under QEMU's emulation. */
const nested = Deno.env.has("NESTED");
/** Seconds for a boot: minutes where KVM, or the host, emulates. */
const BOOT = 240;
/** QEMU's emulation of SVM lets XSETBV through: the guest's kernel then finds sizes that do not go together. */
const CONSOLE = `console=ttyS0${nested ? " noxsave" : ""}`;
/** Under kvm_pvm the guest's 64-bit programs do not run: the kernel gets as far as their start. */
const pvm = await exists(PVM_PATH);

const test = (name: string, ignore: boolean, fn: () => Promise<void>): void => Deno.test({ name, ignore, fn });

const ADDRESS = [10, 0, 2, 15];
const PEER = { mac: [2, 0, 0, 0, 0, 9], address: [10, 0, 2, 2] };

/** A question for the guest's Ethernet address (RFC 826). */
function arpRequest(): Uint8Array {
  const none = [0, 0, 0, 0, 0, 0];
  return Uint8Array.from([
    ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...PEER.mac, 8, 6],
    ...[0, 1, 8, 0, 6, 4, 0, 1, ...PEER.mac, ...PEER.address, ...none, ...ADDRESS],
    ...new Array<number>(18).fill(0),
  ]);
}

function isAnswer({ frame }: Packet): boolean {
  return frame[12] === 8 && frame[13] === 6 && frame[21] === 2 && ADDRESS.every((byte, i) => frame[28 + i] === byte);
}

async function boot(description: MachineDescription, work: (shell: GuestShell) => Promise<void>): Promise<void> {
  await using hypervisor = createHypervisor();
  const machine = await createMachine({ engine: "kvm", memory: "128M", ...description }, {
    hypervisor,
  });
  const run = machine.run();
  run.catch(() => {});
  const shell = new GuestShell(machine.console);
  try {
    await work(shell);
  } finally {
    await machine[Symbol.asyncDispose]();
    await shell.ended;
  }
}

/** Where programs run: commands in the guest's shell. */
async function useShell(shell: GuestShell, cpus: number): Promise<void> {
  if (pvm) return void console.log("  not beyond init: kvm_pvm runs no 64-bit programs");
  await shell.until(`${READY}: ${cpus} CPUs`, BOOT);
  shell.type("echo sum=$((6*7))\n");
  await shell.until("sum=42", BOOT);
}

test(
  "kvm: Linux mounts its root from a virtio disk, answers on a virtio network, and starts init",
  !built || noKvm,
  async () => {
    const disk = await rootDisk();
    assert(disk, "mke2fs is missing (package e2fsprogs)");
    await using hypervisor = createHypervisor();
    const peer = await hub_net.open({
      config: { hub: "lan", offloads: false },
      name: "peer",
      shared: (key, make) => hypervisor.shared(key, make),
    });
    const machine = await createMachine({
      engine: "kvm",
      memory: "128M",
      boot: {
        kernel: kernel!.vmlinux,
        append: `${CONSOLE} root=/dev/vda rw ip=${ADDRESS.join(".")}:::255.255.255.0::eth0:off`,
      },
      devices: [
        { use: "virtio_blk", backends: { block: { use: "memory_disk", config: { content: disk } } } },
        { use: "virtio_net", backends: { net: { use: "hub_net", config: { hub: "lan", offloads: false } } } },
      ],
    }, { hypervisor });
    machine.run().catch(() => {});
    const shell = new GuestShell(machine.console);
    try {
      const log = await shell.until("Run /sbin/init as init process", BOOT);
      assertStringIncludes(log, "Linux version");
      assertStringIncludes(log, "ttyS0 at I/O 0x3f8 (irq = 4");
      assertMatch(log, /virtio_blk virtio0: \[vda\] 16384 512-byte logical blocks/);
      assertMatch(log, /VFS: Mounted root \(ext4 filesystem\)/);
      assertMatch(log, /IP-Config: Complete:[^]*addr=10\.0\.2\.15/);
      peer.send({ frame: arpRequest() });
      for (let answered = false; !answered;) {
        answered = (await peer.receive(16))!.some(isAnswer);
      }
      await useShell(shell, 1);
    } finally {
      await machine[Symbol.asyncDispose]();
      await shell.ended;
      await peer.close?.();
    }
  },
);

test("kvm: Linux as a bzImage with an initrd starts init on two vCPUs", !built || noKvm, async () => {
  const initrd = await initramfs();
  const files = { kernel: kernel!.bzImage, initrd, append: CONSOLE };
  await boot({ cpus: 2, boot: files }, async (shell) => {
    const log = await shell.until("Run /init as init process", BOOT);
    assertMatch(log, /smp: Brought up 1 node, 2 CPUs/);
    await useShell(shell, 2);
  });
});

test("kvm: Linux as an ELF file starts by its 64-bit entry too", !built || noKvm, async () => {
  const board = { use: "pc_micro", config: { entry: "linux" } };
  await boot({ board, boot: { kernel: kernel!.vmlinux, append: CONSOLE } }, async (shell) => {
    await shell.until("VFS: Cannot open root device", BOOT);
  });
});

const QEMU = "qemu-system-x86_64";
const noQemu = await output(QEMU, "--version") === undefined;
if (noQemu) console.log(`skipped: ${QEMU} is not installed (package qemu-system-x86)`);

test("the same kernel and initrd reach a shell under QEMU's emulation", !built || noQemu || nested, async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeFile(`${folder}/initrd`, await initramfs());
  const child = new Deno.Command(QEMU, {
    args: [
      ...["-accel", "tcg", "-cpu", "max", "-m", "128M", "-nodefaults", "-display", "none", "-serial", "stdio"],
      ...["-no-reboot", "-kernel", kernel!.bzImage, "-initrd", `${folder}/initrd`, "-append", "console=ttyS0"],
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const shell = new GuestShell({ readable: child.stdout, writable: child.stdin });
  try {
    const log = await shell.until(`${READY}: 1 CPUs`, BOOT);
    assertStringIncludes(log, "Run /init as init process");
    shell.type("echo sum=$((6*7))\n");
    await shell.until("sum=42", BOOT);
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await shell.ended;
    await Deno.remove(folder, { recursive: true });
  }
});
