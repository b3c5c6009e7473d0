// LZ77 with a hash of four bytes, as in fast compressors: text is packed, unpacked and compared.
#include <string.h>

#include "program.h"

enum { LENGTH = 1 << 20, ROUNDS = 12, HASHES = 1 << 14, SHORTEST = 4, LONGEST = 254 + SHORTEST };
static uint8_t text[LENGTH + 16], packed[2 * LENGTH], unpacked[LENGTH + LONGEST];

static void prepare(const char *argument) {
  (void)argument;
  static const char *const words[] = {
    "guest", "machine", "memory", "page", "interrupt", "the", "of", "a", "is", "and", "queue", "device", "register",
    "to", "in", "host", "trap", "virtual", "clock", "with", "bus", "for", "kernel", "instruction", "disk", "it",
  };
  uint64_t random = 5;
  for (size_t at = 0; at < LENGTH;) {
    const char *word = words[next_random(&random) % (sizeof words / sizeof *words)];
    for (; *word && at < LENGTH; word++) text[at++] = *word;
    if (at < LENGTH) text[at++] = next_random(&random) % 13 ? ' ' : '\n';
  }
}

static uint32_t four(const uint8_t *at) {
  uint32_t bytes;
  memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

// A literal is 0 and its byte; a match is its length less three, and how far back it lies in two bytes.
static size_t pack(void) {
  static uint32_t seen[HASHES];
  memset(seen, 0, sizeof seen);
  uint8_t *out = packed;
  for (uint32_t at = 0; at < LENGTH;) {
    uint32_t *place = &seen[four(text + at) * 2654435761u >> 18];
    uint32_t before = *place, length = 0;
    *place = at;
    if (before < at && at - before < 65536) {
      while (length < LONGEST && at + length < LENGTH && text[before + length] == text[at + length]) length++;
    }
    if (length < SHORTEST) {
      *out++ = 0;
      *out++ = text[at++];
    } else {
      *out++ = length - SHORTEST + 1;
      *out++ = (at - before) & 0xff;
      *out++ = (at - before) >> 8;
      at += length;
    }
  }
  return out - packed;
}

static void unpack(size_t length) {
  uint8_t *out = unpacked;
  for (const uint8_t *in = packed; in < packed + length;) {
    uint32_t count = *in++;
    if (count == 0) {
      *out++ = *in++;
      continue;
    }
    const uint8_t *from = out - (in[0] | in[1] << 8);
    in += 2;
    for (count += SHORTEST - 1; count > 0; count--) *out++ = *from++;
  }
}

static uint64_t run(void) {
  uint64_t sum = 0;
  for (int round = 0; round < ROUNDS; round++) {
    text[round]++;
    size_t length = pack();
    unpack(length);
    for (int i = 0; i < LENGTH; i++) check(unpacked[i] == text[i], "lz");
    sum = mix(sum, length);
  }
  return sum;
}

PROGRAM(lz) = { prepare, run };
