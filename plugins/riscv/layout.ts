// Where everything stands in the engine's one linear memory: the hart blocks, the predecoded code, guest RAM.

/** Bytes of a hart's block; blocks start at this address too, so that 0 is the address of nothing. */
export const HART_BYTES = 0x2_0000;

/** The address of hart `index`'s block. */
export const hartBase = (index: number): number => HART_BYTES * (1 + index);

/** Register number that stands for `x0` as a destination: written, never read. */
export const SINK = 32;

/** Byte offsets in a hart's block. What generated code and TypeScript both touch stands here. */
export const SLOT = {
  /** x0…x31 and the sink, 8 bytes each. */
  x: 0x000,
  /** f0…f31, 8 bytes each. */
  f: 0x110,
  pc: 0x210,
  /** What a slow path hands back (i64). */
  result: 0x218,
  /** Operands of a slow path (i64 each). */
  operands: 0x220,
  /** Steps left in this run, and how many it began with (i32). */
  budget: 0x240,
  start: 0x244,
  /** Tag bits of the address space that data accesses and fetches see now (i64). */
  dataContext: 0x248,
  fetchContext: 0x250,
  /** fflags, frm, and mstatus.FS (i32 each). */
  fflags: 0x258,
  frm: 0x25c,
  fs: 0x260,
  /** Host address of the reserved memory, 0 for none (i32). */
  reservation: 0x264,
  /** Current privilege (i32). */
  privilege: 0x268,
  /** CSRs that are plain storage, 8 bytes each. */
  csr: 0x280,
  /** mstatus but for FS, mip in two parts, mie, medeleg and mideleg (i32 each), and steps that were traps (f64). */
  status: 0x300,
  lines: 0x304,
  soft: 0x308,
  mie: 0x30c,
  medeleg: 0x310,
  mideleg: 0x314,
  traps: 0x318,
  // From here on nothing is saved: it follows from the rest.
  /** Tag bits of the users' pages that data accesses see by SUM, 0 for none (i64): see mmu.ts. */
  userContext: 0x320,
  /** The physical address of the root page table (i64), and the levels of tables, 0 for no translation (i32). */
  root: 0x328,
  levels: 0x330,
  /** Whether PMP allows everything (i32). */
  open: 0x334,
  /** Page walks made by generated code (i64). */
  walks: 0x338,
  /** The context numbers of the present address space, 0 for none yet (i32 each): see mmu.ts. */
  contexts: 0x340,
  /**
   * The page that the stack pointer was last used for, if it can be read and written: its tag (i64), as the TLB's, and
   * what makes host addresses of its own (i32). A TLB of one entry, at an address that is known when code is made.
   */
  stackTag: 0x380,
  stackAddend: 0x388,
  /** Steps that compiled code made, and how often the interpreter entered it (i64 each): for people. */
  compiledSteps: 0x390,
  compiledRuns: 0x398,
  /** Counts what may put other code at an address: writes of satp, fences (i32). */
  mappings: 0x3a0,
  /** Whether the interpreter is to execute an entry that stands elsewhere, and the budget meanwhile (i32 each). */
  replay: 0x3a4,
  aside: 0x3a8,
  /** A bit for each superpage that may be in the TLB, by a hash. */
  superpages: 0x800,
  tlb: 0x1000,
  fetchTlb: 0x1_1000,
} as const;

/**
 * The TLB: direct-mapped by the virtual page number, the bits above folded in so that two pages
 * in a row never share an entry. An entry holds the tags for reads and for writes (i64 each), the
 * addend from virtual to host address (i32), the page's level (i32) and its physical address (f64).
 */
export const TLB = { entries: 2048, bytes: 32, read: 0, write: 8, addend: 16, level: 20, physical: 24 } as const;

/** The fetch TLB, indexed alike: a tag (i64) and the address of the predecoded page (i32). */
export const FETCH_TLB = { entries: 2048, bytes: 16, tag: 0, code: 8 } as const;

/** How many context numbers an address space has at the most, and bits of the superpages' filter. */
export const CONTEXTS = 16;
export const SUPERPAGE_BITS = 0x4000;

/** A tag is the virtual page's address, this bit for a translation without direct access, and the context below. */
export const TAG_SLOW = 0x800;
/** Contexts are numbered from 1 to this: no tag is all ones, which stands for none. */
export const MAX_CONTEXT = 0x7fe;

/**
 * A predecoded page: an 8-byte entry for each halfword of a 4 KiB page, and two for the steps past its end.
 * An entry is op | a << 10 | b << 20 in its low half, where a and b are register numbers times 8, and the
 * immediate or the other operands in its high half. Behind them stand, if they are known, the entry of the instruction
 * that goes on in the next page (i64), and the predecoded page and serial number of that one (i32 each); then the
 * page's own serial number (i32), or 0 while no other page knows it.
 */
export const CODE = {
  entryBytes: 8,
  entries: 2050,
  opBits: 10,
  crossing: 2050 * 8,
  next: 2051 * 8,
  nextSerial: 2051 * 8 + 4,
  serial: 2052 * 8,
  pageBytes: 2053 * 8,
} as const;

/** Bytes of a page of RAM. */
export const PAGE_BYTES = 4096;

/** Counters of how often jumps reach an entry, by a hash of its address (i32 each). */
export const COUNTERS = { count: 0x4000, bytes: 0x1_0000 } as const;

/** The handler's number of an entry that a compiled region replaced. */
export const COMPILED = 4;
