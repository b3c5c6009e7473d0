// Reads a Debian archive's indexes and finds packages in them (Debian wiki, RepositoryFormat; deb822(5)).

import type { Expected } from "./download.ts";
import { ImageError } from "./errors.ts";

/** What an archive's `Release` file tells. */
export interface Release {
  readonly origin: string;
  readonly codename: string;
  /** The files of the release, by path. */
  readonly files: ReadonlyMap<string, Expected>;
}

/** A package of an archive's index. */
export interface Package extends Expected {
  readonly name: string;
  readonly version: string;
  /** Below the mirror's address. */
  readonly path: string;
  readonly depends: string;
}

/** Characters that an index tells of one package: far more than any archive does. */
const MAX_STANZA = 1 << 20;

/** Reads a `Release` file's text. */
export function parseRelease(text: string): Release {
  const files = new Map<string, Expected>();
  for (const line of (field(text, "SHA256") ?? "").split("\n")) {
    const [sha256, size, path] = line.trim().split(/\s+/);
    if (path) files.set(path, { sha256, size: Number(size) });
  }
  return { origin: field(text, "Origin") ?? "", codename: field(text, "Codename") ?? "", files };
}

/** The packages with a name that is `wanted`, out of a `Packages` file that is never held whole. */
export async function findPackages(
  index: AsyncIterable<Uint8Array>,
  wanted: (name: string) => boolean,
): Promise<Package[]> {
  const decoder = new TextDecoder();
  const found: Package[] = [];
  const take = (stanza: string) => {
    const name = field(stanza, "Package");
    if (name !== undefined && wanted(name)) found.push(parsePackage(name, stanza));
  };
  let rest = "";
  for await (const piece of index) {
    const stanzas = (rest + decoder.decode(piece, { stream: true })).split("\n\n");
    rest = stanzas.pop()!;
    if (rest.length > MAX_STANZA) {
      throw new ImageError("The archive's index holds a package without an end: give another --mirror");
    }
    stanzas.forEach(take);
  }
  take(rest);
  return found;
}

/**
 * The package of that name; of several versions the one that `version` names, or else the last.
 * Throws an {@linkcode ImageError} if there is none.
 */
export function onePackage(packages: readonly Package[], name: string, version?: string): Package {
  const found = packages.findLast((each) => each.name === name && (version ?? each.version) === each.version);
  if (found) return found;
  const which = version === undefined ? name : `${name} ${version}`;
  throw new ImageError(`The archive has no package ${which} for this machine type: give another --mirror`);
}

/** The first dependency whose name is `wanted`, and its version where the dependency demands one. */
export function dependency(
  { name, depends }: Package,
  wanted: (name: string) => boolean,
): { name: string; version?: string } {
  for (const alternative of depends.split(/[,|]/)) {
    const [, found, version] = /^\s*([a-z0-9][a-z0-9.+-]*)(?::\w+)?\s*(?:\(\s*=\s*([^)\s]+)\s*\))?/.exec(alternative) ??
      [];
    if (found && wanted(found)) return version ? { name: found, version } : { name: found };
  }
  throw new ImageError(`The package ${name} depends on no kernel: give another --mirror`);
}

function parsePackage(name: string, stanza: string): Package {
  const of = (key: string): string => {
    const value = field(stanza, key);
    if (value === undefined) {
      throw new ImageError(
        `The archive's index tells no ${key} of ${name.split("\n", 1)[0].slice(0, 60)}: give another --mirror`,
      );
    }
    return value;
  };
  return {
    name,
    version: of("Version"),
    path: of("Filename"),
    size: Number(of("Size")),
    sha256: of("SHA256"),
    depends: field(stanza, "Depends") ?? "",
  };
}

/** A field's value, its continuation lines included. */
function field(stanza: string, name: string): string | undefined {
  const start = stanza.startsWith(`${name}:`) ? 0 : stanza.indexOf(`\n${name}:`) + 1;
  if (start === 0 && !stanza.startsWith(`${name}:`)) return undefined;
  const value = stanza.slice(start + name.length + 1);
  const end = value.search(/\n(?![ \t])/);
  return (end < 0 ? value : value.slice(0, end)).trim();
}
