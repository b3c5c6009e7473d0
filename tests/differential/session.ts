// A session of differential testing: rounds of cases of every family, on denovisor and on QEMU, until time or a difference ends it.

import { Random } from "./body.ts";
import { type Case, describe, Image } from "./case.ts";
import { askPeers, differences, ended } from "./compare.ts";
import type { Exception } from "./exceptions.ts";
import { csrFields, csrSweep, csrValues, SWEEP } from "./families/csrs.ts";
import { borders, canonical, MATRIX, permissions, protection } from "./families/pages.ts";
import { traps, waits, words } from "./families/traps.ts";
import { floats, integers, type Made, memory, program } from "./families/user.ts";
import { type Peer, qemuPeer, runHere, Steps, Unfinished, type Way } from "./machines.ts";
import { minimise } from "./minimise.ts";
import { askPrograms, programDifferences } from "./programs.ts";
import type { QemuCpu } from "./qemu_cpu.ts";
import type { Trace } from "./trace.ts";

type Make = (seed: number, made: Made) => Case;

/** The families, and how many cases of each a round has. */
const FAMILIES: readonly (readonly [Make, number])[] = [
  [integers, 60],
  [memory, 60],
  [floats, 60],
  [csrValues, 20],
  [csrFields, 60],
  [traps, 80],
  [waits, 10],
  [words, 100],
  [borders, 80],
  [canonical, 30],
  [protection, 100],
];
/** What is tried as a whole, each number of cases with other random. */
const MATRICES: readonly (readonly [(index: number, random: Random) => Case, number])[] = [
  [csrSweep, SWEEP],
  [permissions, MATRIX],
];
/** Rounds after which it is tried again. */
const AGAIN = 24;
/** As many of such cases as one machine makes in time. */
const TOGETHER = 200;
const PROGRAMS = 100;
/** A round is executed in one of these, the next round in the next one. */
const IN_TURN: readonly Way[] = ["interpreted", "compiled", "optimized"];
/** Cases of users, most of which compiled code can make: the least part of their steps that it must have made. */
const COMPILABLE: readonly Make[] = [integers, memory, floats];
const LEAST_COMPILED = 0.8;
/** A machine that takes longer with a smaller case has met an endless loop that its original has not. */
const MINIMISING_SECONDS = 3;

export interface SessionOptions {
  readonly qemu: QemuCpu;
  readonly seed: number;
  readonly seconds: number;
  /** Rounds that are made even if the time is over. */
  readonly least: number;
  /** Whether it begins with what is tried as a whole, and tries it again now and then; default: yes. */
  readonly matrices?: boolean;
  /** Told of every round, and of differences. */
  readonly log: (line: string) => void;
  /** Whether it ends with the first difference. */
  readonly stopAtDifference: boolean;
  /** Told of what the cases execute. */
  readonly trace?: Trace;
}

/** What a session did. */
export interface SessionResult {
  readonly rounds: number;
  /** Cases by family. */
  readonly cases: ReadonlyMap<string, number>;
  /** How often each exception explained something. */
  readonly exceptions: ReadonlyMap<Exception, number>;
  /** Reproducers. */
  readonly differences: readonly string[];
}

/**
 * Runs a session: rounds, `least` of them whatever the time, and at the beginning, and later, all that is tried as a
 * whole. Equal seeds make equal cases, in the same order.
 */
export async function runSession(options: SessionOptions): Promise<SessionResult> {
  const session = new Session(options);
  const end = performance.now() + options.seconds * 1000;
  const done = () => options.stopAtDifference && session.differences.length > 0;
  let rounds = 0;
  while (!done() && (rounds < options.least || performance.now() < end)) {
    if ((options.matrices ?? true) && rounds % AGAIN === 0) await session.everything(rounds / AGAIN);
    await session.round(rounds++);
  }
  return { rounds, ...session.result() };
}

class Session {
  readonly differences: string[] = [];
  readonly #cases = new Map<string, number>();
  readonly #exceptions = new Map<Exception, number>();

