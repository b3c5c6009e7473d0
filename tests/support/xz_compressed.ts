// An xz file as the archive's tools make it: compressed, with a check (The .xz File Format 1.2).

import { crc32 } from "node:zlib";

/** Some of an index: {@linkcode XZ_COMPRESSED} is what `xz --lzma2=preset=9,dict=4KiB` makes of it. */
export const XZ_CONTENT: Uint8Array<ArrayBuffer> = new TextEncoder().encode(
  Array.from({ length: 60 }, (_, i) => `Package: p${i % 7}\nSize: ${i * i}\n`).join(""),
);

export const XZ_COMPRESSED: Uint8Array<ArrayBuffer> = Uint8Array.fromBase64(
  "/Td6WFoAAATm1rRGAgAhAQAAAAA3J5fW4AU1ARtdACgYSGbb2jCF/hbspnVr3bQWeYmDR+km1BlSMy9/3hZuwXiFl/fgJ0fmTr0T" +
    "Fx6fNvPDrdWTUGGsHSahICBrLaXBNjM/mB3D9vQN/+eRhh+Q2bPPo5dMIZgymEkwq24ntDbD77/b2a6yRDjlfxujVGjIOYCBufjL" +
    "QfZ8hENoEuRo0dgPmPluPXDOUyakstnrlIXHB/aPoTsVXfu8UF01YfqU/2LPjiQVZ7/NHMw3lUe0T+nJ701WeFJkRaFcbiVkqVbK" +
    "cyjtqCWGAuk1yestWDKYyIjQ+rpzcqJ69kPNuesUeKwgtd36Iwq16YX1ZCaN5jOUiBry8JUJ2s9Whtf7naPN/4zgA4gJR6u0FbGi" +
    "SAxMv+zRdqASXEXjJwAAACdiFiR9eMBqAAG3ArYKAADgMNSLscRn+wIAAAAABFla",
);

/** The same file, with another size of the dictionary in the header: 0 is 4 KiB, 28 is 64 MiB, 40 nearly 4 GiB. */
export function xzWithDictionary(size: number): Uint8Array<ArrayBuffer> {
  const bytes = XZ_COMPRESSED.slice();
  bytes[16] = size;
  new DataView(bytes.buffer).setUint32(20, crc32(bytes.subarray(12, 20)), true);
  return bytes;
}
