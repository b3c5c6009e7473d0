// What grows in a long run: judged by samples of what the process holds, which goes up and down.

const MIB = 2 ** 20;

/**
 * Bytes that each guest's compiled code may take: the first one's so little that it is full early on, as a cache that
 * fills would pass for growth; the second one's so little that code is made anew again and again.
 */
export const ROOM = [10 * MIB, 3 * MIB] as const;
/** A module may come on top of that. */
const MODULE = MIB / 2;

/** What is watched. */
export interface Sample {
  readonly seconds: number;
  /** Bytes. */
  readonly rss: number;
  readonly heap: number;
  readonly external: number;
  /** Open files, sockets and the like; 0 where the host does not tell. */
  readonly handles: number;
  /** Of each guest's compiled code that is kept. */
  readonly code: readonly number[];
  /** Of `rss` what is neither code nor the C library's heap, where V8 keeps what it knows of code; if it was looked at. */
  readonly data?: number;
}

/** Seconds until caches are full. */
const WARM = 600;

/**
 * By how much each may be larger in the last third than in the middle one, at its lowest. V8 frees code by the hundred
 * MiB, minutes after it went, and has more and more of it until caches are full.
 */
const GROWTH = { rss: 64 * MIB, heap: 16 * MIB, external: 16 * MIB, handles: 2 } as const;
const WARMING = { ...GROWTH, rss: 128 * MIB } as const;

/** Seconds from which on a run is long: what V8 does with code is left out then, and slow growth is seen in the rest. */
const LONG = 3000;
/** Windows of a long run, whose lowest samples count, and by how much an hour the line through those may rise. */
const [WINDOWS, PER_HOUR] = [6, 64 * MIB];

/** What is larger than it may be, in a sentence each. */
export function growthIn(samples: readonly Sample[]): string[] {
  return [...growthOfThirds(samples), ...trendOfData(samples), ...overfull(samples)];
}

/** What is larger at the end than in the middle; the first third is for caches to fill. */
function growthOfThirds(samples: readonly Sample[]): string[] {
  const third = Math.floor(samples.length / 3);
  if (third < 3) return [`${samples.length} samples are too few to tell`];
  const most = samples[third].seconds < WARM ? WARMING : GROWTH;
  return (Object.keys(most) as (keyof typeof most)[]).flatMap((key) => {
    const lowest = (part: readonly Sample[]): number => Math.min(...part.map((sample) => sample[key]));
    const [middle, last] = [lowest(samples.slice(third, 2 * third)), lowest(samples.slice(-third))];
    return last > middle + most[key] ? [`${key} grew from ${middle} to ${last}`] : [];
  });
}

/** Whether the line through the lowest samples of a long run's windows rises (by least squares). */
function trendOfData(samples: readonly Sample[]): string[] {
  const end = samples.at(-1)?.seconds ?? 0;
  const known = samples.filter(({ seconds, data }) => seconds >= WARM && data !== undefined);
  if (end < LONG || known.length === 0) return [];
  const length = (end - WARM) / WINDOWS;
  const windows = Map.groupBy(known, ({ seconds }) => Math.min(Math.floor((seconds - WARM) / length), WINDOWS - 1));
  const lowest = [...windows.values()].map((window) => window.reduce((a, b) => b.data! < a.data! ? b : a));
  const mean = (of: (sample: Sample) => number): number =>
    lowest.reduce((sum, each) => sum + of(each), 0) / lowest.length;
  const [time, data] = [mean(({ seconds }) => seconds), mean((each) => each.data!)];
  const rise = mean((each) => (each.seconds - time) * (each.data! - data)) / mean((each) => (each.seconds - time) ** 2);
  return 3600 * rise > PER_HOUR ? [`data grows by ${Math.round(3600 * rise / MIB)} MiB an hour`] : [];
}

/** Which guest keeps more compiled code than there is room for. */
function overfull(samples: readonly Sample[]): string[] {
  return ROOM.flatMap((room, guest) => {
    const most = Math.max(...samples.map(({ code }) => code[guest]));
    return most > room + MODULE ? [`guest ${guest + 1} keeps ${most} bytes of code, with room for ${room}`] : [];
  });
}
