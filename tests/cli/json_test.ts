// cli/json.ts: the place of a mistake.

import { assertEquals, assertThrows } from "@std/assert";
import { JsonError, parseJson } from "../../cli/json.ts";

const MISTAKES: readonly [text: string, place: string][] = [
  ["", "1:1: wanted a value, got the end"],
  ["{", "1:2: wanted a name in double quotes, got the end"],
  ["{a: 1}", '1:2: wanted a name in double quotes, got "a"'],
  ['{"a": 1,}', '1:9: wanted a name in double quotes, got "}"'],
  ['{"a": 1\n "b": 2}', '2:2: wanted "," or "}", got "\\"b\\""'],
  ['{"a" 1}', '1:6: wanted ":", got "1"'],
  ["[1, 2", '1:6: wanted "," or "]", got the end'],
  ["[01]", '1:2: wanted a value, got "01"'],
  ['{\n  "memory": 256M\n}', '2:13: wanted a value, got "256M"'],
  ["[1] 2", '1:5: wanted the end of the text, got "2"'],
];

for (const [text, place] of MISTAKES) {
  Deno.test(`JSON ${JSON.stringify(text)} is refused with its place`, () => {
    assertEquals(assertThrows(() => parseJson(text, "m.json"), JsonError).message, `Cannot read m.json:${place}`);
  });
}

Deno.test("JSON without a mistake is read", () => {
  const text = '{"a": [1, -2.5e3, "x\\u0041", true, null], "b": {}}';
  assertEquals(parseJson(text, "m.json"), { a: [1, -2500, "xA", true, null], b: {} });
});
