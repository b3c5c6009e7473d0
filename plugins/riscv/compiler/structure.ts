// Structured control flow from a control-flow graph, by its dominator tree (Ramsey, "Beyond Relooper", ICFP 2022).

/** A graph of numbered nodes; node 0 is the entry. */
export interface Graph {
  /** Successors of each node, by number. */
  readonly successors: readonly (readonly number[])[];
  /** Nodes that a table of branches leads to: these need places to branch to. */
  readonly cases?: ReadonlySet<number>;
}

/** What is known of a graph before code is written for it. */
export interface Structure {
  /** Nodes in reverse postorder, and each node's place in it (-1 for one that is not reached). */
  readonly order: readonly number[];
  readonly place: readonly number[];
  /** Nodes with a back edge to them. */
  readonly loops: ReadonlySet<number>;
  /** Nodes that more than one forward edge reaches, or a table of branches. */
  readonly merges: ReadonlySet<number>;
  /** Each node's immediate dominator, and the children in the tree of these. */
  readonly parent: readonly number[];
  readonly children: readonly (readonly number[])[];
  dominates(a: number, b: number): boolean;
  /** Whether an edge goes back to a node that dominates its origin. */
  isBack(from: number, to: number): boolean;
  /** Whether an edge goes back to a node that does not: no structured code can follow it. */
  isIrreducible(from: number, to: number): boolean;
}

/** Analyses a graph. */
export function analyse({ successors, cases }: Graph): Structure {
  const order = reversePostorder(successors);
  const place: number[] = Array(successors.length).fill(-1);
  order.forEach((node, i) => place[node] = i);
  const predecessors: number[][] = successors.map(() => []);
  for (const node of order) for (const next of successors[node]) predecessors[next].push(node);

  // Immediate dominators, by iteration over the reverse postorder (Cooper, Harvey and Kennedy).
  const parent: number[] = Array(successors.length).fill(-1);
  parent[0] = 0;
  const common = (a: number, b: number): number => {
    while (a !== b) {
      while (place[a] > place[b]) a = parent[a];
      while (place[b] > place[a]) b = parent[b];
    }
    return a;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (const node of order.slice(1)) {
      const known = predecessors[node].filter((p) => parent[p] >= 0);
      const dominator = known.reduce(common);
      if (parent[node] !== dominator) {
        parent[node] = dominator;
        changed = true;
      }
    }
  }
  const dominates = (a: number, b: number): boolean => {
    while (place[b] > place[a]) b = parent[b];
    return a === b;
  };

  const children: number[][] = successors.map(() => []);
  for (const node of order.slice(1)) children[parent[node]].push(node);
  const goesBack = (from: number, to: number): boolean => place[to] <= place[from];
  const isBack = (from: number, to: number): boolean => goesBack(from, to) && dominates(to, from);
  const isIrreducible = (from: number, to: number): boolean => goesBack(from, to) && !dominates(to, from);
  const loops = new Set<number>();
  const merges = new Set<number>();
  for (const node of order) {
    if (predecessors[node].some((from) => isBack(from, node))) loops.add(node);
    const forward = predecessors[node].filter((from) => !goesBack(from, node)).length;
    if (forward > 1 || forward && cases?.has(node)) merges.add(node);
  }
  return { order, place, loops, merges, parent, children, dominates, isBack, isIrreducible };
}

function reversePostorder(successors: readonly (readonly number[])[]): number[] {
  const order: number[] = [];
  const seen = new Set([0]);
  const stack: { node: number; next: number }[] = [{ node: 0, next: 0 }];
  while (stack.length) {
    const top = stack[stack.length - 1];
    const to = successors[top.node][top.next++];
    if (to === undefined) {
      order.push(top.node);
      stack.pop();
    } else if (!seen.has(to)) {
      seen.add(to);
      stack.push({ node: to, next: 0 });
    }
  }
  return order.reverse();
}

/** What {@linkcode writeStructured} asks of whoever writes the code. */
export interface Writer {
  openBlock(): number;
  openLoop(): number;
  close(): void;
  br(label: number): void;
  /** Starts a node: code that runs each time control comes to it. */
  body(node: number): void;
  /**
   * Ends a node: calls `to` with each place where control goes on, or asks `label` for the label of one that a table of
   * branches leads to; there is none for one that can not be reached so.
   */
  end(node: number, to: (node: number) => void, label: (node: number) => number | undefined): void;
  /** Leaves for a node that can not be reached by structured code. */
  leaveFor(node: number): void;
}

/** Writes a graph's code: blocks for merges, loops for back edges. */
export function writeStructured(structure: Structure, writer: Writer): void {
  const loopLabels = new Map<number, number>();
  const blockLabels = new Map<number, number>();

  const write = (node: number): void => {
    // A merge node's code stands behind a block that ends in front of it; the last one's block is outermost.
    const merges = structure.children[node]
      .filter((child) => structure.merges.has(child))
      .sort((a, b) => structure.place[b] - structure.place[a]);
    if (structure.loops.has(node)) {
      loopLabels.set(node, writer.openLoop());
      within(node, merges);
      writer.close();
    } else {
      within(node, merges);
    }
  };
  const within = (node: number, merges: number[]): void => {
    const [last, ...rest] = merges;
    if (last === undefined) {
      writer.body(node);
      writer.end(node, (to) => branch(node, to), (to) => label(node, to));
      return;
    }
    blockLabels.set(last, writer.openBlock());
    within(node, rest);
    writer.close();
    write(last);
  };
  const label = (from: number, to: number): number | undefined => {
    if (structure.isBack(from, to)) return loopLabels.get(to);
    return structure.isIrreducible(from, to) ? undefined : blockLabels.get(to);
  };
  const branch = (from: number, to: number): void => {
    if (structure.isBack(from, to)) writer.br(loopLabels.get(to)!);
    else if (structure.isIrreducible(from, to)) writer.leaveFor(to);
    else if (structure.merges.has(to)) writer.br(blockLabels.get(to)!);
    else write(to);
  };
  write(0);
}
