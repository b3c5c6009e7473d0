// The fuzzer of devices and back ends: a seed is a case, a case is a list of steps, and a case that fails is cut down to the steps it needs.

import type { Width } from "../../mod.ts";
import { BackendBench } from "./backend_bench.ts";
import { Bench, type BenchOptions, type DeviceSubject, RAM_BASE, RAM_SIZE } from "./bench.ts";
import { HostileDriver } from "./hostile_driver.ts";
import { probe } from "./probe.ts";
import { Random } from "./random.ts";
import type { BackendSubject, Subject } from "./subject.ts";
import { Finding, type Most } from "./watch.ts";

/** Steps of a case. */
const STEPS = 120;
/** Attempts at cutting a case down. */
const CUTS = 60;

/** How long something is fuzzed, and from where on. */
export interface FuzzOptions {
  /** The first case; the others follow. */
  readonly seed: number;
  /** How many cases; without it, as many as there is time for. */
  readonly cases?: number;
  /** Milliseconds. */
  readonly milliseconds?: number;
  /** Only these steps of each case. */
  readonly steps?: readonly number[];
  /** Attempts at cutting a failing case down. */
  readonly cuts?: number;
  /** Seconds that a back end may take for an answer. */
  readonly patience?: number;
  /** Told before each step: whoever watches from outside then knows where it hangs. */
  readonly progress?: (seed: number, step: number) => void;
}

/** How it came through. */
export interface Report {
  /** Cases that ran. */
  readonly cases: number;
  readonly steps: number;
  readonly most: Most;
  readonly failure?: Failure;
}

/** A case that fails. */
export interface Failure {
  /** What went wrong. */
  readonly sentence: string;
  readonly seed: number;
  /** The steps that it takes. */
  readonly steps: readonly number[];
  /** What was done, the last at the end. */
  readonly trace: readonly string[];
}

/** Fuzzes a plugin until a case fails or the time is up. Throws what building a machine with it throws. */
export async function fuzz(subject: Subject, options: FuzzOptions): Promise<Report> {
  const end = options.milliseconds === undefined ? Infinity : performance.now() + options.milliseconds;
  const all = options.steps ?? Array.from({ length: STEPS }, (_, i) => i);
  const most: Most = { operations: 0, bytes: 0, milliseconds: 0, state: 0 };
  const { progress, patience } = options;
  let cases = 0;
  let steps = 0;
  for (; cases < (options.cases ?? Infinity) && (cases === 0 || performance.now() < end); cases++) {
    const seed = options.seed + cases;
    const found = await attempt(subject, seed, all, { most, progress, patience });
    steps += all.length;
    if (!found) continue;
    // A host that was busy with something else is no fault of the device's.
    if (found.slow && !(await attempt(subject, seed, all, { progress, patience }))?.slow) continue;
    const needed = found.slow ? all : await cutDown(subject, seed, all, found, options);
    const trace: string[] = [];
    const last = await attempt(subject, seed, needed, { trace, progress, patience }) ?? found;
    return { cases: cases + 1, steps, most, failure: { sentence: last.message, seed, steps: needed, trace } };
  }
  return { cases, steps, most };
}

interface AttemptOptions {
  readonly patience?: number;
  readonly most?: Most;
  readonly trace?: string[];
  readonly progress?: FuzzOptions["progress"];
}

/** Runs the given steps of a case: with a device, or with a back end, called directly or behind a device. */
async function attempt(
  subject: Subject,
  seed: number,
  steps: readonly number[],
  options: AttemptOptions = {},
): Promise<Finding | undefined> {
  if (!("behind" in subject)) return await attemptDevice(subject, seed, steps, options);
  if (seed % 2 === 0 || subject.behind.length === 0) return await attemptBackend(subject, seed, steps, options);
  return await attemptDevice(subject.behind[Math.floor(seed / 2) % subject.behind.length], seed, steps, options);
}

async function attemptBackend(
  subject: BackendSubject,
  seed: number,
  steps: readonly number[],
  { trace, progress, patience }: AttemptOptions,
): Promise<Finding | undefined> {
  progress?.(seed, -1);
  const bench = await BackendBench.open(subject, (line) => void trace?.push(line), patience);
  return await watched(bench, async () => {
    for (const step of steps) {
      progress?.(seed, step);
      await bench.step(new Random(seed, step + 1));
    }
  }) ?? bench.finding;
}

