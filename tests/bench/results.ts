// What was measured, and how it is shown: one table, a line to a measurement, with ratios to QEMU.

import type { Contestant } from "./contestants.ts";

/** What a measurement should reach, at most. Both are better the lower they are. */
export interface Wanted {
  /** Denovisor's cost over QEMU's. */
  readonly ratio?: number;
  /** Denovisor's cost. */
  readonly cost?: number;
}

/** How costs are shown to people. */
export interface Unit {
  show(cost: number): string;
  /** How a cost that is at most some other one stands to it when shown. */
  readonly bound: "≤" | "≥";
}

/** A measurement. Its samples are costs: lower is better. */
export interface Row {
  readonly name: string;
  readonly unit: Unit;
  readonly wanted?: Wanted;
}

/** Measurements that belong together. */
export interface Group {
  readonly name: string;
  readonly rows: readonly Row[];
  /** What the geometric mean of the rows' ratios should reach, at most. */
  readonly mean?: number;
}

/** A cost in seconds. */
export const SECONDS: Unit = { show: (cost) => `${digits(cost)} s`, bound: "≤" };
/** A cost in nanoseconds. */
export const NANOSECONDS: Unit = { show: (cost) => `${digits(cost)} ns`, bound: "≤" };
/** A cost in millions of bytes. */
export const MEGABYTES: Unit = { show: (cost) => `${digits(cost)} MB`, bound: "≤" };
const RATIO: Unit = { show: (cost) => `${cost}×`, bound: "≤" };

/** A cost in seconds for `amount` of something, shown as so much a second. */
export function rate(amount: number, name: string): Unit {
  return { show: (cost) => `${digits(amount / cost)} ${name}`, bound: "≥" };
}

/** Three digits that count. */
function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

type Name = Contestant["name"];

/** Best and median of samples, or of their ratios. */
interface Summary {
  readonly best: number;
  readonly median: number;
}

function summary(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { best: sorted[0], median };
}

/** Collects samples. */
export class Results {
  readonly #samples = new Map<Row, Partial<Record<Name, number[]>>>();

  /** Adds a round's cost. */
  add(row: Row, contestant: Name, cost: number): void {
    const samples = this.#samples.get(row) ?? {};
    (samples[contestant] ??= []).push(cost);
    this.#samples.set(row, samples);
    console.error(`  ${contestant.padEnd(10)} ${row.name.padEnd(28)} ${row.unit.show(cost)}`);
  }

  /** The table, of all groups that were measured. */
  table(groups: readonly Group[]): string {
    const lines = [["", "denovisor", "", "QEMU", "", "÷ QEMU", "", "wanted", ""]];
    lines.push(["", "best", "median", "best", "median", "best", "median", "", ""]);
    for (const { name, rows, mean } of groups) {
      const measured = rows.filter((row) => this.#samples.has(row));
      if (measured.length === 0) continue;
      lines.push([name]);
      for (const row of measured) lines.push(this.#line(row));
      if (mean !== undefined) lines.push(this.#mean(measured, mean));
    }
    return align(lines);
  }

  #line(row: Row): string[] {
    const { ours, theirs, ratio } = this.#summaries(row);
    const pair = (summary: Summary | undefined, unit: Pick<Unit, "show">): string[] =>
      summary ? [unit.show(summary.best), unit.show(summary.median)] : ["–", "–"];
    const { wanted } = row;
    return [
      `  ${row.name}`,
      ...pair(ours, row.unit),
      ...pair(theirs, row.unit),
      ...pair(ratio, { show: digits }),
      ...verdict([
        { summary: ours, limit: wanted?.cost, unit: row.unit },
        { summary: ratio, limit: wanted?.ratio, unit: RATIO },
      ]),
    ];
  }

  #mean(rows: readonly Row[], limit: number): string[] {
    const ratios = rows.map((row) => this.#summaries(row).ratio).filter((ratio) => ratio !== undefined);
    if (ratios.length === 0) return [];
    const mean = (values: number[]): number =>
      Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);
    const summary = { best: mean(ratios.map(({ best }) => best)), median: mean(ratios.map(({ median }) => median)) };
    return [
      "  geometric mean",
      ...["", "", "", ""],
      ...[digits(summary.best), digits(summary.median)],
      ...verdict([{ summary, limit, unit: RATIO }]),
    ];
  }

  #summaries(row: Row): { ours?: Summary; theirs?: Summary; ratio?: Summary } {
    const { denovisor, QEMU } = this.#samples.get(row)!;
    const ours = denovisor && summary(denovisor);
    const theirs = QEMU && summary(QEMU);
    const ratio = ours && theirs && { best: ours.best / theirs.best, median: ours.median / theirs.median };
    return { ours, theirs, ratio };
  }
}

/** What is wanted, and whether it is reached: by the median, by the best alone, or not. */
function verdict(
  limits: readonly { summary?: Summary; limit?: number; unit: Unit }[],
): [string, string] {
  const set = limits.filter(({ limit }) => limit !== undefined);
  const marks = set.map(({ summary, limit }) => {
    if (!summary) return "";
    return summary.median <= limit! ? "yes" : summary.best <= limit! ? "at best" : "no";
  });
  return [set.map(({ limit, unit }) => `${unit.bound} ${unit.show(limit!)}`).join(", "), marks.join(", ")];
}

function align(lines: readonly string[][]): string {
  const columns = Math.max(...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, i) => {
    const cells = lines.filter((line) => line.length > 1).map((line) => line[i]?.length ?? 0);
    return Math.max(0, ...cells);
  });
  return lines.map((line) =>
    line.map((cell, i) => i === 0 || i >= columns - 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ")
      .trimEnd()
  ).join("\n");
}
