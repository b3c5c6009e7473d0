// Expressions of assembly text: numbers, symbols and C's operators with C's precedence.

import { characterCode, Fault } from "./text.ts";

/** Gives a symbol's value; throws a {@linkcode Fault} for one that has none. */
export type Lookup = (symbol: string) => bigint;

const TOKEN =
  /\s*(0x[0-9a-f]+|0b[01]+|\d+[bf]?(?![\w.])|'(?:\\.|[^'\\])'|%(?:hi|lo)(?=\s*\()|[a-z_.$][\w.$]*|<<|>>|[-+*/%&|^~()])/iy;

type Binary = (a: bigint, b: bigint) => bigint;
/** Binary operators, the loosest first. */
const LEVELS: readonly Readonly<Record<string, Binary>>[] = [
  { "|": (a, b) => a | b },
  { "^": (a, b) => a ^ b },
  { "&": (a, b) => a & b },
  { "<<": (a, b) => a << shiftCount(b), ">>": (a, b) => a >> shiftCount(b) },
  { "+": (a, b) => a + b, "-": (a, b) => a - b },
  { "*": (a, b) => a * b, "/": (a, b) => a / divisor(b), "%": (a, b) => a % divisor(b) },
];

const UNARY: Readonly<Record<string, (a: bigint) => bigint>> = {
  "-": (a) => -a,
  "+": (a) => a,
  "~": (a) => ~a,
  // A 32-bit value as the operands of `lui` or `auipc` and of an instruction that adds what they leave over.
  "%hi": (a) => {
    if (a !== BigInt.asIntN(32, a)) throw new Fault(`wanted a value or a distance of 32 bits, got ${a}`);
    return a + 0x800n >> 12n & 0xf_ffffn;
  },
  "%lo": (a) => BigInt.asIntN(12, a),
};

function shiftCount(count: bigint): bigint {
  if (count < 0n || count > 63n) throw new Fault(`wanted to shift by 0 to 63, got ${count}`);
  return count;
}

function divisor(value: bigint): bigint {
  if (value === 0n) throw new Fault("wanted a divisor that is not zero");
  return value;
}

class Parser {
  readonly #tokens: string[] = [];
  #next = 0;

  constructor(readonly text: string, readonly lookup: Lookup) {
    TOKEN.lastIndex = 0;
    for (let end = 0; text.slice(end).trim(); end = TOKEN.lastIndex) {
      const token = TOKEN.exec(text)?.[1];
      if (token === undefined) this.#refuse(text.slice(end).trim());
      this.#tokens.push(token);
    }
  }

  whole(): bigint {
    const value = this.#binary(0);
    if (this.#next < this.#tokens.length) this.#refuse(this.#tokens[this.#next]);
    return value;
  }

  #binary(level: number): bigint {
    if (level === LEVELS.length) return this.#unary();
    let value = this.#binary(level + 1);
    for (;;) {
      const operator = LEVELS[level][this.#tokens[this.#next]];
      if (!operator) return value;
      this.#next++;
      value = operator(value, this.#binary(level + 1));
    }
  }

  #unary(): bigint {
    const token = this.#tokens[this.#next++];
    if (token === undefined) this.#refuse("nothing");
    if (token in UNARY) return UNARY[token](this.#unary());
    if (token === "(") {
      const value = this.#binary(0);
      if (this.#tokens[this.#next++] !== ")") throw new Fault(`wanted a ) in ${this.text}`);
      return value;
    }
    if (token[0] === "'") return BigInt(characterCode(token));
    if (/^(?:\d+|0x.+|0b.+)$/i.test(token)) return BigInt(token);
    if (/^[\w.$]+$/.test(token)) return this.lookup(token);
    return this.#refuse(token);
  }

  #refuse(found: string): never {
    const place = found === this.text || found === "nothing" ? "" : ` in ${this.text}`;
    throw new Fault(`wanted a number or a symbol, got ${found}${place}`);
  }
}

/** The value of an expression. Throws a {@linkcode Fault} for text that is none. */
export function evaluate(text: string, lookup: Lookup): bigint {
  return new Parser(text, lookup).whole();
}
