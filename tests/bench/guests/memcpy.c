// The C library's memcpy and memset, on blocks larger than any cache and on small ones.
#include <string.h>

#include "program.h"

enum { LARGE = 16 << 20, SMALL = 96, ROUNDS = 16, SMALL_ROUNDS = 2000000 };
// Not a power of two apart: else both would fall on the same places of caches and TLBs.
static uint8_t from[LARGE + 5 * 4096], to[LARGE];

static void prepare(const char *argument) {
  (void)argument;
  uint64_t random = 3;
  for (int i = 0; i < LARGE; i += 8) *(uint64_t *)(from + i) = next_random(&random);
  memset(to, 1, LARGE);
}

static uint64_t run(void) {
  uint64_t sum = 0;
  for (int round = 0; round < ROUNDS; round++) {
    memcpy(to, from, LARGE);
    sum = mix(sum, to[round * 4099]);
    memset(to + LARGE / 2, round, LARGE / 2);
    sum = mix(sum, to[LARGE - 1 - round]);
  }
  for (int round = 0; round < SMALL_ROUNDS; round++) {
    memcpy(to + (round & 0xfff), from + (round & 0xffff), SMALL - (round & 15));
    sum += to[(round & 0xfff) + 40];
  }
  return sum;
}

PROGRAM(memcpy) = { prepare, run };
