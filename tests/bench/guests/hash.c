// A hash table with open addressing: inserts, and look-ups of what is there and what is not.
#include "program.h"

enum { SLOTS = 1 << 17, KEYS = 80000, ROUNDS = 160 };
static struct { uint64_t key, value; } table[SLOTS];

static uint64_t slot_of(uint64_t key) {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccd;
  key ^= key >> 33;
  uint64_t slot = key & (SLOTS - 1);
  while (table[slot].key && table[slot].key != key) slot = (slot + 1) & (SLOTS - 1);
  table[slot].value += table[slot].key == 0;
  table[slot].key = key;
  return slot;
}

static uint64_t run(void) {
  uint64_t sum = 0;
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t random = 7 + (round & ~3);
    for (int i = 0; i < KEYS; i++) sum += table[slot_of(next_random(&random))].value++ ^ i;
    if ((round & 3) == 3) for (int i = 0; i < SLOTS; i++) table[i].key = table[i].value = 0;
  }
  return mix(sum, ROUNDS);
}

PROGRAM(hash) = { NULL, run };
