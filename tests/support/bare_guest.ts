// Guest programs in assembly on machines of their own, by the public API: what they print, and how they end.

import { assembleRiscv, createMachine, type MachineDescription, type MachineOptions } from "../../mod.ts";
import { elf } from "./boot_files.ts";

/** Where devices stand on the board. */
export const SYSCON = 0x10_0000, CLINT = 0x200_0000, PLIC = 0xc00_0000, UART = 0x1000_0000;

/** Prints the text at `a0`, up to a zero, and then returns. Writes `t0`, `t1`, `t2`. */
export const PRINT = `
        .balign 4
print:  li      t0, ${UART}
1:      lbu     t1, 0(a0)
        beqz    t1, 3f
2:      lbu     t2, 5(t0)               # LSR
        andi    t2, t2, 0x20            # may the next byte come?
        beqz    t2, 2b
        sb      t1, 0(t0)
        addi    a0, a0, 1
        j       1b
3:      ret
`;

/** Code that calls function `id` of an SBI extension with these arguments. */
export function sbi(extension: string | number, id: number, ...args: (number | string)[]): string {
  const number = typeof extension === "number"
    ? extension
    : [...extension].reduce((bits, letter) => bits << 8 | letter.charCodeAt(0), 0);
  const loads = args.map((value, i) => `${typeof value === "string" ? "la" : "li"} a${i}, ${value}`);
  return [...loads, `li a6, ${id}`, `li a7, ${number}`, "ecall"].join("; ");
}

/** Code that stores to the system controller and waits for its end. */
export function finish(value: number): string {
  return `li t0, ${SYSCON}; li t1, ${value}; sw t1, 0(t0); j .`;
}

/** Where a program stands; its first instruction is at `base` if nothing else is said. */
export interface Linkage {
  readonly base?: number;
  readonly entry?: number;
  readonly symbols?: Readonly<Record<string, number>>;
}

/** An ELF whose only segment is this program, with a page for its data from `base + 0x1000` on. */
export async function elfProgram(source: string, linkage: Linkage = {}): Promise<Uint8Array<ArrayBuffer>> {
  const { base = 0x8000_0000, entry = base, symbols = {} } = linkage;
  const bytes = await assembleRiscv(source, { base });
  return elf({
    entry: BigInt(entry),
    segments: [{ bytes, paddr: BigInt(base), memsz: 0x2000n }],
    symbols: Object.fromEntries(Object.entries(symbols).map(([name, at]) => [name, BigInt(at)])),
  });
}

/** How a guest ended. */
export interface Ending {
  readonly code: number;
  /** All that came through its console. */
  readonly said: string;
  /** Instructions of all harts. */
  readonly instructions: number;
  readonly hash: string;
}

/** What is typed at a guest's console, one text each time that it prints `?`. */
export interface Play extends Omit<MachineDescription, "memory">, Pick<MachineOptions, "quantum"> {
  readonly typed?: readonly string[];
}

/** Runs a guest until it powers off. Rejects if that takes it more than half a minute. */
export async function play({ typed = [], quantum, ...description }: Play): Promise<Ending> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`The guest goes on after 30 s; it said ${said}`)), 30_000);
  let said = "";
  const machine = await createMachine({ memory: "4M", ...description }, { signal: late.signal, quantum });
  const answers = typed.values();
  const talk = async (): Promise<void> => {
    const { readable, writable } = machine.console;
    const keyboard = writable.getWriter();
    for await (const text of readable.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
      said += text;
      for (const _ of text.matchAll(/\?/g)) {
        const answer = answers.next().value;
        if (answer !== undefined) await keyboard.write(new TextEncoder().encode(answer));
      }
    }
  };
  const talking = talk();
  try {
    const { code } = await machine.run();
    const [{ instructions }, hash] = [machine.stats(), await machine.stateHash()];
    await machine[Symbol.asyncDispose]();
    await talking;
    return { code, said, instructions, hash };
  } finally {
    clearTimeout(timer);
    await machine[Symbol.asyncDispose]();
  }
}
