// Numbers as boards' messages show them.

/** A number in hexadecimal. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