async function attemptDevice(
  subject: DeviceSubject,
  seed: number,
  steps: readonly number[],
  { most, trace, progress }: AttemptOptions,
): Promise<Finding | undefined> {
  const random = new Random(seed);
  const options: BenchOptions = {
    seed,
    clock: random.oneIn(4) ? "instructions" : "host",
    sharedMemory: random.oneIn(4),
    trace,
  };
  const quiet = random.oneIn(3);
  progress?.(seed, -1);
  const bench = await Bench.open(subject, options);
  const finding = await watched(bench, async () => {
    const driver = bench.virtio ? new HostileDriver(bench) : undefined;
    const pending: (() => void)[] = [];
    const flush = async (): Promise<void> => {
      if (pending.length > 0) await bench.run(...pending.splice(0));
    };
    for (const step of steps) {
      const random = new Random(seed, step + 1);
      if (!random.oneIn(6)) {
        pending.push(() => {
          progress?.(seed, step);
          inside(bench, driver, random, quiet);
        });
        continue;
      }
      await flush();
      progress?.(seed, step);
      await outside(bench, random, quiet);
    }
    await flush();
    bench.check();
    await usableAgain(subject, bench);
  });
  if (most) {
    for (const key of Object.keys(most) as (keyof Most)[]) most[key] = Math.max(most[key], bench.watch.most[key]);
  }
  return finding ?? bench.watch.finding;
}

/** Does something on a bench and closes that, with an eye on promises that nobody looks at. */
async function watched(
  bench: { found(sentence: string): void; close(): Promise<void> },
  act: () => Promise<void>,
): Promise<Finding | undefined> {
  let finding: Finding | undefined;
  const onRefused = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    bench.found(`it looks at no promise that is refused: ${event.reason?.message ?? event.reason}`);
  };
  globalThis.addEventListener("unhandledrejection", onRefused);
  try {
    await act();
  } catch (error) {
    finding = asFinding(error);
  }
  try {
    await bench.close();
  } catch (error) {
    finding ??= asFinding(error);
  } finally {
    globalThis.removeEventListener("unhandledrejection", onRefused);
  }
  return finding;
}

function asFinding(error: unknown): Finding {
  if (error instanceof Finding) return error;
  throw error;
}

/** Leaves out what the failure does not need: halves, quarters, … single steps. */
async function cutDown(
  subject: Subject,
  seed: number,
  steps: readonly number[],
  { message }: Finding,
  { cuts: left = CUTS, progress, patience }: FuzzOptions,
): Promise<readonly number[]> {
  const alike = (text: string): string => text.replaceAll(/(0x[\da-f]+|\d+)/g, "#");
  for (let size = Math.ceil(steps.length / 2); size >= 1 && left > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < steps.length && left > 0;) {
      const fewer = [...steps.slice(0, at), ...steps.slice(at + size)];
      left--;
      const found = await attempt(subject, seed, fewer, { progress, patience });
      if (found && alike(found.message) === alike(message)) steps = fewer;
      else at += size;
    }
  }
  return steps;
}

// ---------------------------------------------------------------- steps

/** What happens while the machine runs. */
function inside(bench: Bench, driver: HostileDriver | undefined, random: Random, quiet: boolean): void {
  if (!quiet && random.oneIn(4)) return bench.note(bench.backends.stir(random));
  if (driver && !random.oneIn(6)) return driver.act(random);
  if (random.oneIn(8)) return bench.pull(random.below(3), random.oneIn(2));
  if (bench.regions.length === 0) return;
  for (let times = random.pick([1, 4, 16]); times > 0; times--) molest(bench, random);
}

/** What the person at the machine does, or time. */
async function outside(bench: Bench, random: Random, quiet: boolean): Promise<void> {
  switch (random.below(6)) {
    case 0:
      return await bench.pause();
    case 1:
      if (!random.oneIn(3)) return await bench.advance(random.pick([1, 1000, 1_000_000, 1_000_000_000, 1e12]));
      return await bench.reset();
    default:
      if (!quiet) bench.backends.settle();
      return await bench.advance(random.pick([1000, 50_000, 1_000_000]));
  }
}

const EXTREMES = [
  0,
  1,
  2,
  3,
  4,
  7,
  8,
  0x7f,
  0x80,
  0xff,
  0x7fff,
  0xffff,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_fffe,
  0xffff_ffff,
];
/** What registers that hold addresses and lengths may be meant for. */
const PLACES = [RAM_BASE, RAM_BASE + 0x1000, RAM_BASE + RAM_SIZE - 4, RAM_BASE + RAM_SIZE, 0x1000, 512, 64];

