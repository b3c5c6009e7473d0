// Mirrors of Debian's archive in package sources of both formats.

import { assertEquals } from "@std/assert";
import {
  mirrorsOf,
  normalized,
  type PackageSource,
  parseDeb822Sources,
  parseSourcesList,
} from "../../../cli/images/mirror.ts";

const NO_FILES = (): string => "";

function source(uri: string, suite: string, ...components: string[]): PackageSource {
  return { uri, suite, components };
}

Deno.test("parseSourcesList reads lines with options and comments", () => {
  assertEquals(
    parseSourcesList(`
# deb http://off.example/debian trixie main
deb http://one.example/debian trixie main contrib # the usual
deb [ arch=amd64 signed-by=/usr/share/keyrings/a.gpg ] https://two.example/debian/ trixie main
deb-src http://one.example/debian trixie main
\tdeb\thttp://tab.example/debian  trixie  main
deb http://flat.example/packages ./
`),
    [
      source("http://one.example/debian", "trixie", "main", "contrib"),
      source("https://two.example/debian/", "trixie", "main"),
      source("http://tab.example/debian", "trixie", "main"),
      source("http://flat.example/packages", "./"),
    ],
  );
});

Deno.test("parseDeb822Sources reads stanzas with several addresses and suites", () => {
  assertEquals(
    parseDeb822Sources(`# a comment
Types: deb deb-src
# another one
URIs: http://one.example/debian
 http://two.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main

types: deb-src
uris: http://source.example/debian
suites: trixie
components: main
`),
    [
      source("http://one.example/debian", "trixie", "main"),
      source("http://one.example/debian", "trixie-updates", "main"),
      source("http://two.example/debian", "trixie", "main"),
      source("http://two.example/debian", "trixie-updates", "main"),
    ],
  );
});

Deno.test("mirrorsOf leaves out suites and sources that hold no main archive", () => {
  const sources = [
    source("http://security.example/debian-security", "trixie-security", "main"),
    source("http://security.example/", "buster/updates", "main"),
    source("http://one.example/debian/", "trixie-updates", "main"),
    source("http://one.example/debian/", "bookworm", "main", "contrib"),
    source("http://one.example/debian", "trixie", "main"),
    source("http://back.example/debian", "trixie-backports", "main"),
    source("http://tool.example/apt", "stable", "tool"),
    source("http://flat.example/apt", "./", "main"),
    source("cdrom:[Debian]/", "trixie", "main"),
    source("file:/srv/debian", "trixie", "main"),
  ];
  assertEquals(mirrorsOf(sources, NO_FILES), ["http://one.example/debian", "file:///srv/debian"]);
});

Deno.test("mirrorsOf reads lists of mirrors", () => {
  const lists: Record<string, string> = {
    "/etc/apt/mirrors/debian.list":
      "# near ones\nhttp://near.example/debian\tpriority:1\n\nhttp://far.example/debian\n",
  };
  assertEquals(
    mirrorsOf([source("mirror+file:/etc/apt/mirrors/debian.list", "trixie", "main")], (path) => lists[path]),
    ["http://near.example/debian", "http://far.example/debian"],
  );
  assertEquals(
    mirrorsOf([source("mirror+file:///etc/apt/mirrors/debian.list", "trixie", "main")], (path) => lists[path]).length,
    2,
  );
});

Deno.test("normalized takes slashes off the end and gives file addresses their authority", () => {
  assertEquals(normalized("http://one.example/debian//"), "http://one.example/debian");
  assertEquals(normalized("file:/srv/debian/"), "file:///srv/debian");
  assertEquals(normalized("file:///srv/debian"), "file:///srv/debian");
});
