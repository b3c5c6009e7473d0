// Tests plugins/stdio_console.ts in processes of its own, on pipes and (by script(1), where it is) on a terminal.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import stdio_console, { EscapeKeys } from "../../plugins/stdio_console.ts";
import { Room } from "../support/room.ts";

const CHILD = fromFileUrl(new URL("../support/console_child.ts", import.meta.url));

/** The console needs no permission; the child needs one, to send itself a signal. */
const COMMAND = [Deno.execPath(), "run", "--quiet", "--allow-run", CHILD];

Deno.test("stdio_console takes Ctrl-A and its keys out of what is typed", () => {
  const pressed: string[] = [];
  const keys = new EscapeKeys({ x: () => pressed.push("x"), h: () => pressed.push("h") });
  const filter = (text: string) =>
    String.fromCharCode(...keys.filter(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  assertEquals(filter("a\x01"), "a");
  assertEquals(filter("\x01b\x01Xc\x01hd"), "\x01bcd");
  assertEquals(filter("\x01zx\xff"), "x\xff", "an unknown key does nothing");
  assertEquals(pressed, ["x", "h"]);
});

Deno.test("stdio_console belongs to one device at a time", async () => {
  const room = new Room();
  const first = await room.open(stdio_console, {}, { name: "serial0" });
  const second = () => room.open(stdio_console, {}, { name: "console0" });
  await assertRejects(second, Error, "Cannot open console0: standard input and output belong to serial0 already");
  await first.close?.();
  await (await second()).close?.();
});

/** Runs the child on pipes; what it printed once its input was over. */
async function piped(input: Uint8Array<ArrayBuffer> | undefined): Promise<{ code: number; output: string }> {
  const [program, ...args] = COMMAND;
  const child = new Deno.Command(program, { args, stdin: input ? "piped" : "null", stdout: "piped" }).spawn();
  if (input) {
    const writer = child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
  }
  const { code, stdout } = await child.output();
  return { code, output: new TextDecoder().decode(stdout) };
}

Deno.test("stdio_console reads a pipe to its end, every byte of it, and lets the process go", async () => {
  const text = "all work and no play \x01x makes jack\n".repeat(5000);
  assertEquals(await piped(new TextEncoder().encode(text)), { code: 0, output: `ready\n${text.toUpperCase()}bye\n` });
});

Deno.test("stdio_console finds the end of an input that is empty", async () => {
  assertEquals(await piped(undefined), { code: 0, output: "ready\nbye\n" });
});

Deno.test("stdio_console asks for the end when nobody takes the output any more", async () => {
  const [program, ...args] = COMMAND;
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  await writer.write(new TextEncoder().encode("anybody?"));
  assertEquals((await child.status).code, 0);
  await writer.close().catch(() => {});
});

const onTerminal = await new Deno.Command("script", { args: ["--version"], stdout: "null" }).output()
  .then(({ success }) => success, () => false);

/**
 * Runs the child on a terminal, waits for each text and then types the keys after it; asks the terminal about its mode
 * afterwards. Gives all that could be seen.
 */
async function typed(way: string, ...steps: readonly (readonly [text: string, keys: string])[]): Promise<string> {
  const line = [...COMMAND, way].map((word) => `'${word}'`).join(" ");
  const child = new Deno.Command("script", {
    args: ["-qec", `${line}; echo "code $?"; stty -a`, "/dev/null"],
    env: { SHELL: "/bin/sh", NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const decoder = new TextDecoder();
  let output = "";
  let step = 0;
  for await (const bytes of child.stdout) {
    output += decoder.decode(bytes, { stream: true });
    for (; step < steps.length && output.includes(steps[step][0]); step++) {
      await writer.write(new TextEncoder().encode(steps[step][1]));
    }
  }
  await writer.close().catch(() => {});
  await child.status;
  return output;
}

const terminalTest = (does: string, run: () => Promise<void>): void =>
  Deno.test({ name: `stdio_console ${does}`, ignore: !onTerminal, fn: run });

terminalTest("types through to the guest, helps, quits and sets the terminal back", async () => {
  const output = await typed("end", ["ready", "\x01hls\x03\x01\x01"], ["LS\x03\x01", "\x01x"]);
  assertStringIncludes(output, "LS\x03\x01");
  assertStringIncludes(output, "Ctrl-A x       quit");
  assertStringIncludes(output, "bye");
  assertStringIncludes(output, "code 0");
  assert(/ icanon/.test(output), output);
});

for (
  const [end, way, keys, code] of [
    ["an exit", "exit", "q", "code 7"],
    ["an uncaught error", "throw", "q", "code 1"],
    ["a signal", "signal", "q", "code 143"],
  ] as const
) {
  terminalTest(`sets the terminal back after ${end}, and leaves no output behind`, async () => {
    const output = await typed(way, ["ready", keys]);
    assertStringIncludes(output, "Q");
    assertStringIncludes(output, code);
    assert(/ icanon/.test(output), output);
  });
}

terminalTest("leaves a signal to the program that listens for it, and to its orderly end", async () => {
  const output = await typed("listen", ["ready", "q"]);
  assertStringIncludes(output, "bye");
  assertStringIncludes(output, "code 5");
  assert(/ icanon/.test(output), output);
});