/** An access of any kind, anywhere in the device's windows and right beside them. */
function molest(bench: Bench, random: Random): void {
  const region = random.below(bench.regions.length);
  const { name, size, widths } = bench.regions[region];
  const width = random.oneIn(6) ? random.pick([1, 2, 4] as const) : random.pick(widths);
  let offset = random.below(random.oneIn(4) ? size : Math.min(size, 0x100));
  if (!random.oneIn(16)) offset -= offset % width;
  if (random.oneIn(64)) offset = random.pick([size - width, size, size + 0x800]);
  const good = offset < size && offset % width === 0 && widths.includes(width as Width);
  let answered: boolean;
  if (random.oneIn(2)) {
    answered = bench.read(region, offset, width) >= 0;
  } else {
    const value = random.pick([
      random.below(2 ** 32),
      random.pick(EXTREMES),
      random.pick(EXTREMES),
      random.pick(PLACES),
    ]);
    answered = bench.write(region, offset, value, width);
  }
  if (answered !== good) {
    bench.watch.found(
      `an access of ${width} bytes at ${name}+0x${offset.toString(16)} ${answered ? "is taken" : "faults"}`,
    );
  }
}

// ---------------------------------------------------------------- afterwards

/** After all that, and a reset, the device is as good as new. */
async function usableAgain(subject: DeviceSubject, bench: Bench): Promise<void> {
  await renew(bench);
  if (bench.virtio) {
    const complaint = await probed(bench);
    if (complaint) throw new Finding(`after a reset ${complaint}`);
    await renew(bench);
  }
  // A back end of somebody else may not be there twice.
  const alone = Object.keys(subject.backends ?? {}).length === 0;
  if (alone && bench.options.clock === "host") await compareWithNew(subject, bench);
}

/** Resets a machine whose host is well. */
async function renew(bench: Bench): Promise<void> {
  bench.heal();
  await bench.reset();
  bench.check();
}

/** What an ordinary driver has to complain of. */
async function probed(bench: Bench): Promise<string | undefined> {
  const steps = probe(bench);
  for (let step: IteratorResult<void, string | undefined>;;) {
    await bench.run(() => step = steps.next());
    await bench.advance(1_000_000);
    await bench.answered();
    if (step!.done) return step!.value;
  }
}

/** A new machine at the same time does the same, as far as two new ones do. */
async function compareWithNew(subject: DeviceSubject, bench: Bench): Promise<void> {
  const { seed } = bench.options;
  const [first, second] = [await renewed(subject, bench), await renewed(subject, bench)];
  const got = await tell(bench, seed);
  const wanted = first.story;
  if (wanted.some((line, i) => line !== second.story[i])) return;
  const at = wanted.findIndex((line, i) => line !== got[i]);
  if (at < 0) return;
  throw new Finding(`after a reset it is not as it was new: wanted ${wanted[at]}, got ${got[at]}`);
}

async function renewed(subject: DeviceSubject, { options, time, host }: Bench): Promise<{ story: readonly string[] }> {
  const bench = await Bench.open(subject, { ...options, trace: undefined });
  try {
    bench.host.time += time - bench.time;
    bench.host.epoch += Math.floor(host.time / 1000) - Math.floor(bench.host.time / 1000);
    return { story: await tell(bench, options.seed) };
  } finally {
    await bench.close();
  }
}

/** What a guest sees that looks at a device and does a few ordinary things. */
async function tell(bench: Bench, seed: number): Promise<readonly string[]> {
  const story: string[] = [];
  const random = new Random(seed, 0x7e11);
  const look = (): void => {
    for (const [index, { name, size, widths }] of bench.regions.entries()) {
      const width = widths[widths.length - 1];
      for (let offset = 0; offset < Math.min(size, 0x100); offset += width) {
        story.push(`${name}+0x${offset.toString(16)} as ${bench.read(index, offset, width)}`);
      }
    }
    story.push(`interrupts ${bench.lines}`);
  };
  const touch = (): void => {
    for (const [index, { size, widths }] of bench.regions.entries()) {
      const width = random.pick(widths);
      const offset = random.below(Math.min(size, 0x100) / width) * width;
      bench.write(index, offset, random.pick(EXTREMES), width);
    }
  };
  /** Something to each register, from the first one on. */
  const sweep = (): void => {
    for (const [index, { size, widths }] of bench.regions.entries()) {
      const width = random.pick(widths);
      for (let offset = 0; offset < Math.min(size, 0x100); offset += width) {
        bench.write(index, offset, random.pick(EXTREMES), width);
      }
    }
  };
  bench.backends.outputs.length = 0;
  await bench.run(look, touch, touch, look, sweep);
  bench.backends.type(Uint8Array.of(0x21));
  bench.backends.arrive(new Uint8Array(60));
  await bench.advance(1_000_000);
  await bench.run(look);
  story.push(`the host got ${bench.backends.outputs.map((bytes) => `[${bytes}]`).join(" ")}`);
  return story;
}
