// A stand-in for @std/cli/parse-args: the options that are used here, with the same outcomes.

/** What {@linkcode parseArgs} is told. */
export interface ParseOptions<B extends string, S extends string, C extends string> {
  readonly boolean?: readonly B[];
  readonly string?: readonly S[];
  readonly collect?: readonly C[];
  readonly alias?: Readonly<Record<string, string>>;
  readonly stopEarly?: boolean;
  /** Sees each option and operand that is not declared; `false` drops it. */
  readonly unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** What {@linkcode parseArgs} gives. */
export type Args<B extends string, S extends string, C extends string> =
  & { _: string[] }
  & { [K in B]: boolean }
  & { [K in Exclude<S, C | "_">]?: string }
  & { [K in C]: string[] };

/** Sorts arguments into declared options and operands (`_`). */
export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
>(
  args: readonly string[],
  options: ParseOptions<B, S, C> = {},
): Args<B, S, C> {
  const booleans = new Set<string>(options.boolean);
  const strings = new Set<string>(options.string);
  const collected = new Set<string>(options.collect);
  const operands: string[] = [];
  const found: Record<string, unknown> = { _: operands };
  for (const name of booleans) found[name] = false;
  for (const name of collected) found[name] = [];

  const keep = (key: string, value: unknown): void => {
    if (collected.has(key)) (found[key] as unknown[]).push(value);
    else found[key] = value;
  };
  const operand = (arg: string): void => {
    if (options.unknown?.(arg) !== false) operands.push(arg);
  };

  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "--") {
      operands.push(...args.slice(i + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      if (options.stopEarly) {
        operands.push(...args.slice(i));
        break;
      }
      operand(arg);
      continue;
    }
    const [, written, given] = /^--?([^=]+)(?:=([^]*))?$/.exec(arg)!;
    const key = options.alias?.[written] ?? written;
    if (booleans.has(key)) {
      keep(key, given !== "false");
    } else if (strings.has(key)) {
      const next = args[i + 1];
      const takesNext = given === undefined && next !== undefined && !next.startsWith("-");
      keep(key, given ?? (takesNext ? args[++i] : ""));
    } else if (options.unknown?.(arg, key, given) !== false) {
      keep(key, given ?? true);
    }
  }
  return found as Args<B, S, C>;
}
