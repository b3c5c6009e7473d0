// `deno task fuzz [--seconds N] [--seed S]`: differential testing against QEMU, with fresh seeds for as long as it is let.

import { findQemuCpu } from "./qemu_cpu.ts";
import { runSession } from "./session.ts";

const USAGE = "Usage: deno task fuzz [--seconds N] [--seed S]";

/** The options' values; ends the process with the usage for anything else. */
function parse(args: readonly string[]): { seconds: number; seed: number } {
  const options = { seconds: 3600, seed: crypto.getRandomValues(new Uint32Array(1))[0] >>> 2 };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].replace(/^--/, "");
    const value = Number(args[i + 1]);
    if (!Object.hasOwn(options, name) || !args[i].startsWith("--") || !Number.isSafeInteger(value) || value < 0) {
      console.error(`Cannot start: wanted options with whole numbers, got ${args.slice(i, i + 2).join(" ")}\n${USAGE}`);
      Deno.exit(2);
    }
    options[name as keyof typeof options] = value;
  }
  return options;
}

const { seconds, seed } = parse(Deno.args);
const qemu = await findQemuCpu();
if (!qemu) {
  console.error("Cannot compare: wanted qemu-system-riscv64 and qemu-riscv64 (Debian: qemu-system-misc, qemu-user)");
  Deno.exit(2);
}
console.log(`QEMU ${qemu.version}, -cpu ${qemu.cpu}; left to the oracle: ${qemu.lacks.join(", ") || "nothing"}`);
console.log(`seed ${seed}, for ${seconds} s`);
const { rounds, cases, exceptions, differences } = await runSession({
  qemu,
  seed,
  seconds,
  least: 1,
  log: console.log,
  stopAtDifference: false,
});
for (const [{ name, kind }, times] of exceptions) console.log(`${String(times).padStart(8)} × ${kind}: ${name}`);
const total = cases.values().reduce((sum, count) => sum + count, 0);
console.log(`${rounds} rounds, ${total} cases, ${differences.length} differences`);
Deno.exit(differences.length ? 1 : 0);
