// cli/run.ts: small guests from power-on to their exit codes.

import { assertEquals, assertGreater, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { elf, LOOP } from "../support/boot_files.ts";
import { denovisor } from "../support/denovisor.ts";

const BASE = 0x8000_0000n;
const TOHOST = BASE + 0x1000n;

function code(...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(words).buffer);
}

/** SBI calls: DBCN writes a byte (a7 = "DBCN", a6 = 2), then SRST shuts down (a7 = "SRST"). */
const SAY_X_AND_SHUT_DOWN = code(
  0x4442_48b7, // lui a7, 0x44424
  0x34e8_8893, // addi a7, a7, 0x34e
  0x0020_0813, // li a6, 2
  0x0580_0513, // li a0, 'X'
  0x0000_0073, // ecall
  0x5352_58b7, // lui a7, 0x53525
  0x3548_8893, // addi a7, a7, 0x354
  0x0000_0813, // li a6, 0
  0x0000_0513, // li a0, 0
  0x0000_0593, // li a1, 0
  0x0000_0073, // ecall
);

/** Stores `2 * code + 1` to `tohost`, as RISC-V test programs end. */
function endsWith(exit: number): Uint8Array {
  const program = code(
    0x0000_1297, // auipc t0, 1
    (2 * exit + 1) << 20 | 0x313, // li t1, 2 * exit + 1
    0x0062_b023, // sd t1, 0(t0)
    0x0000_006f, // j .
  );
  return elf({ segments: [{ bytes: program, memsz: 0x2000n }], symbols: { tohost: TOHOST } });
}

async function inFolder(test: (file: (name: string, content: Uint8Array | string) => string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  try {
    await test((name, content) => {
      const path = join(folder, name);
      Deno.writeFileSync(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
      return path;
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a guest that prints and powers off ends with code 0", () =>
  inFolder(async (file) => {
    const kernel = file("x.elf", elf({ segments: [{ bytes: SAY_X_AND_SHUT_DOWN }] }));
    assertEquals(await denovisor(["run", "--kernel", kernel]), { code: 0, out: "X", err: "" });
  }));

for (const exit of [0, 1, 42]) {
  Deno.test(`a test program that stores ${exit} to tohost ends with code ${exit}, as a kernel and as firmware`, () =>
    inFolder(async (file) => {
      const program = file("test.elf", endsWith(exit));
      assertEquals(await denovisor(["run", "--kernel", program]), { code: exit, out: "", err: "" });
      assertEquals(await denovisor(["run", "--bios", program]), { code: exit, out: "", err: "" });
    }));
}

Deno.test("a guest without an end is stopped by the time-out with code 124", () =>
  inFolder(async (file) => {
    const kernel = file("loop.elf", elf({ segments: [{ bytes: LOOP }] }));
    const outcome = await denovisor(["run", "--kernel", kernel, "--timeout", "0.3"]);
    assertEquals(outcome, { code: 124, out: "", err: "denovisor: Stopped after 0.3 s\n" });
    const { code, err } = await denovisor(["run", "--kernel", kernel, "--timeout", "2", "--stats"]);
    assertEquals(code, 124);
    assertMatch(err, /^instructions +\d+$/m);
  }));

Deno.test("--stats tells how much was interpreted, of how many instructions, and how fast", () =>
  inFolder(async (file) => {
    const countDown = code(
      0x0040_03b7, // lui t2, 0x400: four million
      0xfff3_8393, // addi t2, t2, -1
      0xfe03_9ee3, // bnez t2, .-4
    );
    const bytes = new Uint8Array([...countDown, ...SAY_X_AND_SHUT_DOWN]);
    const run = ["run", "--kernel", file("count.elf", elf({ segments: [{ bytes }] })), "--stats"];
    const counts = async (...options: string[]) => {
      const { err } = await denovisor([...run, ...options]);
      return Object.fromEntries(err.split("\n").map((line) => line.split(/ +/)).map(([k, v]) => [k, Number(v)]));
    };
    const compiled = await counts();
    assertEquals(compiled.instructions, 2 * 2 ** 22 + 1 + SAY_X_AND_SHUT_DOWN.length / 4);
    assertGreater(compiled.mips, 0);
    assertLess(compiled.interpretedPercent, 75, "a loop is compiled");
    assertEquals(compiled.regions, 1);
    const interpreted = await counts("--engine", 'riscv,{"compiler":false}');
    assertEquals([interpreted.interpretedPercent, interpreted.regions], [100, 0]);
    assertEquals(interpreted.instructions, compiled.instructions);
  }));

Deno.test("what one run compiled the next one has at once, unless it is to be cold", () =>
  inFolder(async (file) => {
    // Forty loops, each behind the one before.
    const loop = code(
      0x0000_83b7, // lui t2, 8: as many times as there are bytes in eight pages
      0xfff3_8393, // addi t2, t2, -1
      0xfe03_9ee3, // bnez t2, .-4
    );
    const bytes = new Uint8Array([...Array(40).fill([...loop]).flat(), ...SAY_X_AND_SHUT_DOWN]);
    const kernel = file("loops.elf", elf({ segments: [{ bytes }] }));
    const counts = async (...options: string[]) => {
      const run = ["run", "--kernel", kernel, "--stats", ...options];
      const { code, err } = await denovisor(run, { env: { DENOVISOR_CACHE: `${kernel}.cache` } });
      assertEquals(code, 0);
      return [Number(/^adopted +(\d+)$/m.exec(err)![1]), Number(/^regions +(\d+)$/m.exec(err)![1])];
    };
    for (const options of [["--cold"], [], ["--cold"]]) {
      const [adopted, regions] = await counts(...options);
      assertEquals(adopted, 0);
      assertGreater(regions, 20);
    }
    const [adopted, regions] = await counts();
    assertGreater(adopted, 20);
    assertLess(regions, 10);
  }));

Deno.test("machines of one configuration run side by side, each line with its machine's name", () =>
  inFolder(async (file) => {
    const [fine, wrong] = [elf({ segments: [{ bytes: SAY_X_AND_SHUT_DOWN }] }), endsWith(3)];
    const boot = (name: string, content: Uint8Array) => ({ kernel: file(name, content) });
    const machines = [{ name: "left", boot: boot("a", fine) }, { boot: boot("b", wrong) }, { boot: boot("c", fine) }];
    const { code, out } = await denovisor(["run", "--config", file("machines.json", JSON.stringify(machines))]);
    assertEquals(code, 3);
    assertEquals(out.trimEnd().split("\n").sort(), ["[left] X", "[machine2] X"]);
  }));

Deno.test("--serial file: keeps the console, and --stats counts", () =>
  inFolder(async (file) => {
    const kernel = file("x.elf", elf({ segments: [{ bytes: SAY_X_AND_SHUT_DOWN }] }));
    const log = file("log.txt", "");
    const { code, out, err } = await denovisor(["run", "--kernel", kernel, "--serial", `file:${log}`, "--stats"]);
    assertEquals({ code, out }, { code: 0, out: "" });
    assertStringIncludes(await Deno.readTextFile(log), "X");
    assertMatch(err, /^instructions +\d+$/m);
  }));
