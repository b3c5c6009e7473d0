// How the PC board starts: what goes where in RAM, and how the first CPU enters.

import type { Address, BootContext, Bytes, PlacedDevice } from "../../core/plugin.ts";
import { hex } from "../boards/hex.ts";
import { load } from "../boards/program.ts";
import type { PcMicroConfig } from "./board.ts";
import { seedNode, startInfo, type Told, zeroPage } from "./boot_params.ts";
import { LOW } from "./memory_map.ts";
import { mpTable } from "./mp_table.ts";
import { type PcProgram, readProgram } from "./program.ts";
import { gdt, GDT_LIMIT, pageTables } from "./tables.ts";

const PAGE = 4096;
const MEBIBYTE = 2 ** 20;
/** virtio 1.2 section 4.2.2: the register by which drivers notify, and the queue numbers that get there by themselves. */
const QUEUE_NOTIFY = 0x50;
const QUEUES: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7];
/** Linux restarts itself by a triple fault: there is no keyboard controller to ask. */
const WORDS = "reboot=t";

const isVirtio = ({ plugin }: PlacedDevice): boolean => plugin.startsWith("virtio_");

/** The kernel's command line: the board's words, the caller's, and the virtio devices, which nothing else announces. */
export function commandLine({ engine, devices, files: { append } }: BootContext): string {
  const own = typeof engine.description.append === "string" ? [engine.description.append] : [];
  const announced = devices.filter(isVirtio).map(({ addresses, irq }) =>
    `virtio_mmio.device=4K@${hex(addresses[0])}:${irq}`
  );
  return [WORDS, ...own, ...append ? [append] : [], ...announced].join(" ");
}

function textBytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length + 1);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0 || code > 0x7e) {
      throw new RangeError(`Cannot boot: the command line holds ${JSON.stringify(text[i])}, wanted ASCII`);
    }
    bytes[i] = code;
  }
  if (bytes.length > LOW.COMMAND_LINE_SIZE) {
    throw new RangeError(
      `Cannot boot: the command line has ${text.length} characters, wanted at most ${LOW.COMMAND_LINE_SIZE - 1}`,
    );
  }
  return bytes;
}

/** The initrd's place: at the top of RAM, on a page of its own. */
function placeInitrd({ engine: { ram }, files }: BootContext, program: PcProgram): Address | undefined {
  const size = files.initrd?.length ?? 0;
  const at = ram.base + Math.floor((ram.size - size) / PAGE) * PAGE;
  if (program.end > at) {
    const needed = Math.ceil((program.end + size + PAGE) / MEBIBYTE);
    throw new RangeError(
      `Cannot boot: the boot files need at least ${needed}M of memory, the machine has ${ram.size / MEBIBYTE}M`,
    );
  }
  return files.initrd && at;
}

/** Loads the files and starts the first CPU; the others wait until it starts them. */
export function boot(context: BootContext, { flat, entry }: PcMicroConfig): void {
  const { engine, files, devices, write } = context;
  if (files.bios) throw new RangeError("Cannot boot: the board pc_micro takes no bios, only a kernel");
  if (!files.kernel) throw new TypeError("Cannot boot: wanted a kernel, got none");
  const { modes } = engine.description;
  const pvh = entry === "pvh" || entry === "auto" && Array.isArray(modes) && modes.includes("protected");
  const program = readProgram(files.kernel, { ram: engine.ram, flat, pvh });
  if (entry === "pvh" && program.protocol === "linux") {
    throw new RangeError("Cannot boot the kernel: it has no PVH entry");
  }

  const initrdAt = placeInitrd(context, program);
  const told: Told = {
    ramSize: engine.ram.size,
    initrd: initrdAt === undefined ? undefined : { at: initrdAt, size: files.initrd!.length },
    seeded: context.seed !== undefined,
  };
  load(write, program);
  if (initrdAt !== undefined) write(initrdAt, files.initrd!);
  if (program.protocol !== "real") prepare(context, program, told, commandLine(context));

  for (const { addresses } of devices.filter(isVirtio)) engine.notify?.(addresses[0] + QUEUE_NOTIFY, 4, QUEUES);
  engine.harts[0].start({ pc: BigInt(program.entry), ...entryState(program) });
}

/** Fills low memory with what the entry wants to find. */
function prepare({ engine, write, seed }: BootContext, program: PcProgram, told: Told, line: string): void {
  const parts: readonly (readonly [Address, Bytes])[] = [
    [LOW.GDT, gdt()],
    [LOW.PAGE_TABLES, pageTables()],
    [LOW.COMMAND_LINE, textBytes(line)],
    [LOW.MP_TABLE, mpTable(LOW.MP_TABLE, engine.harts.length)],
    [LOW.ZERO_PAGE, zeroPage(told, program.header)],
    [LOW.PVH_INFO, startInfo(LOW.PVH_INFO, told)],
    ...seed ? [[LOW.SETUP_DATA, seedNode(seed)] as const] : [],
  ];
  for (const [at, bytes] of parts) write(at, bytes);
}

/** The mode and the registers of an entry. */
function entryState({ protocol }: PcProgram): { mode: string; registers: Record<string, bigint> } {
  const tables = { gdt_base: BigInt(LOW.GDT), gdt_limit: BigInt(GDT_LIMIT) };
  switch (protocol) {
    case "real":
      return { mode: "real", registers: { rsp: BigInt(LOW.FLAT) } };
    case "pvh":
      return { mode: "protected", registers: { ...tables, rbx: BigInt(LOW.PVH_INFO) } };
    default:
      return {
        mode: "long",
        registers: {
          ...tables,
          cr3: BigInt(LOW.PAGE_TABLES),
          rsi: BigInt(LOW.ZERO_PAGE),
          rsp: BigInt(LOW.STACK),
        },
      };
  }
}
