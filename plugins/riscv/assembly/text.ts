// The characters of assembly text: quotes, comments, lists, escapes (Using as, section 3).

/** What is wrong with a line; the assembler adds which line it is. */
export class Fault extends Error {}

/** A text or a character in quotes, in which separators and comment signs mean nothing. */
const QUOTED = String.raw`"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'`;
const BEFORE_COMMENT = new RegExp(`^(?:${QUOTED}|(?!#|//).)*`, "s");
const ATOM = new RegExp(`${QUOTED}|.`, "gs");
const ESCAPES: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, 0: 0, "\\": 92, '"': 34, "'": 39 };

/** A line without its comment. */
export function withoutComment(line: string): string {
  return BEFORE_COMMENT.exec(line)![0].trim();
}

/** The trimmed pieces between separators, of which quotes hide theirs; none of an empty text. */
export function split(text: string, separator: ";" | ","): string[] {
  if (text.trim() === "") return [];
  const pieces = [""];
  for (const [atom] of text.matchAll(ATOM)) {
    if (atom === separator) pieces.push("");
    else pieces[pieces.length - 1] += atom;
  }
  return pieces.map((piece) => piece.trim());
}

/** The bytes of a quoted text, in UTF-8. */
export function textBytes(quoted: string): number[] {
  const inside = /^"((?:\\.|[^"\\])*)"$/s.exec(quoted)?.[1];
  if (inside === undefined) throw new Fault(`wanted a text in double quotes, got ${quoted || "nothing"}`);
  return [...inside.matchAll(/\\(.)|([^\\]+)/gs)].flatMap(([, escaped, plain]) =>
    plain === undefined ? escape(escaped) : [...new TextEncoder().encode(plain)]
  );
}

/** The number of a character in single quotes. */
export function characterCode(quoted: string): number {
  const inside = quoted.slice(1, -1);
  return inside[0] === "\\" ? escape(inside[1]) : inside.codePointAt(0)!;
}

function escape(letter: string): number {
  const code = ESCAPES[letter];
  if (code === undefined) throw new Fault(`wanted one of ${Object.keys(ESCAPES).join(" ")} after \\, got ${letter}`);
  return code;
}
