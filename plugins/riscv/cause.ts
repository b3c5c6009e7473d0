// Trap causes, privilege modes and status bits (privileged specification 20240411, chapters 3 and 12).

/** Exceptions, by their code in mcause and scause. */
export const CAUSE = {
  fetchMisaligned: 0,
  fetchAccess: 1,
  illegal: 2,
  breakpoint: 3,
  loadMisaligned: 4,
  loadAccess: 5,
  storeMisaligned: 6,
  storeAccess: 7,
  callFromU: 8,
  callFromS: 9,
  callFromM: 11,
  fetchPage: 12,
  loadPage: 13,
  storePage: 15,
} as const;

/** Interrupts, by their code. */
export const INTERRUPT = { ssi: 1, msi: 3, sti: 5, mti: 7, sei: 9, mei: 11 } as const;

/** Privilege modes. */
export const MODE = { U: 0, S: 1, M: 3 } as const;
export type Mode = typeof MODE[keyof typeof MODE];

/** Bits of mstatus. FS is kept apart, where generated code sees it. */
export const STATUS = {
  SIE: 1 << 1,
  MIE: 1 << 3,
  SPIE: 1 << 5,
  MPIE: 1 << 7,
  SPP: 1 << 8,
  MPP: 3 << 11,
  FS: 3 << 13,
  MPRV: 1 << 17,
  SUM: 1 << 18,
  MXR: 1 << 19,
  TVM: 1 << 20,
  TW: 1 << 21,
  TSR: 1 << 22,
} as const;

/** What an access is for; PMP and page permissions differ by it. */
export const ACCESS = { fetch: 0, load: 1, store: 2 } as const;
export type Access = typeof ACCESS[keyof typeof ACCESS];

/** The access and page faults of each kind of access. */
export const ACCESS_FAULT = [CAUSE.fetchAccess, CAUSE.loadAccess, CAUSE.storeAccess] as const;
export const PAGE_FAULT = [CAUSE.fetchPage, CAUSE.loadPage, CAUSE.storePage] as const;
