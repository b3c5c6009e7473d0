// JSON with the place of its first mistake, as line:column (RFC 8259).

/** Text that is not JSON. */
export class JsonError extends SyntaxError {
  override readonly name = "JsonError";
}

// deno-lint-ignore no-control-regex -- text must not hold control characters as they are
const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/;
const WORD = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/;
const TOKEN = new RegExp(String.raw`[ \t\r\n]*(?:([{}[\],:])|(${TEXT.source})|${WORD.source})`, "y");

/** Lists and objects in each other, as far as faults are looked for. */
const MAX_DEPTH = 1000;

/** Where the text stops being JSON, and what was wanted there. */
function firstFault(text: string): { at: number; wanted: string } {
  let at = 0;
  let depth = 0;
  const next = (): { kind: string; start: number } => {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) return { kind: "none", start: at + /^[ \t\r\n]*/.exec(text.slice(at))![0].length };
    at = TOKEN.lastIndex;
    const length = match[0].trimStart().length;
    return { kind: match[1] ?? (match[2] ? "text" : "word"), start: at - length };
  };
  const refuse = (start: number, wanted: string): never => {
    throw { at: start, wanted };
  };
  const member = (token: { kind: string; start: number }): void => {
    if (token.kind !== "text") refuse(token.start, "a name in double quotes");
    const colon = next();
    if (colon.kind !== ":") refuse(colon.start, '":"');
    value(next());
  };
  const items = (close: string, item: (token: { kind: string; start: number }) => void): void => {
    const first = next();
    if (first.kind === close) return;
    item(first);
    for (;;) {
      const { kind, start } = next();
      if (kind === close) return;
      if (kind !== ",") refuse(start, `"," or "${close}"`);
      item(next());
    }
  };
  const value = (token: { kind: string; start: number }): void => {
    if (token.kind === "{" || token.kind === "[") {
      if (++depth > MAX_DEPTH) refuse(token.start, `at most ${MAX_DEPTH} lists and objects in each other`);
      if (token.kind === "{") items("}", member);
      else items("]", value);
      depth--;
    } else if (token.kind !== "text" && token.kind !== "word") refuse(token.start, "a value");
  };
  try {
    value(next());
    return { at: next().start, wanted: "the end of the text" };
  } catch (fault) {
    return fault as { at: number; wanted: string };
  }
}

/**
 * Reads JSON. Throws a {@linkcode JsonError} such as `Cannot read m.json:3:14: wanted "," or "}", got "x"`.
 * `name` is the file's name or the option's.
 */
export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const { at, wanted } = firstFault(text);
    const before = text.slice(0, at).split("\n");
    const got = at < text.length
      ? JSON.stringify(text.slice(at).split(/[\s,:\]}]/, 1)[0].slice(0, 20) || text[at])
      : "the end";
    throw new JsonError(
      `Cannot read ${name}:${before.length}:${before.at(-1)!.length + 1}: wanted ${wanted}, got ${got}`,
    );
  }
}
