// Checks a cleartext-signed archive index with the host's gpgv (RFC 9580 section 7; gnupg, doc/DETAILS, status lines).

import { ImageError } from "./errors.ts";

/** What a signed text says, and whether its signature was checked. */
export interface SignedText {
  /** Only what the signature covers. */
  readonly text: string;
  /** Why the signature could not be checked; undefined when it is good. */
  readonly unchecked?: string;
}

/** Where Debian and its derivatives keep the keys of Debian's archive. */
const KEYRINGS = [
  "/usr/share/keyrings/debian-archive-keyring.gpg",
  "/usr/share/keyrings/debian-archive-keyring.pgp",
  "/etc/apt/trusted.gpg.d/debian-archive-keyring.gpg",
];

const CLEARSIGNED =
  /^-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:.+\r?\n)*\r?\n([^]*?)\r?\n-----BEGIN PGP SIGNATURE-----/m;

/**
 * Checks the file at `path`, for a person who knows it as `label`.
 * Throws an {@linkcode ImageError} when it is not signed or its signature is wrong; when it cannot be checked, for want
 * of gpgv, of a keyring or of the key, the answer says so.
 */
export async function checkSignature(
  path: string,
  label: string,
  keyrings: readonly string[] = KEYRINGS,
): Promise<SignedText> {
  const text = clearText(await Deno.readTextFile(path));
  if (text === undefined) throw new ImageError(`${label} is not signed: give another --mirror`);
  const known = keyrings.filter(isFile);
  if (!known.length) return { text, unchecked: "there is no keyring of Debian's archive on this host" };

  let output: Deno.CommandOutput;
  try {
    const keys = known.flatMap((keyring) => ["--keyring", keyring]);
    const args = [...keys, "--status-fd", "2", "--output", "-", path];
    output = await new Deno.Command("gpgv", { args, stdout: "piped", stderr: "piped" }).output();
  } catch {
    return { text, unchecked: "gpgv is not on this host" };
  }
  const status = new TextDecoder().decode(output.stderr);
  const says = (...words: readonly string[]) => words.some((word) => status.includes(`[GNUPG:] ${word} `));
  if (says("BADSIG")) throw new ImageError(`The signature of ${label} is wrong: give another --mirror`);
  if (says("GOODSIG") && says("VALIDSIG")) return { text: new TextDecoder().decode(output.stdout) };
  if (says("NO_PUBKEY")) return { text, unchecked: "this host's keyring is too old to know the key" };
  if (says("EXPKEYSIG", "EXPSIG")) return { text, unchecked: "it has expired, or its key has" };
  throw new ImageError(`The signature of ${label} makes no sense to gpgv: give another --mirror`);
}

/** The text between a cleartext signature's header and its armor. */
function clearText(signed: string): string | undefined {
  return CLEARSIGNED.exec(signed)?.[1].replace(/^- /gm, "");
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
