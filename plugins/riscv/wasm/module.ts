// A WebAssembly module under construction: types, imports, functions, exports (core specification 3.0, section 5.5; branch hints: the
// code metadata framework, as of the branch hinting proposal).

import { ByteBuffer } from "./bytes.ts";
import { type Callee, FunctionBuilder, type Signature, type SignatureIndex } from "./function.ts";
import type { ValueType } from "./types.ts";

/** What a module imports besides functions: `env.memory`, and `env.table` where indirect calls are made. */
export interface Environment {
  readonly pages: number;
  readonly shared: boolean;
  readonly table?: boolean;
}

/** Builds one module over one imported memory. Imports come before functions. */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #signatures: Signature[] = [];
  readonly #imports: { name: string; type: number }[] = [];
  readonly #functions: { builder: FunctionBuilder; type: number }[] = [];
  readonly #exports: { name: string; index: number }[] = [];

  constructor(private readonly environment: Environment) {}

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
    this.#functions.push({ builder, type: this.#type({ params, results }) });
    const callee = { index, params, results };
    if (name) this.export(name, callee);
    return { callee, body: builder };
  }

  /** Exports a function, imported ones included. */
  export(name: string, callee: Callee): void {
    this.#exports.push({ name, index: callee.index });
  }

  /** A signature for indirect calls. */
  signature(params: ValueType[], results: ValueType[]): SignatureIndex {
    return { index: this.#type({ params, results }), params, results };
  }

  /** The module in the binary format. */
  bytes(): Uint8Array<ArrayBuffer> {
    const out = new ByteBuffer();
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, count: number, write: (into: ByteBuffer) => void, name?: string) => {
      const body = new ByteBuffer();
      if (name !== undefined) body.name(name);
      body.unsigned(count);
      write(body);
      out.byte(id);
      out.unsigned(body.length);
      out.append(body.bytes);
    };
    const custom = (name: string, count: number, write: (into: ByteBuffer) => void) => {
      if (count) section(0, count, write, name);
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
    section(2, this.#imports.length + 1 + Number(!!this.environment.table), (s) => {
      for (const { name, type } of this.#imports) {
        s.name("env");
        s.name(name);
        s.byte(0x00);
        s.unsigned(type);
      }
      s.name("env");
      s.name("memory");
      s.byte(0x02);
      s.byte(this.environment.shared ? 0x03 : 0x01);
      s.unsigned(this.environment.pages);
      s.unsigned(this.environment.pages);
      if (!this.environment.table) return;
      s.name("env");
      s.name("table");
      s.append(Uint8Array.of(0x01, 0x70, 0x00, 0x00)); // of function references, of any size
    });
    section(3, this.#functions.length, (s) => this.#functions.forEach((f) => s.unsigned(f.type)));
    section(7, this.#exports.length, (s) => {
      for (const { name, index } of this.#exports) {
        s.name(name);
        s.byte(0x00);
        s.unsigned(index);
      }
    });
    const hinted = this.#functions.map(({ builder }, i) => ({
      index: this.#imports.length + i,
      hints: builder.hints(),
    }))
      .filter(({ hints }) => hints.length);
    custom("metadata.code.branch_hint", hinted.length, (s) => {
      for (const { index, hints } of hinted) {
        s.unsigned(index);
        s.unsigned(hints.length);
        for (const { offset, likely } of hints) {
          s.unsigned(offset);
          s.unsigned(1);
          s.byte(Number(likely));
        }
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
