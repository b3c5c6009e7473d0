// A WebAssembly module under construction: types, imports, functions, exports (core specification 3.0, section 5.5).

import { ByteBuffer } from "./bytes.ts";
import { type Callee, FunctionBuilder, type Signature } from "./function.ts";
import type { ValueType } from "./types.ts";

/** Builds one module over one imported memory (`env.memory`). Imports come before functions. */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #signatures: Signature[] = [];
  readonly #imports: { name: string; type: number }[] = [];
  readonly #functions: { builder: FunctionBuilder; type: number; name?: string }[] = [];

  constructor(private readonly memory: { pages: number; shared: boolean }) {}

  /** An imported function, `env.NAME`. */
  import(name: string, params: ValueType[], results: ValueType[] = []): Callee {
    if (this.#functions.length) throw new Error(`import ${name} comes after a function`);
    this.#imports.push({ name, type: this.#type({ params, results }) });
    return { index: this.#imports.length - 1, params, results };
  }

  /** A new function, exported where a name is given. */
  function(params: ValueType[], results: ValueType[], name?: string): { callee: Callee; body: FunctionBuilder } {
    const builder = new FunctionBuilder({ params, results });
    const index = this.#imports.length + this.#functions.length;
    this.#functions.push({ builder, type: this.#type({ params, results }), name });
    return { callee: { index, params, results }, body: builder };
  }

  /** The module in the binary format. */
  bytes(): Uint8Array<ArrayBuffer> {
    const out = new ByteBuffer();
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, count: number, write: (into: ByteBuffer) => void) => {
      const body = new ByteBuffer();
      body.unsigned(count);
      write(body);
      out.byte(id);
      out.unsigned(body.length);
      out.append(body.bytes);
    };
    section(1, this.#signatures.length, (s) => {
      for (const { params, results } of this.#signatures) {
        s.byte(0x60);
        for (const list of [params, results]) {
          s.unsigned(list.length);
          for (const type of list) s.byte(type);
        }
      }
    });
    section(2, this.#imports.length + 1, (s) => {
      for (const { name, type } of this.#imports) {
        s.name("env");
        s.name(name);
        s.byte(0x00);
        s.unsigned(type);
      }
      s.name("env");
      s.name("memory");
      s.byte(0x02);
      s.byte(this.memory.shared ? 0x03 : 0x01);
      s.unsigned(this.memory.pages);
      s.unsigned(this.memory.pages);
    });
    section(3, this.#functions.length, (s) => this.#functions.forEach((f) => s.unsigned(f.type)));
    const exported = this.#functions.flatMap((f, i) => f.name ? [{ name: f.name, index: i }] : []);
    section(7, exported.length, (s) => {
      for (const { name, index } of exported) {
        s.name(name);
        s.byte(0x00);
        s.unsigned(this.#imports.length + index);
      }
    });
    section(10, this.#functions.length, (s) => this.#functions.forEach((f) => f.builder.write(s)));
    return out.bytes.slice();
  }

  #type(signature: Signature): number {
    const key = `${signature.params}>${signature.results}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    this.#signatures.push(signature);
    return this.#types.push(key) - 1;
  }
}
