// Compares what two machines made of the same cases, item by item.

import { type Case, Image, nameOf, type Placed, recordOf } from "./case.ts";
import { type Exception, EXCEPTIONS } from "./exceptions.ts";
import { type Peer, type Records, Unfinished } from "./machines.ts";
import type { Ask } from "./minimise.ts";
import { RECORD_LOG, TRAP_WORDS } from "./runtime.ts";

/** A case that ended differently on two machines. */
export interface Difference {
  readonly placed: Placed;
  /** The first item that differs. */
  readonly item: string;
  readonly ours: bigint;
  readonly theirs: bigint;
}

/** The first item of a case in which the records differ, and no exception explains why. */
export function difference(
  placed: Placed,
  ours: Records,
  theirs: Records,
  exceptions: readonly Exception[] = EXCEPTIONS,
  used?: (exception: Exception) => void,
): Difference | undefined {
  const [a, b] = [recordOf(placed, ours).slice(), recordOf(placed, theirs)];
  let indexes: Map<string, number> | undefined;
  const index = (name: string): number => {
    indexes ??= new Map(Array.from(a, (_, i) => [nameOf(placed, i), i]));
    return indexes.get(name)!;
  };
  const other = (name: string): bigint => a[index(name)];
  const theirOther = (name: string): bigint => b[index(name)];
  // The log explains most of what differs: it is looked at first.
  for (let n = RECORD_LOG; n < a.length + RECORD_LOG; n++) {
    const i = n % a.length;
    if (a[i] === b[i]) continue;
    const item = { name: nameOf(placed, i), ours: a[i], theirs: b[i], placed, other, theirOther };
    const exception = exceptions.find((each) => each.explains(item));
    if (!exception) return { placed, item: item.name, ours: a[i], theirs: b[i] };
    used?.(exception);
    if (exception.ends) return undefined;
    if (exception.isExtra) { // as if it had not been taken
      const end = a.length - (placed.case.writes?.length ?? 0);
      const trap = i - (i - RECORD_LOG) % TRAP_WORDS.length;
      a.copyWithin(trap, trap + TRAP_WORDS.length, end).fill(0n, end - TRAP_WORDS.length, end);
      a[index("traps")]--;
      n = trap - 1;
    }
  }
}

/**
 * Runs cases on two machines, and gives what differs. A case that one of them does not end is a difference, too, and the
 * others are run again without it. What runs into an endless loop on both is left out: data may be executed, too.
 */
export async function* differences(
  cases: readonly Case[],
  ours: Peer,
  theirs: Peer,
  used?: (exception: Exception) => void,
): AsyncGenerator<Difference | Unfinished> {
  for (const image of Image.of(cases)) {
    const [a, b] = await Promise.allSettled([ours(image), theirs(image)]);
    if (a.status === "fulfilled" && b.status === "fulfilled") {
      for (const placed of image.cases) {
        const found = difference(placed, a.value, b.value, undefined, used);
        if (found) yield found;
      }
      continue;
    }
    const left = new Set(image.cases.map((placed) => placed.case));
    const reasons = [a, b].map((each) => each.status === "rejected" ? each.reason : undefined);
    const [first, second] = reasons;
    const both = first instanceof Unfinished && first.placed && first.placed === second?.placed;
    for (const reason of reasons.filter((each) => each !== undefined)) {
      if (!(reason instanceof Unfinished)) throw reason;
      if (!both) yield reason;
      if (reason.placed) left.delete(reason.placed.case);
      else left.clear(); // there is nothing to leave out
    }
    if (left.size) yield* differences([...left], ours, theirs, used);
  }
}

/** Whether the case came to its end on both machines. */
export const ended = (found: Difference | Unfinished): boolean => !(found instanceof Unfinished);

/** Asks two machines which of some cases differ. */
export function askPeers(ours: Peer, theirs: Peer): Ask<Difference | Unfinished> {
  return async (cases) => {
    const all = await Array.fromAsync(differences(cases, ours, theirs));
    return cases.map((it) => all.find(({ placed }) => placed?.case === it));
  };
}
