// The encoder of WebAssembly: what it writes is valid, and branch hints name the branches they were given for.

import { assert, assertEquals } from "@std/assert";
import { ModuleBuilder } from "../../../plugins/riscv/wasm/module.ts";
import { TYPE } from "../../../plugins/riscv/wasm/types.ts";

const OPCODE = { if: 0x04, brIf: 0x0d } as const;

/** The sections of a module whose lengths all fit one byte: identifier, name of a custom one, and content. */
function sections(module: Uint8Array): { id: number; name: string; content: Uint8Array }[] {
  const found = [];
  for (let at = 8; at < module.length;) {
    const [id, length] = [module[at], module[at + 1]];
    const body = module.subarray(at + 2, at + 2 + length);
    const named = id === 0 ? 1 + body[0] : 0;
    found.push({ id, name: new TextDecoder().decode(body.subarray(1, named)), content: body.subarray(named) });
    at += 2 + length;
  }
  return found;
}

Deno.test("branch hints stand in front of the code and point at the branches they were given for", () => {
  const module = new ModuleBuilder({ pages: 1, shared: false });
  const { body: f } = module.function([TYPE.i32], [TYPE.i32], "f");
  const local = f.local(TYPE.i64);
  const x = () => f.get(f.param<typeof TYPE.i32>(0));
  const block = f.openBlock();
  f.brIf(f.unlikely(f.i32.eqz(x())), block);
  f.set(local, f.const64(1));
  f.if(f.likely(x()), () => f.return(f.const32(7)));
  f.if(x(), () => f.return(f.const32(9))); // no hint
  f.close();
  f.return(f.const32(8));
  const bytes = module.bytes();
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }) },
  });
  const call = exports.f as (x: number) => number;
  assertEquals([call(0), call(1)], [8, 7]);

  const all = sections(bytes);
  const at = all.findIndex(({ name }) => name === "metadata.code.branch_hint");
  assert(at >= 0 && at < all.findIndex(({ id }) => id === 10));
  const [functions, index, count, ...hints] = all[at].content;
  assertEquals([functions, index, count, hints.length], [1, 0, 2, 6]);
  const code = all.find(({ id }) => id === 10)!.content.subarray(2); // behind the count and the body's size
  assertEquals([code[hints[0]], hints[1], hints[2]], [OPCODE.brIf, 1, 0]);
  assertEquals([code[hints[3]], hints[4], hints[5]], [OPCODE.if, 1, 1]);
});

Deno.test("a module without hints has no section of them", () => {
  const module = new ModuleBuilder({ pages: 1, shared: false });
  module.function([], [], "f");
  assertEquals(sections(module.bytes()).map(({ id }) => id), [1, 2, 3, 7, 10]);
});
