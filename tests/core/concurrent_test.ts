// Engines whose CPUs run beside the machine's thread: how core drives them, and their own interrupt controller.

import { assert, assertEquals } from "@std/assert";
import { createMachine, defineDevice, defineEngine, type Engine, type EngineContext, object } from "../../mod.ts";
import { plainBoard, ScriptEngine } from "../support/script_engine.ts";

/** An engine that only waits: for a kick, or for the machine's next event. */
class Waiter extends ScriptEngine {
  readonly concurrent = true;
  readonly calls: string[] = [];
  readonly inputs: string[] = [];
  readonly controller = {
    inputs: 8,
    set: (input: number, level: boolean) => void this.inputs.push(`${input} ${level ? "up" : "down"}`),
  };
  dirty: number[] = [];
  #kicked = Promise.withResolvers<void>();

  override run(_instructions: number, nanos?: number): never {
    this.calls.push(`run ${nanos === Infinity ? "until kicked" : nanos! > 0 ? "for a while" : "not at all"}`);
    this.#kicked = Promise.withResolvers();
    const later = new Promise<void>((resolve) => nanos! < Infinity && setTimeout(resolve, nanos! / 1e6));
    return Promise.race([this.#kicked.promise, later]).then(() => ({ reason: "budget" })) as never;
  }

  override kick(): void {
    this.#kicked.resolve();
  }

  pause(): Promise<void> {
    this.calls.push("pause");
    return Promise.resolve();
  }

  override collectDirty(): number[] {
    return this.dirty;
  }
}

async function setUp(ports?: number) {
  const opened: { engine: Waiter; context: EngineContext<unknown> }[] = [];
  const engine = defineEngine({
    name: "waiter",
    architectures: ["script"],
    defaultBoard: "plain",
    config: object({}),
    probe: () => Promise.resolve({ usable: true }),
    open(context): Engine {
      const engine = new Waiter(context, function* () {});
      opened.push({ engine, context });
      return engine as unknown as Engine;
    },
  });
  const board = { ...plainBoard, create: (context: never) => ({ ...plainBoard.create(context), ports }) };
  let raise = (_after: number): void => {};
  const bell = defineDevice({
    name: "bell",
    needs: ["irq", "clock", "dma"],
    config: object({}),
    stateVersion: 1,
    create({ irq, clock, dma }) {
      const alarm = clock.alarm("ring", () => {
        dma.store(0x8000_5000, 1, 4);
        irq.set(true);
      });
      raise = (after) => alarm.at(clock.now + after);
      return { state: null, regions: [] };
    },
  });
  const machine = await createMachine({ engine: "waiter", memory: "1M", devices: [{ use: "bell" }] }, {
    plugins: { waiter: engine, plain: board, bell: bell as never } as never,
  });
  return { machine, raise: (after: number) => raise(after), ...opened[0] };
}

const turn = (milliseconds = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

Deno.test("a concurrent engine runs until the next event, and is paused whenever the machine stops", async () => {
  const { machine, engine, raise } = await setUp();
  await using _ = machine;
  const run = machine.run();
  await turn();
  assertEquals(engine.calls, ["run until kicked"]);
  raise(10e6);
  await turn(40);
  assertEquals([engine.calls.at(1), engine.calls.at(-1)], ["run for a while", "run until kicked"]);
  await machine.pause();
  assertEquals(engine.calls.at(-1), "pause");
  const paused = engine.calls.length;
  machine.resume();
  await turn();
  assertEquals(engine.calls.slice(paused), ["run until kicked"]);
  await machine.reset();
  assertEquals(engine.calls.slice(paused + 1), ["pause"]);
  await turn();
  machine.powerOff();
  await run;
  assertEquals(engine.calls.at(-1), "pause");
});

Deno.test("devices' lines reach the engine's own interrupt controller", async () => {
  const { machine, engine, raise } = await setUp();
  await using _ = machine;
  const run = machine.run();
  assertEquals(engine.inputs, ["1 down"]);
  raise(1e6);
  while (engine.inputs.length < 2) await turn();
  assertEquals(engine.inputs, ["1 down", "1 up"]);
  machine.powerOff();
  await run;
});

Deno.test("the dirty pages are the engine's and the devices', each once and in order", async () => {
  const { machine, engine, raise } = await setUp();
  await using _ = machine;
  const run = machine.run();
  machine.collectDirty();
  engine.dirty = [9, 5, 2];
  raise(0);
  while (engine.inputs.length < 2) await turn();
  assertEquals(machine.collectDirty(), [2, 5, 9]);
  engine.dirty = [];
  assertEquals(machine.collectDirty(), []);
  machine.powerOff();
  await run;
});

Deno.test("an engine is told where its board has I/O ports", async () => {
  const { machine, context } = await setUp(2 ** 52);
  await using _ = machine;
  assertEquals(context.ports, 2 ** 52);
  const without = await setUp();
  await using __ = without.machine;
  assert(without.context.ports === undefined);
});
