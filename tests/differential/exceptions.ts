// Where denovisor and QEMU 7.2 may differ, and why: the sentence of the specification stands beside each exception.

import type { Placed } from "./case.ts";

/** A doubleword of a record on both sides. */
export interface Differing {
  readonly name: string;
  readonly ours: bigint;
  readonly theirs: bigint;
  readonly placed: Placed;
  /** Another doubleword of the record, ours, by name. */
  readonly other: (name: string) => bigint | undefined;
}

/** A difference that is none of denovisor's faults. */
export interface Exception {
  readonly name: string;
  /** `wrong`: QEMU contradicts the specification; `free`: both are allowed; `newer`: QEMU lacks the extension. */
  readonly kind: "wrong" | "free" | "newer";
  /** What the specification says (privileged 20240411, unless another is named). */
  readonly quote: string;
  explains(it: Differing): boolean;
}

const ADUE = 1n << 61n;

export const EXCEPTIONS: readonly Exception[] = [
  {
    name: "menvcfg.ADUE is not there: pages' A and D bits are always set by hardware",
    kind: "newer",
    quote:
      "If the Svadu extension is implemented, the ADUE bit controls whether hardware updating of PTE A/D bits is " +
      "enabled for S-mode and G-stage address translations. (10.5… Svadu 1.0)",
    explains: ({ name, ours, theirs }) => name === "menvcfg" && (ours & ~ADUE) === theirs,
  },
  {
    name: "pmpaddr has more than 54 bits",
    kind: "wrong",
    quote: "Each PMP address register encodes bits 55–2 of a 56-bit physical address for RV64 (3.7.1); its bits 63–54 " +
      "are zero in the figure, WARL.",
    explains: ({ name, ours, theirs }) => name.startsWith("pmpaddr") && ours === BigInt.asUintN(54, theirs),
  },
];
