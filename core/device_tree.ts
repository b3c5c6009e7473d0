// Device trees and their flattened form (FDT version 17): Devicetree Specification 0.4, sections 2.2 and 5.

import type { Bytes } from "./plugin.ts";

/** One element of a cell list: a 32-bit number, a bigint (64 bits, two cells) or the phandle of a node. */
export type Cell = number | bigint | TreeNode;

/**
 * A property's value. `true` is an empty property, and `false` none at all; a number is one cell, a bigint two;
 * a node stands for its phandle.
 */
export type PropertyValue = boolean | Cell | string | Bytes | readonly string[] | readonly Cell[];

/** A node of a device tree. Another node's property refers to it by holding it. */
export interface TreeNode {
  /** With its unit address, e.g. `"serial@10000000"`; the root's is empty. */
  readonly name: string;
  /** Values by property name, in the order of the blob. */
  readonly properties: Record<string, PropertyValue>;
  /** The nodes below it, in the order of the blob. */
  readonly children: TreeNode[];
}

/**
 * Makes a node.
 *
 * @example A tree for a board to give to its guest
 * ```ts
 * import { decodeTree, encodeTree, formatTree, node } from "@denovisor/denovisor";
 *
 * const serial = node("serial@10000000", { compatible: "ns16550a", reg: [0x10000000n, 0x100n] });
 * const blob = encodeTree(node("", { "#address-cells": 2, "#size-cells": 2 }, [
 *   node("aliases", { serial0: "/serial@10000000" }),
 *   serial,
 *   node("example", { uart: serial }), // by its phandle
 * ]));
 * console.log(formatTree(decodeTree(blob)));
 * ```
 */
export function node(
  name: string,
  properties: Record<string, PropertyValue> = {},
  children: TreeNode[] = [],
): TreeNode {
  return { name, properties, children };
}

const MAGIC = 0xd00dfeed;
const VERSION = 17;
const LAST_COMPATIBLE_VERSION = 16;
/** Byte offsets of the header's fields. */
const HEADER = {
  magic: 0,
  totalsize: 4,
  off_dt_struct: 8,
  off_dt_strings: 12,
  off_mem_rsvmap: 16,
  version: 20,
  last_comp_version: 24,
  boot_cpuid_phys: 28,
  size_dt_strings: 32,
  size_dt_struct: 36,
  size: 40,
} as const;
const TOKEN = { BEGIN_NODE: 1, END_NODE: 2, PROP: 3, NOP: 4, END: 9 } as const;
const RESERVE_MAP_BYTES = 16;
const MAX_DEPTH = 64;
/** Characters of a name; the specification has 31. */
const MAX_NAME = 255;

// ---------------------------------------------------------------- values

/** The bytes of ASCII text, with the NUL that ends it. */
function text(value: string, place: string): number[] {
  const codes = Array.from(value, (character) => character.codePointAt(0)!);
  const bad = codes.find((code) => code === 0 || code > 127);
  if (bad !== undefined) {
    throw new RangeError(`Cannot encode ${place}: wanted ASCII text, got the character U+${bad.toString(16)}`);
  }
  return [...codes, 0];
}

