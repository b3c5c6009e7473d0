// Plain data: checked, cloned, and turned into bytes and back.

import type { Bytes, Plain } from "./plugin.ts";
import { show } from "./schema.ts";

const TAG = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  number: 4,
  bigint: 5,
  string: 6,
  bytes: 7,
  list: 8,
  object: 9,
} as const;

const isObject = (value: Plain): value is { [key: string]: Plain } =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** Throws a `TypeError` that names the place of the first part of `value` that is not plain data. */
export function checkPlain(value: unknown, path: string, within: readonly object[] = []): asserts value is Plain {
  if (typeof value === "function" || typeof value === "symbol") {
    throw new TypeError(`Cannot keep ${path}: wanted plain data, got a ${typeof value}`);
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if (within.includes(value)) throw new TypeError(`Cannot keep ${path}: wanted plain data, got a circle`);
  if (Array.isArray(value)) {
    return value.forEach((item, index) => checkPlain(item, `${path}[${index}]`, [...within, value]));
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    const kind = (value as object).constructor?.name ?? "object";
    throw new TypeError(`Cannot keep ${path}: wanted plain data, got a ${kind}`);
  }
  for (const [key, item] of Object.entries(value)) checkPlain(item, `${path}.${key}`, [...within, value]);
}

/** A copy that shares nothing with `value`. */
export function clonePlain<T extends Plain>(value: T): T;
export function clonePlain(value: Plain): Plain {
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map((item) => clonePlain(item));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, clonePlain(item)]));
}

/** Bytes that {@linkcode decodePlain} turns back; equal values give equal bytes. */
export function encodePlain(value: Plain): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.value(value);
  return writer.done();
}

/** The value that `bytes` hold. Throws a `RangeError` where they are cut off or not of this format. */
export function decodePlain(bytes: Bytes): Plain {
  const reader = new Reader(bytes);
  const value = reader.value();
  if (reader.left > 0) throw new RangeError(`Cannot decode state: ${reader.left} bytes are left over`);
  return value;
}

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  value(value: Plain): void {
    if (value === undefined) this.#tag("undefined");
    else if (value === null) this.#tag("null");
    else if (typeof value === "boolean") this.#tag(value ? "true" : "false");
    else if (typeof value === "number") {
      this.#tag("number");
      const at = this.#grow(8);
      this.#view.setFloat64(at, value);
    } else if (typeof value === "bigint") {
      this.#tag("bigint");
      this.#text(value.toString(16));
    } else if (typeof value === "string") {
      this.#tag("string");
      this.#text(value);
    } else if (value instanceof Uint8Array) {
      this.#tag("bytes");
      this.#count(value.length);
      const at = this.#grow(value.length);
      this.#bytes.set(value, at);
    } else if (Array.isArray(value)) {
      this.#tag("list");
      this.#count(value.length);
      for (const item of value) this.value(item);
    } else if (isObject(value)) {
      this.#tag("object");
      const keys = Object.keys(value).sort();
      this.#count(keys.length);
      for (const key of keys) {
        this.#text(key);
        this.value(value[key]);
      }
    } else throw new TypeError(`Cannot encode state: wanted plain data, got ${show(value)}`);
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #tag(tag: keyof typeof TAG): void {
    const at = this.#grow(1);
    this.#bytes[at] = TAG[tag];
  }

  #count(count: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, count);
  }

  #text(text: string): void {
    this.#count(text.length);
    const at = this.#grow(2 * text.length);
    for (let i = 0; i < text.length; i++) this.#view.setUint16(at + 2 * i, text.charCodeAt(i));
  }

  /** Makes room for `length` bytes and tells where it is. The room may be in another buffer than before. */
  #grow(length: number): number {
    const at = this.#length;
    this.#length += length;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.#length)));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Lists and objects in each other: far more than any state has. */
const MAX_DEPTH = 500;

class Reader {
  readonly #bytes: Bytes;
  readonly #view: DataView;
  #at = 0;
  #depth = 0;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  value(): Plain {
    const tag = this.#view.getUint8(this.#take(1));
    switch (tag) {
      case TAG.undefined:
        return undefined;
      case TAG.null:
        return null;
      case TAG.false:
        return false;
      case TAG.true:
        return true;
      case TAG.number:
        return this.#view.getFloat64(this.#take(8));
      case TAG.bigint:
        return this.#bigint();
      case TAG.string:
        return this.#text();
      case TAG.bytes: {
        const length = this.#count();
        const at = this.#take(length);
        return this.#bytes.slice(at, at + length);
      }
      case TAG.list: {
        const items: Plain[] = [];
        this.#deeper();
        for (let count = this.#count(); count > 0; count--) items.push(this.value());
        this.#depth--;
        return items;
      }
      case TAG.object: {
        const entries: [string, Plain][] = [];
        this.#deeper();
        for (let count = this.#count(); count > 0; count--) entries.push([this.#text(), this.value()]);
        this.#depth--;
        return Object.fromEntries(entries);
      }
      default:
        throw new RangeError(`Cannot decode state: wanted a tag from 0 to 9 at byte ${this.#at - 1}, got ${tag}`);
    }
  }

  #deeper(): void {
    if (++this.#depth > MAX_DEPTH) {
      throw new RangeError(`Cannot decode state: wanted at most ${MAX_DEPTH} lists in each other at byte ${this.#at}`);
    }
  }

  #bigint(): bigint {
    const text = this.#text();
    if (!/^-?[0-9a-f]+$/.test(text)) throw new RangeError(`Cannot decode state: wanted a bigint, got ${show(text)}`);
    return text.startsWith("-") ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`);
  }

  #count(): number {
    return this.#view.getUint32(this.#take(4));
  }

  #text(): string {
    const length = this.#count();
    const at = this.#take(2 * length);
    let text = "";
    for (let i = 0; i < length; i++) text += String.fromCharCode(this.#view.getUint16(at + 2 * i));
    return text;
  }

  #take(length: number): number {
    if (length > this.left) {
      throw new RangeError(`Cannot decode state: wanted ${length} bytes at byte ${this.#at}, got ${this.left}`);
    }
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
