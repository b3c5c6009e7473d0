// What control flow says of a region's blocks: where they go, what they may cost, what still holds where they start.

import { type Block, type BlockEnd, type Region, successors } from "./region.ts";
import { analyse, type Structure } from "./structure.ts";

/** A region as a graph: its nodes are the places of its blocks in it. */
export class RegionFlow {
  readonly blocks: readonly Block[];
  readonly structure: Structure;
  /** The blocks in loops that call nothing. */
  readonly tight: ReadonlySet<number>;
  /** The most instructions from each block to the next check of the budget. */
  readonly longest: readonly number[];
  readonly #nodes: ReadonlyMap<number, number>;
  /** Where control goes from each block within the region. */
  readonly #successors: readonly (readonly number[])[];
  /** Blocks that end with a call, and all blocks that control may come to behind it. */
  readonly #calls: readonly { readonly call: number; readonly reaches: ReadonlySet<number> }[];

  constructor(region: Region) {
    this.blocks = [...region.values()];
    this.#nodes = new Map(this.blocks.map((block, i) => [block.offset, i]));
    const nodes = (end: BlockEnd) => successors(end).flatMap((offset) => this.#nodes.get(offset) ?? []);
    this.#successors = this.blocks.map(({ end }) => nodes(end));
    const cases = new Set(this.blocks.flatMap(({ end }) => end.kind === "switch" ? nodes(end) : []));
    this.structure = analyse({ successors: this.#successors, cases });
    this.#calls = this.structure.order
      .filter((node) => this.#endsWithCall(node))
      .map((call) => ({ call, reaches: this.#reachableFrom(call) }));
    this.tight = this.#findTightLoops();
    this.longest = this.#findLongest();
  }

  /** The block at an offset of the page, if the region has one. */
  nodeAt(offset: number): number | undefined {
    return this.#nodes.get(offset);
  }

  /** How many blocks end with a call. */
  get calls(): number {
    return this.#calls.length;
  }

  /** Whether a call comes back to this region. */
  comesBack(end: BlockEnd): boolean {
    return end.kind === "call" && this.#nodes.has(end.next);
  }

  /** The block at whose end all holds that holds when `node` starts: its dominator, unless a call may come in between. */
  inherits(node: number): number | undefined {
    const { parent, merges, loops, dominates } = this.structure;
    if (node === 0) return undefined;
    const from = parent[node];
    if (this.#endsWithCall(from)) return undefined;
    const joins = merges.has(node) || loops.has(node);
    const called = joins && this.#calls.some(({ call, reaches }) => dominates(from, call) && reaches.has(node));
    return called ? undefined : from;
  }

  #endsWithCall(node: number): boolean {
    return this.blocks[node].end.kind === "call";
  }

  #reachableFrom(node: number): Set<number> {
    const reached = new Set<number>();
    const work = [node];
    for (let at = work.pop(); at !== undefined; at = work.pop()) {
      for (const next of this.#successors[at]) {
        if (!reached.has(next)) work.push(next);
        reached.add(next);
      }
    }
    return reached;
  }

  /** In the order, a loop lies from its header to the last block that goes back to it. */
  #findTightLoops(): Set<number> {
    const { loops, place, order, isBack } = this.structure;
    const tight = new Set<number>();
    for (const header of loops) {
      const last = order.findLastIndex((n) => this.#successors[n].includes(header) && isBack(n, header));
      const body = order.slice(place[header], last + 1);
      if (!body.some((n) => this.#endsWithCall(n))) body.forEach((n) => tight.add(n));
    }
    return tight;
  }

  #findLongest(): number[] {
    const { loops, place, order } = this.structure;
    const longest: number[] = [];
    for (const node of order.toReversed()) {
      const ahead = this.#endsWithCall(node)
        ? []
        : this.#successors[node].filter((to) => !loops.has(to) && place[to] > place[node]);
      longest[node] = this.blocks[node].instructions.length + Math.max(0, ...ahead.map((to) => longest[to]));
    }
    return longest;
  }
}
