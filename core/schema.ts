// Configuration schemas: combinators that check plain data and name the place of the first fault.

/** Checks a value and gives it its type. Throws a `TypeError` or `RangeError` that names `path`. */
export interface Schema<T> {
  /** For people: `integer 1…8`, `text`, … */
  readonly wanted: string;
  /** For people: may be left out, with this default. */
  readonly optional?: { readonly fallback: unknown };
  /** For people: an object's options. */
  readonly fields?: Readonly<Record<string, Schema<unknown>>>;
  /** The value as `T`, defaults filled in. */
  parse(value: unknown, path: string): T;
}

/** How a value found is shown in an error: short, and never a whole object. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? value.slice(0, 57) + "…" : value);
  if (value === null || typeof value !== "object") return String(value);
  return Array.isArray(value) ? `a list of ${value.length}` : "an object";
}

function refuse(path: string, wanted: string, value: unknown): never {
  throw new TypeError(`Cannot configure ${path}: wanted ${wanted}, got ${show(value)}`);
}

function schema<T>(wanted: string, accept: (value: unknown) => value is T): Schema<T> {
  return { wanted, parse: (value, path) => accept(value) ? value : refuse(path, wanted, value) };
}

/** `true` or `false`. */
export const boolean: Schema<boolean> = schema("a boolean", (v) => typeof v === "boolean");

/** Any text. */
export const string: Schema<string> = schema("text", (v) => typeof v === "string");

/** A whole number within inclusive bounds. */
export function integer(
  { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {},
): Schema<number> {
  return schema(
    `a whole number from ${min} to ${max}`,
    (v): v is number => typeof v === "number" && Number.isSafeInteger(v) && v >= min && v <= max,
  );
}

/** One of the given texts. */
export function oneOf<const T extends string>(...choices: readonly T[]): Schema<T> {
  return schema(`one of ${choices.map((c) => JSON.stringify(c)).join(", ")}`, (v): v is T => choices.includes(v as T));
}

const UNITS: Record<string, number> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** A number of bytes: a whole number, or text such as `"64K"`, `"256M"`, `"2G"`. */
export const byteSize: Schema<number> = {
  wanted: 'a size such as 4096, "64K", "256M" or "2G"',
  parse(value, path) {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    const match = typeof value === "string" ? /^(\d{1,12})([KMG]?)(?:i?B)?$/i.exec(value.trim()) : null;
    if (!match) return refuse(path, this.wanted, value);
    return Number(match[1]) * UNITS[match[2].toUpperCase()];
  },
};

/** A list whose items all have one schema. */
export function list<T>(item: Schema<T>): Schema<T[]> {
  return {
    wanted: `a list, each item ${item.wanted}`,
    parse(value, path) {
      if (!Array.isArray(value)) return refuse(path, this.wanted, value);
      return value.map((v, i) => item.parse(v, `${path}[${i}]`));
    },
  };
}

/** Bytes. */
export const bytes: Schema<Uint8Array> = schema("bytes (a Uint8Array)", (v) => v instanceof Uint8Array);

/** A value that may be left out. */
export function optional<T>(inner: Schema<T>): Schema<T | undefined>;
/** A value with a default. */
export function optional<T>(inner: Schema<T>, fallback: T): Schema<T>;
export function optional<T>(inner: Schema<T>, fallback?: T): Schema<T | undefined> {
  return {
    wanted: inner.wanted,
    optional: { fallback },
    parse: (v, path) => v === undefined ? fallback : inner.parse(v, path),
  };
}

/** An object with exactly these keys; an unknown key is refused. */
export function object<S extends Record<string, Schema<unknown>>>(
  shape: S,
): Schema<{ [K in keyof S]: S[K] extends Schema<infer T> ? T : never }> {
  const keys = Object.keys(shape);
  return {
    wanted: keys.length ? `an object with ${keys.join(", ")}` : "an empty object",
    fields: shape,
    parse(value, path) {
      if (typeof value !== "object" || value === null || Array.isArray(value)) refuse(path, this.wanted, value);
      const given = value as Record<string, unknown>;
      for (const key of Object.keys(given)) {
        if (!keys.includes(key)) {
          const known = keys.length ? `known: ${keys.join(", ")}` : "it takes none";
          const name = /^[\w-]{1,60}$/.test(key) ? `.${key}` : `[${show(key)}]`;
          throw new TypeError(`Cannot configure ${path}${name}: no such option (${known})`);
        }
      }
      return Object.fromEntries(keys.map((key) => [key, shape[key].parse(given[key], `${path}.${key}`)])) as never;
    },
  };
}
