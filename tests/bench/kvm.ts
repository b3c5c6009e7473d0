// What exits of the kvm engine cost, beside a C program that does the same: `deno task bench:kvm [exits]`.

import kvm from "../../plugins/kvm/engine.ts";
import { pageTables } from "../../plugins/pc_micro/tables.ts";
import { run as runCommand } from "../kvm/host.ts";
import { assemble } from "../kvm/x86.ts";

const ROUNDS = 7;
const REGISTER = 0xd100_0000;
const CODE = 0x2_0000;
const RESULTS = 0x10_0000;
const TABLES = 0x9000;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Nanoseconds an exit takes in C, by round. */
async function inC(exits: number): Promise<number[]> {
  const folder = await Deno.makeTempDir();
  try {
    const source = new URL("kvm/baseline.c", import.meta.url).pathname;
    await runCommand("gcc", ["-O2", "-o", `${folder}/baseline`, source]);
    const { success, stdout, stderr } = await new Deno.Command(`${folder}/baseline`, {
      args: [String(exits), String(ROUNDS)],
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim().split("\n").map(Number);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The same in a Worker. */
async function inWorker(exits: number): Promise<number[]> {
  const worker = new Worker(new URL("kvm/exits_worker.ts", import.meta.url).href, { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      worker.postMessage({ exits, rounds: ROUNDS });
    });
  } finally {
    worker.terminate();
  }
}

/** Nanoseconds that reads of a register through the bus take, as the guest's own clock counts them. */
async function throughBus(reads: number): Promise<number[]> {
  const engine = await kvm.open({
    config: kvm.config.parse({}, "engine"),
    ram: { base: 0, size: 16 * 2 ** 20, shared: false },
    harts: 1,
    bus: { read: () => 42, write: () => true },
    clock: { now: 0, alarm: () => ({ at() {}, cancel() {} }) },
    timebase: 1,
    deterministic: false,
    console: () => {},
    power: () => {},
  });
  try {
    const code = await assemble(
      `mov rbx, ${REGISTER}
      mov rdi, ${RESULTS + 8}
      xor ecx, ecx
      again: rdtsc
      mov r8, rax
      mov eax, [rbx]
      rdtsc
      sub eax, r8d
      mov [rdi + rcx * 4], eax
      inc ecx
      mov [${RESULTS}], ecx
      cmp ecx, ${reads}
      jb again
      cli
      hlt`,
      CODE,
    );
    const ram = new Uint8Array(engine.ram.buffer);
    ram.set(code, CODE);
    ram.set(pageTables(), TABLES);
    engine.harts[0].start({ pc: BigInt(CODE), mode: "long", registers: { cr3: BigInt(TABLES) } });
    const done = new Uint32Array(engine.ram.buffer, RESULTS, 1);
    const start = performance.now();
    while (done[0] < reads) await engine.run(0, 1e6);
    const took = (performance.now() - start) * 1e6;
    await engine.pause!();
    const ticks = new Uint32Array(engine.ram.buffer, RESULTS + 8, reads);
    const all = ticks.reduce((sum, tick) => sum + tick, 0);
    return Array.from(ticks, (tick) => tick * took / all);
  } finally {
    await engine.dispose();
  }
}

if (import.meta.main) {
  const probe = await kvm.probe();
  if (!probe.usable) {
    console.log(`skipped: ${probe.why}`);
    Deno.exit(0);
  }
  const exits = Number(Deno.args[0] ?? 100_000);
  const c = median(await inC(exits));
  const worker = median(await inWorker(exits));
  const bus = median(await throughBus(Math.min(exits, 100_000)));
  const micros = (nanos: number): string => `${(nanos / 1000).toFixed(2)} µs`;
  console.log(`an exit in C                            ${micros(c)}`);
  console.log(
    `an exit in a Worker, empty handler      ${micros(worker)}  ${(worker / c).toFixed(2)} times (wanted 1.15)`,
  );
  console.log(`a register read through the bus         ${micros(bus)}  ${micros(bus - c)} more (wanted 60, better 25)`);
}
