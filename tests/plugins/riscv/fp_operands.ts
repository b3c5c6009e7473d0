// Operands for tests of floating point: seeded, and dense where rounding, overflow, underflow and NaN rules change.

import { compute, type FpOp } from "../../../plugins/riscv/softfloat.ts";

type Kind = "s" | "d" | "w" | "l";

/** What an operation reads: the kind of its operands and how many. */
function operandsOf(op: FpOp): { kind: Kind; count: number } {
  const [name, format] = op.split(".");
  const kind = format[0] as Kind;
  return { kind, count: name === "fma" ? 3 : /^(add|sub|mul|div|min|max|eq|lt|le)$/.test(name) ? 2 : 1 };
}

const SHAPE = {
  s: { width: 32, fractionBits: 23, bias: 127 },
  d: { width: 64, fractionBits: 52, bias: 1023 },
} as const;

/** A stream of operands, the same for the same seed. */
export class Operands {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A uniform integer from 0 to below `limit`, at most 2^32. */
  below(limit: number): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return Math.floor((((z ^ (z >>> 16)) >>> 0) / 2 ** 32) * limit);
  }

  bits(width: number): bigint {
    const all = (BigInt(this.below(2 ** 32)) << 32n) | BigInt(this.below(2 ** 32));
    return BigInt.asUintN(width, all);
  }

  /** Three operands for `op`; those it does not read are 0. */
  triple(op: FpOp): [bigint, bigint, bigint] {
    const { kind, count } = operandsOf(op);
    const a = this.operand(kind);
    if (count === 1) return [a, 0n, 0n];
    const b = this.below(4) === 0 && kind !== "w" && kind !== "l" ? this.#near(kind, a) : this.operand(kind);
    if (count === 2) return [a, b, 0n];
    // Half of the addends cancel the product almost or quite: there a fused addition differs from two roundings.
    if (this.below(2) === 0) return [a, b, this.operand(kind)];
    const product = compute(`mul.${kind as "s" | "d"}`, this.below(5), a, b, 0n).value;
    return [a, b, this.#near(kind as "s" | "d", product)];
  }

  operand(kind: Kind): bigint {
    return kind === "s" || kind === "d" ? this.#float(kind) : this.#integer(kind === "w" ? 32 : 64);
  }

  #float(kind: "s" | "d"): bigint {
    const { width, fractionBits, bias } = SHAPE[kind];
    const sign = this.bits(1) << BigInt(width - 1);
    const fraction = this.#fraction(fractionBits);
    const at = (exponent: number): bigint => {
      const field = BigInt(Math.min(Math.max(exponent + bias, 0), 2 * bias + 1));
      return sign | (field << BigInt(fractionBits)) | fraction;
    };
    switch (this.below(8)) {
      case 0:
        return this.bits(width);
      case 1: // zeros, infinities, NaNs with every kind of payload, the extremes of each binade
        return sign |
          (this.#pick([0n, 1n, BigInt(bias), BigInt(2 * bias), BigInt(2 * bias + 1)]) << BigInt(fractionBits)) |
          this.#pick([0n, 1n, (1n << BigInt(fractionBits)) - 1n, 1n << BigInt(fractionBits - 1)]);
      case 2: // subnormals and the smallest normals
        return at(-bias + this.below(3));
      case 3: // the largest
        return at(bias - this.below(3));
      case 4: // about the bounds of integers
        return at(this.#pick([-2, -1, 0, 30, 31, 32, 52, 53, 62, 63, 64]));
      case 5: // products and quotients near underflow and overflow
        return at(this.#pick([-1, 1]) * Math.floor(bias / 2) + this.below(2 * fractionBits) - fractionBits);
      default:
        return at(this.below(2 * fractionBits + 6) - fractionBits - 3);
    }
  }

  /** Fractions of few bits make exact results and halfway cases; of many ones, carries. */
  #fraction(width: number): bigint {
    const mask = (1n << BigInt(width)) - 1n;
    const place = BigInt(this.below(width + 1));
    switch (this.below(4)) {
      case 0:
        return (this.bits(width) << place) & mask;
      case 1:
        return (mask << place) & mask;
      case 2:
        return ((1n << place) + BigInt(this.below(3)) - 1n) & mask;
      default:
        return this.bits(width);
    }
  }

  #integer(width: number): bigint {
    const shift = BigInt(this.below(64));
    const sign = this.below(2) === 0 ? 1n : -1n;
    const n = this.below(2) === 0 ? this.bits(64) >> shift : (1n << shift) + BigInt(this.below(5) - 2);
    return BigInt.asUintN(width, sign * n);
  }

  /** A pattern a few units in the last place from another, with either sign. */
  #near(kind: "s" | "d", pattern: bigint): bigint {
    const { width } = SHAPE[kind];
    return BigInt.asUintN(width, pattern + BigInt(this.below(7) - 3)) ^ (this.bits(1) << BigInt(width - 1));
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}
