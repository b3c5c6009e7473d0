// Which code is hot: what jumps reach often within a short time, or very often in all.

/** The interpreter's counters tell of each part of the threshold, so that what they count has a time. */
const PARTS = 3;
/** Runs of the engine that are a short time: some 100 million instructions of a guest that is busy. */
const WINDOW = 256;
/** So many thresholds make hot whatever time they took. */
const AT_ANY_PACE = 4;
/** Entries that are known as warm, at the most; beyond, all begin anew. */
const MAX_WARM = 0x4000;

/** Parts that were told of. */
interface Warmth {
  /** The window in which the last one was, how many were in that one, and in all. */
  window: number;
  recent: number;
  total: number;
}

/**
 * Tells hot entries of predecoded pages from warm ones. What is going to run on and on comes to the threshold at once,
 * mostly; of what takes long to be reached so often, little is ever worth compiling.
 */
export class Heat {
  /** Entries by jumps after which a counter tells of it. */
  readonly part: number;
  readonly #parts: number;
  readonly #warm = new Map<number, Warmth>();
  #runs = 0;
  #window = 0;

  /** `threshold`: entries by jumps within a short time that make code hot. */
  constructor(readonly threshold: number) {
    this.part = Math.ceil(threshold / PARTS);
    this.#parts = Math.ceil(threshold / this.part);
  }

  /** A counter told of an entry: whether it is hot by now. It is as cold as any other one then. */
  rises(entry: number): boolean {
    const { window, recent, total } = this.#warm.get(entry) ?? { window: 0, recent: 0, total: 0 };
    const warmth = { window: this.#window, recent: window === this.#window ? recent + 1 : 1, total: total + 1 };
    const hot = warmth.recent === this.#parts || warmth.total === this.#parts * AT_ANY_PACE;
    if (this.#warm.size === MAX_WARM) this.#warm.clear();
    if (hot) this.#warm.delete(entry);
    else this.#warm.set(entry, warmth);
    return hot;
  }

  /** A run of the engine ended. */
  tick(): void {
    if (++this.#runs % WINDOW === 0) this.#window++;
  }
}
