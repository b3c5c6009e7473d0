// Readers of files before inputs that are nearly right: a result or one clear error, soon.

import { assert, assertLess } from "@std/assert";
import { Random } from "../../cli/fuzz/random.ts";
import { mutate } from "./mutate.ts";

/** DENOVISOR_FUZZ_SEED and DENOVISOR_FUZZ_CASES choose other inputs, and more. */
export const SEED = Number(Deno.env.get("DENOVISOR_FUZZ_SEED") ?? 1);
const CASES = Number(Deno.env.get("DENOVISOR_FUZZ_CASES") ?? 400);
/** Milliseconds for one input, on a host with other work to do. */
export const SLOW = 2000;

/** A reader of files, something valid for it, and the errors that it may throw. */
export interface Parser {
  readonly valid: readonly Uint8Array[];
  read(bytes: Uint8Array<ArrayBuffer>): unknown;
  /** Their messages are one line. */
  readonly errors: readonly (abstract new (...args: never[]) => Error)[];
  readonly message: RegExp;
  /** A reader that is slower gets fewer inputs. */
  readonly share?: number;
}

/** Registers the parser's test. */
export function testNearlyRight(name: string, parser: Parser): void {
  Deno.test(`${name} that are nearly right give a result or one clear error`, async () => {
    for (const valid of parser.valid) await parser.read(new Uint8Array(valid));
    let refused = 0;
    const cases = Math.ceil(CASES / (parser.share ?? 1));
    for (let seed = SEED; seed < SEED + cases; seed++) {
      const random = new Random(seed);
      const bytes = mutate(random.pick(parser.valid), random);
      const started = performance.now();
      try {
        await parser.read(bytes);
      } catch (error) {
        refused++;
        const { message } = error as Error;
        const clear = parser.errors.some((kind) => error instanceof kind) && parser.message.test(message);
        assert(clear && !message.includes("\n") && message.length < 500, `DENOVISOR_FUZZ_SEED=${seed}: ${error}`);
        // Too little memory is never the file's fault, whatever the parser makes of it.
        for (let cause = error; cause instanceof Error; cause = cause.cause) {
          assert(!cause.message.includes("allocation failed"), `DENOVISOR_FUZZ_SEED=${seed}: ${cause}`);
        }
      }
      const took = performance.now() - started;
      assertLess(took, SLOW, `DENOVISOR_FUZZ_SEED=${seed}: ${bytes.length} bytes took ${took} ms`);
    }
    if (parser.errors.length > 0) assert(refused > 0, `none of ${cases} was refused`);
  });
}
