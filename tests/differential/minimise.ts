// Makes a case that differs small: takes instructions and settings away while a difference remains.

import { type Case, Image, type Instruction } from "./case.ts";
import { type Difference, difference } from "./compare.ts";
import type { Peer } from "./machines.ts";

const NOPS = { 2: { bits: 0x0001, length: 2 }, 4: { bits: 0x13, length: 4 } } as const;
const isNop = ({ bits, length }: Instruction): boolean => bits === NOPS[length].bits;

/** The case with part of it gone: an instruction is a nop, so that branches still meet what they met. */
function* without(it: Case): Generator<(of: Case) => Case> {
  for (const [i, each] of it.code.entries()) {
    if (isNop(each)) continue;
    yield (of) => ({ ...of, code: of.code.map((old, n) => n === i ? NOPS[old.length] : old) });
  }
  // Not PMP: to have no entry means something else, which QEMU does not always see.
  for (const [name] of it.csrs?.filter(([name]) => !name.startsWith("pmp")) ?? []) {
    yield (of) => ({
      ...of,
      csrs: of.csrs?.filter((csr) => csr[0] !== name),
    });
  }
  for (const store of it.stores ?? []) yield (of) => ({ ...of, stores: of.stores?.filter((each) => each !== store) });
}

/** The code after the last instruction that matters, gone. */
function trimmed(it: Case): Case {
  const last = it.code.findLastIndex((each) => !isNop(each));
  return { ...it, code: it.code.slice(0, last + 1) };
}

/** Minimises a case for two peers; gives the difference that is left. Each round asks each peer once or twice. */
export async function minimise(found: Difference, ours: Peer, theirs: Peer): Promise<Difference> {
  const ask = async (cases: readonly Case[]): Promise<(Difference | undefined)[]> => {
    const answers: (Difference | undefined)[] = [];
    for (const image of Image.of(cases)) {
      try {
        const [a, b] = [await ours(image), await theirs(image)];
        answers.push(...image.cases.map((placed) => difference(placed, a, b)));
      } catch {
        answers.push(...image.cases.map(() => undefined)); // what does not end is no smaller case
      }
    }
    return answers;
  };
  let best = found;
  for (let round = 0; round < 12; round++) {
    const steps = [...without(best.placed.case)];
    const answers = await ask(steps.map((step) => step(best.placed.case)));
    const useful = steps.filter((_, i) => answers[i]);
    if (!useful.length) break;
    // All at once, or halves of that: what one step needs another may take away.
    const attempts: Case[] = [];
    for (let count = useful.length; count >= 1; count = Math.floor(count / 2)) {
      attempts.push(useful.slice(0, count).reduce((of, step) => step(of), best.placed.case));
    }
    best = (await ask(attempts)).find((each) => each) ?? best;
  }
  return (await ask([trimmed(best.placed.case)]))[0] ?? best;
}
