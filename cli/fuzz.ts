// `denovisor fuzz`: hostile guests and failing hosts against one device, or requests of every kind to one back end, from a seed on.

import type { PluginUse } from "../mod.ts";
import { plugin } from "./describe.ts";
import { Stop } from "./errors.ts";
import type { Failure, Report } from "./fuzz/fuzz.ts";
import type { Answer, Order } from "./fuzz/worker.ts";
import { numberOf, type Option, optionRows, type Parsed, parseOptions, UsageError } from "./options.ts";
import { type Help, helpPage } from "./text.ts";

const OPTIONS: readonly Option[] = [
  { name: "seconds", value: "N", text: "how long; default 10" },
  { name: "seed", value: "S", text: "the first case; default: one that no other run had" },
  { name: "cases", value: "N", text: "how many cases, instead of a time" },
  { name: "steps", value: "N,N…", text: "only these steps of each case, as a failure names them" },
  { name: "backend", value: "SERVICE=SPECIFIER[,JSON]", many: true, text: "instead of the fuzzer's own back end" },
  { name: "patience", value: "SECONDS", text: "a step that takes longer hangs; default 10" },
];

const HELP: Help = {
  about:
    "Look for what a hostile guest and a failing host could do to a device, and for requests that a back end fails at.",
  usage: [
    "fuzz SPECIFIER[,JSON] [options]",
    "fuzz virtio_blk --seconds 60",
    "fuzz ./my_device.ts --seed 7 --cases 1",
    `fuzz './my_disk.ts,{"size":65536}'`,
  ],
  table: optionRows(OPTIONS),
  notes: [
    "The device stands in a machine of its own. Its guest makes register accesses of every kind, and drives it as a\n" +
    "virtio driver if it is a virtio device; its back ends fail, are slow, and flood it; the machine is paused and\n" +
    "reset. Nothing may be thrown, no byte written that the driver did not lend, no access may work without a bound,\n" +
    "and after a reset the device must be as new. The same seed makes the same case. Exit code 1: a case failed.",
    "A back end is called directly in one case, with requests at and beyond the edges of what it offers, many at a time,\n" +
    "and closed in the middle of them; in the next case the device that is made for it drives it. It must answer each\n" +
    "request as its contract says, move the bytes asked for and no others, and come to an end. What it writes to is\n" +
    "written to: give it a file that nobody needs.",
  ],
};

/** Lines of a failing case's end that are printed. */
const TRACED = 30;

/** `denovisor fuzz …`; gives the exit code. */
export async function fuzzCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(args, OPTIONS, "fuzz");
  if (parsed.flags.has("help")) {
    console.log(helpPage(HELP));
    return 0;
  }
  if (parsed.operands.length !== 1) {
    throw new UsageError(
      `denovisor fuzz takes one device or back end, got ${parsed.operands.length}: see denovisor fuzz --help`,
    );
  }
  const [text] = parsed.operands;
  const whole = (name: string): number | undefined => {
    const given = parsed.one(name);
    return given === undefined ? undefined : numberOf(name, given, { min: 0, whole: true });
  };
  const seed = whole("seed") ?? crypto.getRandomValues(new Uint16Array(1))[0] * 10_000;
  const cases = whole("cases");
  const steps = parsed.one("steps")?.split(",").map((step) => numberOf("steps", step, { min: 0, whole: true }));
  const seconds = numberOf("seconds", parsed.one("seconds") ?? "10", { min: 0, whole: false });
  const pulse = new SharedArrayBuffer(12);
  const order: Order = {
    use: plugin("fuzz", text),
    backends: backends(parsed),
    options: { seed, cases, steps, milliseconds: cases === undefined ? seconds * 1000 : undefined },
    pulse,
  };
  const patience = numberOf("patience", parsed.one("patience") ?? "10", { min: 1, whole: true });
  const answer = await inWorker(order, patience);
  if ("refused" in answer) throw new Stop(1, answer.refused);
  return tell(text, answer.report, seed);
}

function backends(parsed: Parsed): Record<string, PluginUse> {
  return Object.fromEntries(
    parsed.all("backend").map((text) => {
      const [, service, use] = /^(\w+)=(.+)$/.exec(text) ?? [];
      if (!service) throw new UsageError(`--backend wants SERVICE=SPECIFIER, got ${JSON.stringify(text)}`);
      return [service, plugin("--backend", use)];
    }),
  );
}

/** Has a worker do it, and watches that it gets on. */
async function inWorker(order: Order, patience: number): Promise<Answer> {
  const worker = new Worker(new URL("./fuzz/worker.ts", import.meta.url).href, { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(`the fuzzer failed: ${event.message}`));
  };
  const pulse = new Int32Array(order.pulse);
  let begun = -1;
  let still = 0;
  const timer = setInterval(() => {
    const now = Atomics.load(pulse, 0);
    still = now === begun ? still + 1 : 0;
    begun = now;
    // Before the first step modules are loaded, which may take its time.
    if (now === 0 || still < patience) return;
    const sentence = `a step hangs: it took more than ${patience} seconds`;
    const failure = { sentence, seed: pulse[1], steps: pulse[2] < 0 ? [] : [pulse[2]], trace: [] };
    const most = { operations: 0, bytes: 0, milliseconds: patience * 1000, state: 0 };
    resolve({ report: { cases: pulse[1] - order.options.seed + 1, steps: begun, most, failure } });
  }, 1000);
  try {
    worker.postMessage(order);
    return await promise;
  } finally {
    clearInterval(timer);
    worker.terminate();
  }
}

function tell(subject: string, { cases, steps, most, failure }: Report, seed: number): number {
  if (failure) return tellFailure(subject, failure);
  console.log(
    `${subject}: ${cases} cases of ${Math.round(steps / cases)} steps from seed ${seed} on, all well; at most ` +
      `${most.operations} operations, ${most.bytes} bytes and ${most.milliseconds.toFixed(1)} ms at a time, ` +
      `${most.state} bytes of state`,
  );
  return 0;
}

function tellFailure(subject: string, { sentence, seed, steps, trace }: Failure): number {
  console.log(`${subject}: case ${seed} fails: ${sentence}`);
  const hidden = trace.length - TRACED;
  if (hidden > 0) console.log(`  … ${hidden} lines before`);
  for (const line of trace.slice(-TRACED)) console.log(`  ${line}`);
  const some = steps.length > 0 ? ` --steps ${steps.join(",")}` : "";
  console.log(`again: denovisor fuzz '${subject}' --seed ${seed} --cases 1${some}`);
  return 1;
}
