// Finds mirrors of Debian's archive among the host's own package sources (sources.list(5), apt-config(8)).

import { join } from "@std/path";

/** A line or a stanza of the host's package sources. */
export interface PackageSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
}

const SCHEMES = ["http:", "https:", "file:"];
/** Suites that hold only a part of an archive. */
const PARTIAL_SUITE = /[-/](updates|security|backports|proposed|proposed-updates|backports-sloppy)(\/|$)|\/$/;

/** The sources in the one-line format, as of `sources.list`. */
export function parseSourcesList(text: string): PackageSource[] {
  return text.split("\n").flatMap((line) => {
    const words = line.replace(/#.*/, "").replace(/\[[^\]]*\]/, "").trim().split(/\s+/);
    const [type, uri, suite, ...components] = words;
    return type === "deb" && suite ? [{ uri, suite, components }] : [];
  });
}

/** The sources in the deb822 format, as of `debian.sources`. */
export function parseDeb822Sources(text: string): PackageSource[] {
  const withoutComments = text.replace(/^#.*\n?/gm, "");
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const words = (field: string) =>
      new RegExp(`^${field}:(.*(?:\n[ \t].*)*)`, "im").exec(stanza)?.[1].trim().split(/\s+/).filter(Boolean) ?? [];
    if (!words("Types").includes("deb") || /^(no|false|0|off|disable)$/i.test(words("Enabled")[0] ?? "yes")) return [];
    const components = words("Components");
    return words("URIs").flatMap((uri) => words("Suites").map((suite) => ({ uri, suite, components })));
  });
}

/**
 * Addresses that may serve Debian's main archive, likeliest first, each without a slash at its end.
 * A `mirror+file:` list of mirrors is read by `readFile`.
 */
export function mirrorsOf(sources: readonly PackageSource[], readFile: (path: string) => string): string[] {
  const whole = sources.filter(({ suite, components }) => components.includes("main") && !PARTIAL_SUITE.test(suite));
  const uris = whole.flatMap(({ uri }) => {
    const list = /^mirror\+file:(?:\/\/)?(\/.*)/.exec(uri)?.[1];
    if (!list) return [uri];
    return readFile(list).split("\n").map((line) => line.replace(/#.*/, "").trim().split(/\s+/)[0]);
  });
  const served = uris.map(normalized).filter((uri) => SCHEMES.some((scheme) => uri.startsWith(scheme)));
  return [...new Set(served)];
}

/** An address as it is put before `/dists`. */
export function normalized(uri: string): string {
  return uri.replace(/^file:(?=\/[^/])/, "file://").replace(/\/+$/, "");
}

/** The mirrors that the host's package manager is set up with; none on a host without apt. */
export async function hostMirrors(): Promise<string[]> {
  const { list, parts } = await sourcePaths();
  const files = [list];
  try {
    for (const { name } of Deno.readDirSync(parts)) if (/\.(list|sources)$/.test(name)) files.push(join(parts, name));
  } catch {
    // No such folder: the one file may do.
  }
  const sources = files.sort().flatMap((path) => {
    const parse = path.endsWith(".sources") ? parseDeb822Sources : parseSourcesList;
    return parse(readIfThere(path));
  });
  return mirrorsOf(sources, readIfThere);
}

/** Where apt itself says that its sources are, or where they are by default. */
async function sourcePaths(): Promise<{ list: string; parts: string }> {
  let settings = "";
  try {
    const asked = ["shell", "list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d"];
    const { stdout } = await new Deno.Command("apt-config", { args: asked, stderr: "null" }).output();
    settings = new TextDecoder().decode(stdout);
  } catch {
    // No apt here, or no permission to run it.
  }
  return {
    list: /^list='(.*)'$/m.exec(settings)?.[1] ?? "/etc/apt/sources.list",
    parts: /^parts='(.*)'$/m.exec(settings)?.[1] ?? "/etc/apt/sources.list.d",
  };
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
