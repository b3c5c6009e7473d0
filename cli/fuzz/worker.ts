// The worker that fuzzes: a device that hangs hangs no more than this.

import type { PluginUse } from "../../mod.ts";
import { sentence } from "../errors.ts";
import { fuzz, type FuzzOptions, type Report } from "./fuzz.ts";
import { loadSubject } from "./subject.ts";

/** What the worker is to do. */
export interface Order {
  readonly use: PluginUse;
  readonly backends: Readonly<Record<string, PluginUse>>;
  readonly options: FuzzOptions;
  /** Three shared numbers of 32 bits: steps begun, the case, its step. */
  readonly pulse: SharedArrayBuffer;
}

/** What comes of it. */
export type Answer = { readonly report: Report } | { readonly refused: string };

interface WorkerScope {
  onmessage: ((event: { data: Order }) => void) | null;
  postMessage(answer: Answer): void;
}
const scope = globalThis as unknown as WorkerScope;

scope.onmessage = async ({ data: { use, backends, options, pulse } }) => {
  const now = new Int32Array(pulse);
  const progress = (seed: number, step: number): void => {
    now[1] = seed;
    now[2] = step;
    Atomics.add(now, 0, 1);
  };
  try {
    scope.postMessage({
      report: await fuzz(await loadSubject(use, { backends }), { ...options, progress }),
    });
  } catch (error) {
    scope.postMessage({ refused: sentence(error) });
  }
};
