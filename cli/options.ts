// Command-line options: one table says how a command's options are read and how its help shows them.

import { parseArgs } from "@std/cli/parse-args";

/** What is wrong with the command line, in a sentence for the person who wrote it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An option of a command. */
export interface Option {
  readonly name: string;
  /** What stands for the value in help; an option without it is a flag. */
  readonly value?: string;
  /** Whether it may be given several times. */
  readonly many?: true;
  /** What it means, in a line. */
  readonly text: string;
}

/** A command line that was read. */
export interface Parsed {
  readonly flags: ReadonlySet<string>;
  /** The value of an option, if it was given. */
  one(name: string): string | undefined;
  /** All values of an option. */
  all(name: string): readonly string[];
  readonly operands: readonly string[];
}

const HELP: Option = { name: "help", text: "this page" };

/** The rows of a help page for these options. */
export function optionRows(options: readonly Option[]): [string, string][] {
  return [...options, HELP].map(({ name, value, many, text }) => [
    `--${name}${value ? ` ${value}` : ""}${many ? " …" : ""}`,
    text,
  ]);
}

/**
 * Reads a command's arguments.
 * Throws a {@linkcode UsageError} for an option not in the table, a missing value, or one given twice.
 */
export function parseOptions(args: readonly string[], options: readonly Option[], command: string): Parsed {
  const known = [...options, HELP];
  const valued = known.filter((o) => o.value).map((o) => o.name);
  const flags = known.filter((o) => !o.value).map((o) => o.name);
  const hint = `see denovisor ${command} --help`;
  const found = parseArgs([...args], {
    string: [...valued, "_"],
    collect: valued,
    boolean: flags,
    alias: { h: "help" },
    unknown(arg, key) {
      if (key !== undefined) throw new UsageError(`There is no option ${arg.split("=")[0]}: ${hint}`);
    },
  }) as unknown as Record<string, boolean | string[] | undefined> & { _: string[] };

  const all = (name: string): readonly string[] => (found[name] as string[] | undefined) ?? [];
  for (const { name, value, many } of options) {
    if (!value) continue;
    if (all(name).length > 1 && !many) throw new UsageError(`--${name} was given ${all(name).length} times: ${hint}`);
    if (all(name).includes("") && name !== "append") throw new UsageError(`--${name} wants ${value}: ${hint}`);
  }
  return {
    flags: new Set(flags.filter((name) => found[name])),
    one: (name) => all(name)[0],
    all,
    operands: found._.map(String),
  };
}

/** Refuses operands where a command takes none. */
export function noOperands({ operands }: Parsed, command: string): void {
  if (operands.length) {
    throw new UsageError(
      `${operands[0]} is one word too many for denovisor ${command}: see denovisor ${command} --help`,
    );
  }
}

/** Reads a whole or decimal number of an option within inclusive bounds. */
export function numberOf(name: string, text: string, { min, whole }: { min: number; whole: boolean }): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value < min || (whole && !Number.isSafeInteger(value))) {
    throw new UsageError(
      `--${name} wants a ${whole ? "whole " : ""}number from ${min} on, got ${JSON.stringify(text)}`,
    );
  }
  return value;
}
