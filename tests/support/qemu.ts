// qemu-system-riscv64 as a peer: its version, and the arguments of the same machine (QEMU, docs/system/riscv/virt.rst).

const QEMU = "qemu-system-riscv64";

/** A machine as both hypervisors can have it. */
export interface Setup {
  /** As both read it, e.g. `"512M"`. */
  readonly memory: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly bios?: string;
  /** A raw file. */
  readonly disk?: string;
  /** The address of its network card, if it has one. */
  readonly mac?: string;
  /** Without our compiler; not for QEMU. */
  readonly interpreted?: boolean;
  /** A folder for what we keep from one run to the next; not for QEMU. */
  readonly cache?: string;
}

/** The first line of what a program says of its version; nothing if it is not installed. */
export async function versionOf(program: string): Promise<string | undefined> {
  try {
    const { stdout } = await new Deno.Command(program, { args: ["--version"], stderr: "null" }).output();
    return new TextDecoder().decode(stdout).split("\n")[0];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** QEMU's version, if it is installed. */
export function qemuVersion(): Promise<string | undefined> {
  return versionOf(QEMU);
}

/** The command that runs the machine with its console on standard input and output; `net` is its -netdev, if any. */
export function qemuCommand(setup: Setup, net?: string): string[] {
  const { memory, kernel, initrd, append, bios, disk, mac } = setup;
  const option = (name: string, value: string | undefined): string[] => value === undefined ? [] : [name, value];
  return [
    QEMU,
    ...["-M", "virt", "-m", memory, "-no-reboot"],
    ...["-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device"],
    ...option("-bios", bios),
    ...option("-kernel", kernel),
    ...option("-initrd", initrd),
    ...option("-append", append),
    ...(disk ? ["-drive", `file=${disk},format=raw,if=none,id=disk0`, "-device", "virtio-blk-device,drive=disk0"] : []),
    ...(net ? ["-netdev", `${net},id=net0`, "-device", `virtio-net-device,netdev=net0,mac=${mac}`] : []),
  ];
}