/** The characters of ASCII bytes. */
function characters(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

function word(value: number): number[] {
  return [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255];
}

function cell(value: Cell | string, phandles: Map<TreeNode, number>, place: string): number[] {
  if (typeof value === "string") throw new TypeError(`Cannot encode ${place}: wanted text or cells, got a mixture`);
  if (typeof value === "object") return word(phandles.get(value)!);
  const bits = typeof value === "bigint" ? 64 : 32;
  if (typeof value === "number" ? !(value >= 0 && value === value >>> 0) : value !== BigInt.asUintN(64, value)) {
    throw new RangeError(`Cannot encode ${place}: wanted an unsigned ${bits}-bit number, got ${value}`);
  }
  return typeof value === "number"
    ? word(value)
    : [...word(Number(value >> 32n)), ...word(Number(value & 0xffffffffn))];
}

function isBytes(value: PropertyValue): value is Bytes {
  return value instanceof Uint8Array;
}

function isList(value: PropertyValue): value is readonly string[] | readonly Cell[] {
  return Array.isArray(value);
}

function valueBytes(value: PropertyValue, phandles: Map<TreeNode, number>, place: string): ArrayLike<number> {
  if (isBytes(value)) return value;
  if (typeof value === "boolean") return [];
  if (typeof value === "string") return text(value, place);
  if (!isList(value)) return cell(value, phandles, place);
  return value.length && value.every((item) => typeof item === "string")
    ? value.flatMap((item) => text(item, place))
    : (value as readonly Cell[]).flatMap((item) => cell(item, phandles, place));
}

/** The nodes that a value refers to. */
function references(value: PropertyValue): TreeNode[] {
  const items: readonly unknown[] = isList(value) ? value : [value];
  return items.filter((item): item is TreeNode => typeof item === "object" && !(item instanceof Uint8Array));
}

/** Every node with its path, parents first. */
function* walk(tree: TreeNode, path = "", depth = 0): Generator<{ tree: TreeNode; path: string }> {
  if (depth > MAX_DEPTH) throw new RangeError(`Cannot encode a device tree deeper than ${MAX_DEPTH} nodes`);
  yield { tree, path: path || "/" };
  for (const child of tree.children) yield* walk(child, `${path}/${child.name}`, depth + 1);
}

/** Numbers the nodes that are referred to, in the order of the references. */
function numberReferences(root: TreeNode): Map<TreeNode, number> {
  const nodes = [...walk(root)];
  const known = new Set(nodes.map(({ tree }) => tree));
  const phandles = new Map<TreeNode, number>();
  for (const { tree, path } of nodes) {
    for (const [name, value] of Object.entries(tree.properties)) {
      for (const target of references(value)) {
        if (!known.has(target)) {
          throw new TypeError(`Cannot encode ${path}: ${name} refers to "${target.name}", which is not in the tree`);
        }
        if (!phandles.has(target)) phandles.set(target, phandles.size + 1);
      }
    }
  }
  return phandles;
}

/** A node's properties as bytes, its phandle included. */
function encodedProperties(
  tree: TreeNode,
  path: string,
  phandles: Map<TreeNode, number>,
): [name: string, value: ArrayLike<number>][] {
  const phandle = phandles.get(tree);
  return [
    ...Object.entries(tree.properties)
      .filter(([, value]) => value !== false)
      .map(([name, value]): [string, ArrayLike<number>] => [name, valueBytes(value, phandles, `${path} ${name}`)]),
    ...phandle === undefined ? [] : [["phandle", word(phandle)] as [string, ArrayLike<number>]],
  ];
}

// ---------------------------------------------------------------- writing

const NODE_NAME = /^[0-9A-Za-z,._+@-]+$/;
const PROPERTY_NAME = /^[0-9A-Za-z,._+?#-]+$/;

function checkNames(tree: TreeNode, path: string): void {
  const names = new Set<string>();
  for (const { name } of tree.children) {
    if (!NODE_NAME.test(name)) throw new RangeError(`Cannot encode ${path}: "${name}" is no name for a node`);
    if (names.has(name)) throw new RangeError(`Cannot encode ${path}: two nodes are named "${name}"`);
    names.add(name);
  }
  for (const name of Object.keys(tree.properties)) {
    if (!PROPERTY_NAME.test(name)) throw new RangeError(`Cannot encode ${path}: "${name}" is no name for a property`);
  }
}

/** Bytes that grow, in big-endian words. */
class Writer {
  #bytes = new Uint8Array(4096);
  length = 0;

  put(bytes: ArrayLike<number>): void {
    if (this.length + bytes.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * (this.length + bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  word(value: number): void {
    this.put(word(value));
  }

  /** Zeroes up to the next word. */
  align(): void {
    this.put(new Uint8Array(-this.length & 3));
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }
}

/**
 * Flattens a tree into the blob that a guest is given: nodes that others refer to get their phandles, and the memory
 * reservations are empty. The same tree gives the same bytes.
 *
 * @throws {TypeError} for a value of the wrong shape, or a reference to a node outside of the tree.
 * @throws {RangeError} for a name, a number or a text that a device tree can not hold.
 */
export function encodeTree(root: TreeNode): Uint8Array<ArrayBuffer> {
  const phandles = numberReferences(root);
  const structure = new Writer();
  const strings = new Writer();
  const names = new Map<string, number>();

  function nameOffset(name: string): number {
    const known = names.get(name);
    if (known !== undefined) return known;
    const offset = strings.length;
    names.set(name, offset);
    strings.put(text(name, name));
    return offset;
  }

  function writeNode(tree: TreeNode, path: string): void {
    checkNames(tree, path || "/");
    structure.word(TOKEN.BEGIN_NODE);
    structure.put(text(tree.name, path));
    structure.align();
    for (const [name, value] of encodedProperties(tree, path || "/", phandles)) {
      structure.word(TOKEN.PROP);
      structure.word(value.length);
      structure.word(nameOffset(name));
      structure.put(value);
      structure.align();
    }
    for (const child of tree.children) writeNode(child, `${path}/${child.name}`);
    structure.word(TOKEN.END_NODE);
  }

  writeNode(root, "");
  structure.word(TOKEN.END);

  const structureAt = HEADER.size + RESERVE_MAP_BYTES;
  const stringsAt = structureAt + structure.length;
  const blob = new Writer();
  blob.word(MAGIC);
  blob.word(stringsAt + strings.length);
  blob.word(structureAt);
  blob.word(stringsAt);
  blob.word(HEADER.size);
  blob.word(VERSION);
  blob.word(LAST_COMPATIBLE_VERSION);
  blob.word(0); // The boot CPU.
  blob.word(strings.length);
  blob.word(structure.length);
  blob.put(new Uint8Array(RESERVE_MAP_BYTES)); // The entry of zeroes that ends an empty reservation map.
  blob.put(structure.finish());
  blob.put(strings.finish());
  return blob.finish();
}

// ---------------------------------------------------------------- reading

/**
 * Reads a flattened tree. Every property's value is given as its bytes; memory reservations are left out.
 *
 * @throws {RangeError} for bytes that are no device tree, or a broken one.
 */
export function decodeTree(blob: Bytes): TreeNode {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const broken = (why: string): RangeError => new RangeError(`Cannot read the device tree: ${why}`);

  if (blob.length < HEADER.size || view.getUint32(HEADER.magic) !== MAGIC) throw broken("it does not begin with one");
  const field = (at: number): number => view.getUint32(at);
  const version = field(HEADER.version);
  if (version < VERSION || field(HEADER.last_comp_version) > VERSION) {
    throw broken(`wanted version ${VERSION}, got version ${version}`);
  }
  const structure = { at: field(HEADER.off_dt_struct), size: field(HEADER.size_dt_struct) };
  const strings = { at: field(HEADER.off_dt_strings), size: field(HEADER.size_dt_strings) };
  for (const block of [structure, strings]) {
    if (block.at + block.size > Math.min(field(HEADER.totalsize), blob.length)) throw broken("it is cut off");
  }
  const end = structure.at + structure.size;
  let at = structure.at;

  function nextWord(): number {
    if (at + 4 > end) throw broken("its structure does not end");
    at += 4;
    return view.getUint32(at - 4);
  }
  function textAt(from: number, limit: number): string {
    const nul = blob.subarray(0, limit).indexOf(0, from);
    if (from >= limit || nul < 0) throw broken("it has a name that does not end");
    // Many properties may share one name: what they share must be short.
    if (nul - from > MAX_NAME) throw broken(`it has a name of more than ${MAX_NAME} characters`);
    return characters(blob.subarray(from, nul));
  }

  type Open = { name: string; properties: [string, Bytes][]; children: TreeNode[] };
  const top: Open = { name: "", properties: [], children: [] };
  const open: Open[] = [top];
  for (let token = nextWord(); token !== TOKEN.END; token = nextWord()) {
    const current = open[open.length - 1];
    if (token === TOKEN.BEGIN_NODE) {
      if (open.length > MAX_DEPTH) throw broken(`it is deeper than ${MAX_DEPTH} nodes`);
      const name = textAt(at, end);
      at += name.length + 4 & ~3;
      open.push({ name, properties: [], children: [] });
    } else if (token === TOKEN.PROP) {
      const length = nextWord();
      const name = textAt(strings.at + nextWord(), strings.at + strings.size);
      if (length > end - at) throw broken(`its property ${name} is cut off`);
      current.properties.push([name, blob.slice(at, at + length)]);
      at += Math.ceil(length / 4) * 4;
    } else if (token === TOKEN.END_NODE) {
      if (current === top) throw broken("a node ends that did not begin");
      open.pop();
      open[open.length - 1].children.push(
        node(current.name, Object.fromEntries(current.properties), current.children),
      );
    } else if (token !== TOKEN.NOP) throw broken(`it has the unknown token ${token}`);
  }
  if (open.length !== 1 || top.children.length !== 1) throw broken("it does not hold one whole root");
  return top.children[0];
}

// ---------------------------------------------------------------- printing

/** Whether bytes look like one or more texts, each ended by a NUL. */
function looksLikeText(bytes: ArrayLike<number>): boolean {
  return bytes.length > 1 && bytes[bytes.length - 1] === 0 &&
    Array.from(bytes).every((byte, i) => byte === 0 ? i > 0 && bytes[i - 1] !== 0 : byte >= 0x20 && byte < 0x7f);
}

function formatValue(bytes: ArrayLike<number>): string {
  const hex = (value: number): string => value.toString(16);
  if (looksLikeText(bytes)) {
    const texts = characters(bytes).slice(0, -1).split("\0");
    return texts.map((value) => `"${value.replace(/["\\]/g, "\\$&")}"`).join(", ");
  }
  if (bytes.length % 4) return `[${Array.from(bytes, (byte) => hex(byte).padStart(2, "0")).join(" ")}]`;
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return `<${Array.from({ length: bytes.length / 4 }, (_, i) => `0x${hex(view.getUint32(4 * i))}`).join(" ")}>`;
}

/**
 * A tree as device-tree source text, which `dtc` takes. The types of values read from a blob are guessed.
 *
 * @throws {TypeError | RangeError} for a tree that {@linkcode encodeTree} refuses the values of.
 */
export function formatTree(root: TreeNode): string {
  const phandles = numberReferences(root);

  function lines(tree: TreeNode, path: string): string[] {
    const properties = encodedProperties(tree, path, phandles)
      .map(([name, value]) => value.length ? `\t${name} = ${formatValue(value)};` : `\t${name};`);
    const children = tree.children.map((child) =>
      lines(child, `${path}/${child.name}`).map((line) => line && `\t${line}`)
    );
    const parts = [...properties.length ? [properties] : [], ...children];
    return [`${tree.name || "/"} {`, ...parts.flatMap((part, i) => i ? ["", ...part] : part), "};"];
  }

  return ["/dts-v1/;", "", ...lines(root, ""), ""].join("\n");
}
