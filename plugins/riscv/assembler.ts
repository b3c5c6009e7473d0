// A two-pass assembler for guest programs of a page or two, from the instruction table (RISC-V Assembly Programmer's Manual).

import { evaluate } from "./assembly/expression.ts";
import { encode, findMnemonic } from "./assembly/instruction.ts";
import { expand, loadImmediate, operandCounts } from "./assembly/pseudo.ts";
import { Fault, split, textBytes, withoutComment } from "./assembly/text.ts";

/** Options of {@linkcode assemble}. */
export interface AssembleOptions {
  /** The address at which the program will stand; default: where RAM begins on `riscv_virt`, 0x8000_0000. */
  readonly base?: number;
}

/**
 * Assembles the text of a program into the bytes to be loaded at `base`.
 *
 * It knows all instructions of the `riscv` engine, the usual pseudo-instructions (`li`, `la`, `mv`, `call`, `ret`,
 * `beqz`, `csrr`…), labels (`1:` with `1b` and `1f`, too), expressions with C's operators (`.` is the address of the
 * instruction or the number), comments after `#` or `//`, and the directives `.byte .half .word .dword .ascii .asciz .string .align
 * .balign .zero .equ`. Nothing is compressed and there are no sections: what stands first comes first.
 *
 * @throws {SyntaxError} for text that is no program: one sentence with the line, what was wanted and what was found.
 *
 * @example
 * ```ts
 * import { assemble } from "./assembler.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const program = assemble(`
 *         li   a0, 3
 * again:  addi a0, a0, -1
 *         bnez a0, again
 * `);
 * assertEquals(program.length, 12);
 * ```
 */
export function assemble(source: string, { base = 0x8000_0000 }: AssembleOptions = {}): Uint8Array<ArrayBuffer> {
  return new Assembler(base).assemble(source);
}

/** Bytes of the numbers that data directives take. */
const DATA: ReadonlyMap<string, number> = new Map([
  [".byte", 1],
  [".half", 2],
  [".short", 2],
  [".2byte", 2],
  [".word", 4],
  [".4byte", 4],
  [".dword", 8],
  [".quad", 8],
  [".8byte", 8],
]);
const DIRECTIVES = ".ascii .asciz .string .align .balign .zero .equ .globl";
/** The largest program, in bytes. */
const LIMIT = 2 ** 28;
const NOP = [0x13, 0, 0, 0] as const;
const SYMBOL = /^[A-Za-z_.$][\w.$]*$/;
const LABEL = /^\s*([A-Za-z_.$][\w.$]*|\d+)\s*:/;

/** A stretch of the program: its place is known after the first pass, its bytes in the second. */
interface Item {
  readonly line: number;
  readonly at: number;
  readonly bytes: () => ArrayLike<number>;
}

class Assembler {
  readonly #base: number;
  readonly #symbols = new Map<string, bigint>();
  /** Addresses of the labels that are numbers, in order. */
  readonly #locals = new Map<string, number[]>();
  readonly #items: Item[] = [];
  #line = 0;
  #at: number;

  constructor(base: number) {
    if (!Number.isSafeInteger(base) || base < 0) {
      throw new RangeError(`Cannot assemble: wanted a base address that is a whole number, got ${base}`);
    }
    this.#base = this.#at = base;
  }

