// How a machine starts: what goes where in RAM, and how the harts enter (OpenSBI, docs/firmware/fw_dynamic.md).

import { encodeTree } from "../../core/device_tree.ts";
import type { Address, BootContext, BootFile, Bytes } from "../../core/plugin.ts";
import { hex } from "../boards/hex.ts";
import { load } from "../boards/program.ts";
import type { RiscvProgram } from "./elf.ts";
import { readProgram } from "./kernel.ts";
import { startSupervisor } from "./sbi.ts";
import { buildTree } from "./tree.ts";

const PAGE = 4096;
const MEBIBYTE = 2 ** 20;
/** Where a kernel without an address of its own goes when a BIOS stands at RAM's base. */
const KERNEL_OFFSET = 0x20_0000;
/** What OpenSBI's fw_dynamic reads at `a2`: six 64-bit fields. */
const FW_DYNAMIC_INFO = { magic: 0x4942534fn, version: 2n, next_mode_s: 1n, options: 0n, boot_hart: 0n } as const;
/** Room behind the device tree, where a BIOS grows it. */
const TREE_SLACK = PAGE;

/** What is to lie in RAM, with its place. */
interface Placed<T> {
  readonly at: Address;
  readonly content: T;
}

/** All that is to be done at start. */
interface Plan {
  readonly bios?: RiscvProgram;
  readonly kernel?: RiscvProgram;
  readonly initrd?: Placed<BootFile>;
  readonly tree: Placed<Bytes>;
  readonly info?: Placed<Bytes>;
}

/** A length rounded up to whole pages. */
function pages(length: number): number {
  return Math.ceil(length / PAGE) * PAGE;
}

function sizeText(bytes: number): string {
  return `${Math.ceil(bytes / MEBIBYTE)}M`;
}

function firmwareInfo(kernel: RiscvProgram | undefined): Uint8Array<ArrayBuffer> {
  const { magic, version, next_mode_s, options, boot_hart } = FW_DYNAMIC_INFO;
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  [magic, version, BigInt(kernel?.entry ?? 0), next_mode_s, options, boot_hart]
    .forEach((field, i) => view.setBigUint64(8 * i, field, true));
  return bytes;
}

/** Reads the programs and checks that they leave each other alone. */
function readPrograms({ engine, files }: BootContext): { bios?: RiscvProgram; kernel?: RiscvProgram } {
  const { ram } = engine;
  const bios = files.bios && readProgram("bios", files.bios, ram, ram.base);
  const kernel = files.kernel && readProgram("kernel", files.kernel, ram, ram.base + (bios ? KERNEL_OFFSET : 0));
  if (bios && kernel && bios.start < kernel.end && kernel.start < bios.end) {
    throw new RangeError(
      `Cannot boot: the bios, up to ${hex(bios.end)}, and the kernel, from ${hex(kernel.start)}, overlap`,
    );
  }
  return { bios, kernel };
}

/**
 * Plans the layout of RAM: programs at their places near the base; from the top down, each on its own pages, what
 * firmware is told, the initrd and the device tree, so that a program's stack and heap find the room between.
 */
function plan(context: BootContext, timebase: number): Plan {
  const { engine: { ram }, files } = context;
  const { bios, kernel } = readPrograms(context);
  const info = bios && firmwareInfo(kernel);
  const initrdSize = files.initrd?.length ?? 0;
  const top = ram.base + ram.size;
  const infoAt = top - pages(info?.length ?? 0);
  const initrdAt = infoAt - pages(initrdSize);
  // An initrd that is larger than RAM is told of below.
  const initrd = files.initrd && { at: Math.max(0, initrdAt), size: initrdSize };
  const tree = encodeTree(buildTree(context, { timebase, initrd }));
  const treeAt = initrdAt - pages(tree.length + TREE_SLACK);
  const end = Math.max(ram.base, bios?.end ?? 0, kernel?.end ?? 0);
  if (end > treeAt) {
    const needed = sizeText(end - ram.base + top - treeAt);
    throw new RangeError(
      `Cannot boot: the boot files need at least ${needed} of memory, the machine has ${sizeText(ram.size)}`,
    );
  }
  return {
    bios,
    kernel,
    info: info && { at: infoAt, content: info },
    initrd: files.initrd && { at: initrdAt, content: files.initrd },
    tree: { at: treeAt, content: tree },
  };
}

/** The device tree's blob, as {@linkcode boot} would place it. */
export function describe(context: BootContext, timebase: number): Bytes {
  return plan(context, timebase).tree.content;
}

/**
 * Loads the files and starts the harts. A kernel is entered in S-mode by hart 0 alone, over the board's SBI. A BIOS,
 * and a kernel that is a RISC-V test program (one with the symbol `tohost`), is entered in M-mode by all harts.
 *
 * @throws {RangeError} for files that are not to be booted or do not fit, with one sentence.
 */
export function boot(context: BootContext, timebase: number): void {
  const { bios, kernel, initrd, tree, info } = plan(context, timebase);
  const first = bios ?? kernel;
  if (!first) throw new TypeError("Cannot boot: wanted a kernel or a bios, got neither");
  for (const program of [bios, kernel]) if (program) load(context.write, program);
  for (const placed of [initrd, tree, info]) if (placed) context.write(placed.at, placed.content);

  const { engine } = context;
  if (first.tohost !== undefined) engine.htif?.(first.tohost, first.fromhost);
  if (!bios && first.tohost === undefined) {
    startSupervisor(engine.harts[0], 0, first.entry, BigInt(tree.at));
    return;
  }
  engine.harts.forEach((hart, id) => {
    const registers = { a0: BigInt(id), a1: BigInt(tree.at), a2: BigInt(info?.at ?? 0) };
    hart.start({ pc: BigInt(first.entry), mode: "M", registers });
  });
}
