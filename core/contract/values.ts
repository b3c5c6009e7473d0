// What the contracts speak of: addresses, virtual time, register widths, plain data.

/** A guest-physical address: a safe integer, in bytes. */
export type Address = number;
/** Virtual time since the machine was built, in nanoseconds: a safe integer. */
export type Nanos = number;
/** Bytes that an access to device registers moves. Engines make two of 4 bytes, low half first, of one of 8. */
export type Width = 1 | 2 | 4;
/** A view of bytes, shared or not. */
export type Bytes = Uint8Array<ArrayBufferLike>;
/** What device state, events and configuration are made of: it survives `structuredClone` and a snapshot. */
export type Plain =
  | number
  | bigint
  | boolean
  | string
  | null
  | undefined
  | Bytes
  | Plain[]
  | { [key: string]: Plain };