  assemble(source: string): Uint8Array<ArrayBuffer> {
    source.split(/\r?\n/).forEach((text, i) => {
      this.#line = i + 1;
      this.#explain(() => {
        for (const statement of split(withoutComment(text), ";")) this.#read(statement);
      });
    });
    const program = new Uint8Array(this.#at - this.#base);
    for (const { line, at, bytes } of this.#items) {
      this.#line = line;
      this.#explain(() => program.set(bytes(), at - this.#base));
    }
    return program;
  }

  /** Says in which line the fault is. */
  #explain(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new SyntaxError(`Cannot assemble line ${this.#line}: ${error.message}`);
    }
  }

  // ---------------------------------------------------------------- first pass

  #read(statement: string): void {
    for (let label = LABEL.exec(statement); label; label = LABEL.exec(statement)) {
      this.#label(label[1]);
      statement = statement.slice(label[0].length);
    }
    const [, name, rest] = /^\s*(\S*)\s*(.*)$/s.exec(statement)!;
    if (name === "") return;
    const operands = split(rest, ",");
    if (name[0] === ".") return this.#directive(name, operands);
    const text = name === "li" ? this.#loadImmediate(operands) : expand(name, operands);
    if (text === undefined) return this.#instruction(name, operands);
    for (const part of split(text, ";")) this.#read(part);
  }

  #label(name: string): void {
    if (/^\d/.test(name)) this.#locals.set(name, [...this.#locals.get(name) ?? [], this.#at]);
    else this.#define(name, BigInt(this.#at));
  }

  #define(name: string, value: bigint): void {
    if (!SYMBOL.test(name) || name === ".") throw new Fault(`wanted a symbol's name, got ${name || "nothing"}`);
    if (this.#symbols.has(name)) throw new Fault(`wanted a new name, got ${name}, which is defined already`);
    this.#symbols.set(name, value);
  }

  /** How long `li` becomes depends on the value, so it must be known by now. */
  #loadImmediate(operands: string[]): string {
    if (operands.length !== 2) throw new Fault(`wanted li with 2 operands (rd, value), got ${operands.length}`);
    const value = this.#known(operands[1], -(1n << 63n), (1n << 64n) - 1n);
    return loadImmediate(operands[0], BigInt.asIntN(64, value)).join(";");
  }

  #instruction(name: string, operands: string[]): void {
    const mnemonic = findMnemonic(name.toLowerCase());
    if (!mnemonic) {
      const counts = operandCounts(name);
      if (!counts.length) throw new Fault(`wanted an instruction, got ${name}`);
      throw new Fault(`wanted ${name} with ${counts.join(" or ")} operands, got ${operands.length}`);
    }
    const at = this.#at;
    this.#add(4, () => littleEndian(BigInt(encode(mnemonic, operands, { at, lookup: this.#lookup(at) })), 4));
  }

  #directive(name: string, operands: string[]): void {
    const size = DATA.get(name);
    if (size) return this.#data(size, operands);
    const [first = ""] = operands;
    switch (name) {
      case ".ascii":
      case ".asciz":
      case ".string": {
        const bytes = operands.flatMap((text) => name === ".ascii" ? textBytes(text) : [...textBytes(text), 0]);
        return this.#add(bytes.length, () => bytes);
      }
      case ".align":
        return this.#align(1 << Number(this.#known(first, 0n, 12n)));
      case ".balign":
        return this.#align(Number(this.#known(first, 1n, BigInt(LIMIT))));
      case ".zero":
        return this.#add(Number(this.#known(first, 0n, BigInt(LIMIT))), () => []);
      case ".equ":
        if (operands.length !== 2) {
          throw new Fault(`wanted .equ with a name and a value, got ${operands.length} operands`);
        }
        return this.#define(first, evaluate(operands[1], this.#lookup(this.#at)));
      case ".globl": // Every symbol is as visible as any other.
        return;
    }
    throw new Fault(`wanted one of the directives ${[...DATA.keys()].join(" ")} ${DIRECTIVES}, got ${name}`);
  }

  #data(size: number, operands: string[]): void {
    const limit = 1n << BigInt(8 * size);
    const at = this.#at;
    this.#add(size * operands.length, () =>
      operands.flatMap((text, i) => {
        const value = evaluate(text, this.#lookup(at + i * size));
        if (value >= limit || value < -limit / 2n) throw new Fault(`wanted a number of ${size} bytes, got ${value}`);
        return littleEndian(value, size);
      }));
  }

  /** Between instructions, what fills the room may be run through. */
  #align(alignment: number): void {
    const room = (alignment - this.#at % alignment) % alignment;
    this.#add(room, () => Array.from({ length: room }, (_, i) => i < room % 4 ? 0 : NOP[(i - room % 4) % 4]));
  }

  #add(size: number, bytes: () => ArrayLike<number>): void {
    this.#items.push({ line: this.#line, at: this.#at, bytes });
    this.#at += size;
    const length = this.#at - this.#base;
    if (length > LIMIT) throw new Fault(`wanted a program of at most ${LIMIT} bytes, got one of ${length}`);
  }

  // ---------------------------------------------------------------- symbols

  /** A value that the first pass needs. */
  #known(text: string, least: bigint, most: bigint): bigint {
    const value = evaluate(text, this.#lookup(this.#at));
    if (value < least || value > most) throw new Fault(`wanted a number from ${least} to ${most}, got ${value}`);
    return value;
  }

  /** Symbols as a statement at this address sees them. */
  #lookup(at: number): (symbol: string) => bigint {
    return (symbol) => {
      if (symbol === ".") return BigInt(at);
      const [, number, direction] = /^(\d+)([bf])$/.exec(symbol) ?? [];
      const value = number === undefined ? this.#symbols.get(symbol) : this.#local(number, direction, at);
      if (value === undefined) throw new Fault(`wanted a symbol that is defined, got ${symbol}`);
      return value;
    };
  }

  #local(number: string, direction: string, at: number): bigint | undefined {
    const places = this.#locals.get(number) ?? [];
    const found = direction === "b" ? places.findLast((place) => place <= at) : places.find((place) => place > at);
    return found === undefined ? undefined : BigInt(found);
  }
}

function littleEndian(value: bigint, size: number): number[] {
  return Array.from({ length: size }, (_, i) => Number(value >> BigInt(8 * i) & 0xffn));
}
