// Runs an image of cases on a machine until it powers off, and gives its records: denovisor's board, or QEMU's.

import { createMachine, defineDevice, defineEngine, type Dma, object } from "../../mod.ts";
import type { Engine } from "../../core/plugin.ts";
import riscv from "../../plugins/riscv/engine.ts";
import type { RiscvHart } from "../../plugins/riscv/hart.ts";
import { AT, RAM_BYTES } from "./runtime.ts";
import { describe, type Image, type Placed, recordOf } from "./case.ts";

/** A machine makes an image's cases in a second or two, if nobody disturbs it. */
const LIMIT_SECONDS = 30;

/** An image's records: RAM from `AT.records` on. */
export type Records = Uint8Array<ArrayBuffer>;
/** Runs images. */
export type Peer = (image: Image) => Promise<Records>;

/**
 * How our engine executes cases, and in how many passes, of which the last one counts: what was interpreted in one is
 * compiled for the next one, quickly, and what ran then is optimized for the one after that.
 */
export const WAYS = {
  interpreted: { config: { compiler: false }, passes: 1 },
  compiled: { config: { threshold: 1, optimize: 2 ** 30 }, passes: 2 },
  optimized: { config: { threshold: 1, optimize: 1 }, passes: 3 },
} as const;
export type Way = keyof typeof WAYS;

/** Steps, and those of them that compiled code made. */
export class Steps {
  constructor(public all = 0, public compiled = 0) {}

  add({ all, compiled }: Steps): void {
    this.all += all;
    this.compiled += compiled;
  }
  less({ all, compiled }: Steps): Steps {
    return new Steps(this.all - all, this.compiled - compiled);
  }
}

/** The steps that a hart has made. */
export function stepsOf({ steps, compiled }: RiscvHart): Steps {
  return new Steps(steps, compiled.steps);
}

/** A machine did not come to the end of an image in time. */
export class Unfinished extends Error {
  /** The case that it did not end, or that ended the machine. */
  readonly placed?: Placed;

  constructor(machine: string, image: Image, records: Records, why = "in time") {
    const placed = image.cases.find((each) => recordOf(each, records)[0] === 0n);
    const what = placed ? `this case:\n${describe(placed)}` : `${image.cases.length} cases, though to that of each`;
    super(`${machine} does not come to the end, ${why}, of ${what}`);
    this.placed = placed;
  }
}

/** The engine, and a count of the steps that cases' code makes: from an MRET up to an instruction that traps. */
function countingEngine() {
  const steps = new Steps();
  const test_engine = defineEngine({
    ...riscv,
    name: "test_engine",
    open(context) {
      const engine = riscv.open(context) as Engine;
      const hart = engine.harts[0] as RiscvHart;
      const { returnFromM, trap } = hart;
      let from: Steps | undefined;
      hart.returnFromM = () => {
        returnFromM.call(hart);
        from = stepsOf(hart);
      };
      hart.trap = (cause, value) => {
        // Not the step that traps; a fetch that does is no step yet.
        if (from && hart.steps > from.all) steps.add(stepsOf(hart).less(from).less(new Steps(1)));
        from = undefined;
        trap.call(hart, cause, value);
      };
      return engine;
    },
  });
  return { steps, test_engine };
}

/** Runs an image on denovisor; `made` is told of the steps of cases' code after the first pass. */
export async function runHere(image: Image, way: Way, seconds = LIMIT_SECONDS, made?: Steps): Promise<Records> {
  const { config, passes } = WAYS[way];
  const { steps, test_engine } = countingEngine();
  let memory: Dma | undefined;
  const test_tap = defineDevice({
    name: "test_tap",
    needs: ["dma"],
    config: object({}),
    stateVersion: 1,
    create({ dma }) {
      memory = dma;
      return { state: {}, regions: [] };
    },
  });
  await using machine = await createMachine({
    memory: `${RAM_BYTES / 2 ** 20}M`,
    engine: { use: "test_engine", config: { mmu: "sv57", ...config } },
    boot: { bios: image.bytes(passes) },
    devices: [{ use: "serial_16550" }, { use: "test_tap" }],
  }, { plugins: { test_tap, test_engine }, base: import.meta.url });
  const late = setTimeout(() => machine.powerOff(1), seconds * 1000);
  let why: string | undefined;
  try {
    const { code } = await machine.run();
    if (code !== 0) why = "in time";
  } catch (error) {
    why = `for “${error instanceof Error ? error.message : error}”`;
  }
  clearTimeout(late);
  const records = new Uint8Array(image.end - AT.records);
  memory!.read(AT.records, records);
  // Each pass makes as many, and what the first one made was not compiled yet.
  made?.add(new Steps(steps.all * (passes - 1) / passes, steps.compiled));
  if (why) throw new Unfinished("denovisor", image, records, why);
  return records;
}

/** Runs images on QEMU's board, with a processor of these properties. */
export function qemuPeer(cpu: string, seconds = LIMIT_SECONDS): Peer {
  return async (image) => {
    const folder = await Deno.makeTempDir({ prefix: "denovisor_differential_" });
    try {
      await Deno.writeFile(`${folder}/image`, image.bytes(1));
      const late = AbortSignal.timeout(seconds * 1000);
      const ram = `memory-backend-file,id=ram,size=${RAM_BYTES},mem-path=${folder}/ram,share=on`;
      const { success, signal, stderr } = await new Deno.Command("qemu-system-riscv64", {
        args: [
          ...["-M", "virt,memory-backend=ram", "-object", ram, "-m", `${RAM_BYTES / 2 ** 20}M`, "-cpu", cpu],
          ...["-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot", "-bios", `${folder}/image`],
        ],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
        signal: late,
      }).output();
      if (!success && !signal && !late.aborted) throw new Error(`QEMU: ${new TextDecoder().decode(stderr)}`);
      const records = new Uint8Array(image.end - AT.records);
      using file = await Deno.open(`${folder}/ram`);
      await file.seek(AT.records - AT.ram, Deno.SeekMode.Start);
      for (let at = 0; at < records.length;) at += (await file.read(records.subarray(at)))!;
      if (late.aborted) throw new Unfinished("QEMU", image, records);
      if (!success) throw new Unfinished("QEMU", image, records, `for ${signal}`);
      return records;
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
}
