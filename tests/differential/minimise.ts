// Makes a case that differs small: takes instructions and settings away while a difference remains.

import type { Case, Instruction } from "./case.ts";

const NOPS = { 2: { bits: 0x0001, length: 2 }, 4: { bits: 0x13, length: 4 } } as const;
const isNop = ({ bits, length }: Instruction): boolean => bits === NOPS[length].bits;
const ROUNDS = 40;

/** Which of some cases differ, and how. */
export type Ask<T> = (cases: readonly Case[]) => Promise<readonly (T | undefined)[]>;

type Step = (of: Case) => Case;

/** The case with part of it gone: an instruction is a nop, so that branches still meet what they met. */
function* without(it: Case): Generator<Step> {
  for (const [i, each] of it.code.entries()) {
    if (isNop(each)) continue;
    yield (of) => ({ ...of, code: of.code.map((old, n) => n === i ? NOPS[old.length] : old) });
  }
  // Not PMP: to have no entry means something else, which QEMU does not always see.
  for (const [name] of it.csrs?.filter(([name]) => !name.startsWith("pmp")) ?? []) {
    yield (of) => ({ ...of, csrs: of.csrs?.filter((csr) => csr[0] !== name) });
  }
  for (const store of it.stores ?? []) yield (of) => ({ ...of, stores: of.stores?.filter((each) => each !== store) });
}

/** The code without what does nothing: behind the last instruction that matters, or anywhere. */
function* shorter(it: Case): Generator<Case> {
  yield { ...it, code: it.code.filter((each) => !isNop(each)) };
  yield { ...it, code: it.code.slice(0, it.code.findLastIndex((each) => !isNop(each)) + 1) };
}

/**
 * Minimises a case, which differs in that way; gives the difference that is left, which is of the same kind: a case that
 * ends otherwise does not become one that does not end. A round asks twice.
 */
export async function minimise<T>(it: Case, found: T, askAll: Ask<T>, kindOf: (difference: T) => unknown): Promise<T> {
  const kind = kindOf(found);
  const ask: Ask<T> = async (cases) =>
    (await askAll(cases)).map((answer) => answer !== undefined && kindOf(answer) === kind ? answer : undefined);
  const first = async (cases: readonly Case[]): Promise<boolean> => {
    const answers = await ask(cases);
    const i = answers.findIndex((answer) => answer !== undefined);
    if (i >= 0) [it, found] = [cases[i], answers[i]!];
    return i >= 0;
  };
  // Large parts first, then smaller ones.
  let size = Infinity;
  for (let round = 0; round < ROUNDS && size > 0; round++) {
    const steps = [...without(it)];
    size = Math.min(size, Math.ceil(steps.length / 2));
    const parts: Step[] = [];
    for (let i = 0; i < steps.length; i += size) {
      const part = steps.slice(i, i + size);
      parts.push((of) => part.reduce((of, step) => step(of), of));
    }
    const answers = await ask(parts.map((part) => part(it)));
    const useful = parts.filter((_, i) => answers[i] !== undefined);
    // All at once, or halves of that: what one part needs another may take away.
    const attempts: Case[] = [];
    for (let count = useful.length; count >= 1; count = Math.floor(count / 2)) {
      attempts.push(useful.slice(0, count).reduce((of, part) => part(of), it));
    }
    if (!await first(attempts)) size = Math.floor(size / 2);
  }
  await first([...shorter(it)]);
  return found;
}
