// Sums over arrays larger than any cache, a word at a time (the triad of STREAM, in integers).
#include "program.h"

enum { COUNT = 1 << 20, ROUNDS = 60 };
// Not a power of two apart: else all three would fall on the same places of caches and TLBs.
enum { APART = COUNT + 3 * 512 };
static uint64_t a[APART], b[APART], c[APART];

static void prepare(const char *argument) {
  (void)argument;
  for (int i = 0; i < COUNT; i++) {
    b[i] = i;
    c[i] = 3 * i + 1;
    a[i] = 0;
  }
}

static uint64_t run(void) {
  for (uint64_t round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < COUNT; i++) a[i] = b[i] + round * c[i];
    for (int i = 0; i < COUNT; i++) b[i] = a[i] ^ c[i];
  }
  uint64_t sum = 0;
  for (int i = 0; i < COUNT; i += 61) sum = mix(sum, b[i]);
  return sum;
}

PROGRAM(stream) = { prepare, run };
