// Text for people: aligned columns, help pages, colours where the terminal wants them.

const style = (code: number) => (text: string): string => Deno.noColor ? text : `\x1b[${code}m${text}\x1b[0m`;

/** The colours in use; plain text under `NO_COLOR`. */
export const paint = { bold: style(1), red: style(31), cyan: style(36), dim: style(2) } as const;

/** Rows as columns two blanks apart; `tint` colours the first column after its width was counted. */
export function columns(rows: readonly (readonly string[])[], tint: (text: string) => string = (t) => t): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  return rows.map((row) =>
    row.map((cell, i) => {
      const padded = i === row.length - 1 ? cell : cell.padEnd(widths[i] + 2);
      return i === 0 ? tint(padded) : padded;
    }).join("").trimEnd()
  ).join("\n");
}

/** A help page. */
export interface Help {
  /** What the command does, in a sentence. */
  readonly about: string;
  /** Lines of usage, without the program's name. */
  readonly usage: readonly string[];
  /** Rows of the one table: what is written, and what it means. */
  readonly table: readonly (readonly [string, string])[];
  /** What is left to say. */
  readonly notes?: readonly string[];
}

/** Lays out a help page. */
export function helpPage({ about, usage, table, notes = [] }: Help): string {
  const lines = usage.map((line, i) => `${i ? "      " : "usage:"} ${paint.bold(`denovisor ${line}`)}`);
  const rows = table.map(([written, meaning]) => [`  ${written}`, meaning]);
  return [about, lines.join("\n"), columns(rows, paint.cyan), ...notes].join("\n\n");
}