  constructor(readonly options: SessionOptions) {}

  result(): Omit<SessionResult, "rounds"> {
    return {
      cases: this.#cases,
      exceptions: this.#exceptions,
      differences: this.differences,
    };
  }

  /** All accesses to CSRs, and all permissions of pages: interpreted, and a third of them, another one each time, compiled. */
  async everything(time: number): Promise<void> {
    const { seed, log } = this.options;
    for (const [make, size] of MATRICES) {
      const started = performance.now();
      const first = seed + time * size;
      const cases = Array.from({ length: size }, (_, i) => make(i, new Random(first + i)));
      await this.#compare(cases, "interpreted");
      const third = cases.filter((_, i) => (i + Math.floor(i / 3) + time) % 3 === 0);
      for (let i = 0; i < third.length; i += TOGETHER) await this.#compare(third.slice(i, i + TOGETHER), "compiled");
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      log(`${cases[0].family}: ${size} cases in ${seconds} s, ${third.length} of them compiled, too`);
    }
  }

  /** A round, in the way whose turn it is. */
  async round(number: number): Promise<void> {
    const { seed, log, qemu: { has, cpu } } = this.options;
    const way = IN_TURN[number % IN_TURN.length];
    const made = way === "interpreted" ? undefined : new Steps();
    const started = performance.now();
    let count = 0;
    for (const [make, size] of FAMILIES) {
      const first = seed + number * size;
      const cases = Array.from({ length: size }, (_, i) => make(first + i, { may: has }));
      await this.#compare(cases, way, COMPILABLE.includes(make) ? made : undefined);
      count += size;
    }
    const first = seed + number * PROGRAMS;
    const programs = Array.from({ length: PROGRAMS }, (_, i) => program(first + i, { may: has }));
    await this.#count(programs);
    for await (const found of programDifferences(programs, cpu, way, undefined, made)) {
      const ask = askPrograms(cpu, way, MINIMISING_SECONDS);
      const least = await minimise(found.program, found, ask, ({ ended }) => ended);
      this.#report(`${least.how}, ${way}\n${describe(Image.of([least.program])[0].cases[0])}`);
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const share = made ? `, ${percent(made)} of users' steps by compiled code` : "";
    log(`round ${number}, ${way}: ${count + PROGRAMS} cases in ${seconds} s${share}`);
    if (made && made.compiled < made.all * LEAST_COMPILED) {
      this.#report(`Only ${percent(made)} of the steps of round ${number} are compiled code's: not what it is to test`);
    }
  }

  async #compare(cases: readonly Case[], way: Way, made?: Steps): Promise<void> {
    const { cpu } = this.options.qemu;
    await this.#count(cases);
    const used = (exception: Exception) => this.#exceptions.set(exception, (this.#exceptions.get(exception) ?? 0) + 1);
    const ours: Peer = (image) => runHere(image, way, undefined, made);
    const ask = askPeers((image) => runHere(image, way, MINIMISING_SECONDS), qemuPeer(cpu, MINIMISING_SECONDS));
    for await (const found of differences(cases, ours, qemuPeer(cpu), used)) {
      const least = found.placed ? await minimise(found.placed.case, found, ask, ended) : found;
      if (least instanceof Unfinished) {
        this.#report(`${least.message}\n${way}`);
      } else {
        const { placed, item, ours, theirs } = least;
        this.#report(`${item} is 0x${ours.toString(16)} ${way}, by QEMU 0x${theirs.toString(16)}\n${describe(placed)}`);
      }
      if (this.options.stopAtDifference) return;
    }
  }

  #report(text: string): void {
    this.differences.push(text);
    this.options.log(text);
  }

  async #count(cases: readonly Case[]): Promise<void> {
    for (const { family } of cases) this.#cases.set(family, (this.#cases.get(family) ?? 0) + 1);
    await this.options.trace?.run(cases);
  }
}

const percent = ({ all, compiled }: Steps): string => `${(100 * compiled / all).toFixed(1)} %`;
