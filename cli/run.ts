// `denovisor run`: boots the machines described on the command line and connects their consoles.

import { join } from "@std/path/join";
import { createHypervisor, createMachine, type DeviceDescription, keepFiles, type MachineDescription } from "../mod.ts";
import { why } from "../plugins/host/why.ts";
import { CONFIG_OPTION, describe, MACHINE_OPTIONS, type Sources } from "./describe.ts";
import { Stop } from "./errors.ts";
import { cacheFolder, findImage } from "./images/store.ts";
import { noOperands, numberOf, type Option, optionRows, parseOptions } from "./options.ts";
import { columns, type Help, helpPage } from "./text.ts";

const OPTIONS: readonly Option[] = [
  ...MACHINE_OPTIONS,
  CONFIG_OPTION,
  { name: "timeout", value: "SECONDS", text: "end the run after this time, with exit code 124" },
  { name: "cold", text: "keep no compiled code for the next run, and use none of an earlier one" },
  { name: "stats", text: "print counters of the engine and the devices at the end" },
];

const HELP: Help = {
  about: "Boot a guest and connect its console to this terminal or pipe.",
  usage: [
    "run --kernel FILE [--initrd FILE] [--append TEXT] [options]",
    "run --bios FILE [--kernel FILE] [options]",
    "run --image NAME [options]",
    "run --config FILE.json [--timeout SECONDS] [--cold] [--stats]",
  ],
  table: optionRows(OPTIONS),
  notes: [
    "Options marked … may be given several times. Paths are relative to the working directory.\n" +
    "At a terminal, Ctrl-A x quits and Ctrl-A h helps. The exit code is 0 when the guest powers off,\n" +
    "a test program's own code, 124 after the time-out, and 1 for everything that is wrong.",
    "The riscv engine's config, for example --engine 'riscv,{\"threshold\": 500}', with its defaults:\n" +
    "  compiler: true         compile hot code, or interpret all of it\n" +
    "  threshold: 3000        how often jumps reach code within a short time before it is compiled\n" +
    "  optimize: 750000       how often it is entered, and its loops turn, before it is compiled anew, for speed\n" +
    '  codeCache: "40M"       memory for decoded code\n' +
    '  compiledCode: "32M"    WebAssembly that is kept; the host needs some eight times as much for it\n' +
    '  mmu: "sv39"           or sv48, sv57: the largest scheme of address translation',
  ],
};

/** What the descriptions are completed from on this host. */
export const HOST_SOURCES: Sources = {
  async readText(path) {
    try {
      return await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw new Stop(1, `Cannot read ${path}: ${why(error)}`);
    }
  },
  async findImage(name) {
    const image = await findImage(name);
    if (!image) throw new Stop(1, `There is no image ${name}: denovisor images pull ${name} gets it`);
    return image;
  },
};

/** `denovisor run …`; gives the exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(args, OPTIONS, "run");
  if (parsed.flags.has("help")) {
    console.log(helpPage(HELP));
    return 0;
  }
  noOperands(parsed, "run");
  const timeout = parsed.one("timeout");
  return await runMachines(await describe(parsed, HOST_SOURCES), {
    seconds: timeout === undefined ? undefined : numberOf("timeout", timeout, { min: 0, whole: false }),
    stats: parsed.flags.has("stats"),
    cold: parsed.flags.has("cold"),
  });
}

/** Milliseconds; a longer timer would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** How {@linkcode runMachines} runs. */
export interface RunOptions {
  readonly seconds?: number;
  readonly stats?: boolean;
  /** Whether nothing is kept from one run to the next. */
  readonly cold?: boolean;
}

/** Runs machines side by side until all are off; gives the exit code of the first that did not end well. */
export async function runMachines(
  machines: readonly MachineDescription[],
  { seconds, stats = false, cold = false }: RunOptions = {},
): Promise<number> {
  const stop = new AbortController();
  using _signals = onSignals((stopped) => stop.abort(stopped));
  const timer = seconds === undefined ? undefined : setTimeout(
    () => stop.abort(new Stop(124, `Stopped after ${seconds} s`)),
    Math.min(seconds * 1000, LONGEST_TIMER),
  );
  const alone = machines.length === 1;
  const cache = cold ? undefined : cacheFolder();
  await using hypervisor = createHypervisor({ keep: cache ? keepFiles(join(cache, "compiled")) : undefined });
  try {
    const codes = await Promise.all(machines.map(async (given, i) => {
      const name = given.name ?? `machine${i}`;
      const prefix = alone ? "" : `[${name}] `;
      const machine = await createMachine(alone ? onTerminal(given) : { ...given, name }, {
        hypervisor,
        signal: stop.signal,
        log: (line) => console.error(prefix + line),
      });
      const started = performance.now();
      const printed = Object.values(machine.streams).map(({ readable }) => printLines(readable, prefix));
      try {
        return (await machine.run()).code;
      } finally {
        if (stats) console.error(statistics(machine.stats(), (performance.now() - started) / 1000));
        await machine[Symbol.asyncDispose]();
        await Promise.all(printed);
      }
    }));
    const code = codes.find((code) => code !== 0) ?? 0;
    // A process has eight bits for its code; none of them may turn a failure into a success.
    return code === 0 ? 0 : (code & 255) || 1;
  } catch (error) {
    const reason = stop.signal.aborted ? stop.signal.reason : error;
    stop.abort(reason);
    throw reason;
  } finally {
    clearTimeout(timer);
  }
}

/** A machine's counters, and how many million instructions it executed a second. */
function statistics(counters: Record<string, number>, seconds: number): string {
  const mips = Math.round(counters.instructions / seconds / 1e5) / 10;
  return columns(Object.entries({ ...counters, seconds, mips }).map(([name, count]) => [name, String(count)]));
}

/** The machine with its first console, if it leads nowhere else, at the terminal. */
function onTerminal(machine: MachineDescription): MachineDescription {
  const devices = [...machine.devices ?? []];
  const isConsole = ({ use }: DeviceDescription) => use === "serial_16550" || use === "virtio_console";
  if (!devices.some(isConsole)) devices.push({ use: "serial_16550" });
  const first = devices.findIndex(isConsole);
  if (!devices[first].backends?.stream) {
    devices[first] = {
      ...devices[first],
      backends: { ...devices[first].backends, stream: { use: "stdio_console" } },
    };
  }
  return { ...machine, devices };
}

/** Prints a console's text a line at a time, each with the machine's name, so that several can share a terminal. */
async function printLines(readable: ReadableStream<Uint8Array>, prefix: string): Promise<void> {
  let rest = "";
  for await (const text of readable.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const lines = (rest + text).split(/\r*\n/);
    rest = lines.pop()!;
    for (const line of lines) console.log(prefix + line);
  }
  if (rest) console.log(prefix + rest);
}

/** Calls back when the process is asked to end, so that machines and the terminal are left in order. */
function onSignals(stop: (why: Stop) => void): Disposable {
  const codes: Partial<Record<Deno.Signal, number>> = Deno.build.os === "windows"
    ? { SIGINT: 130 }
    : { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
  const listeners = Object.entries(codes).map(([signal, code]) =>
    [signal as Deno.Signal, () => stop(new Stop(code))] as const
  );
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]() {
      for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}
