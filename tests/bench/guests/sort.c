// Quicksort, and insertion sort for what is short.
#include "program.h"

enum { COUNT = 1 << 20, ROUNDS = 4, SHORT = 12 };
static uint32_t items[COUNT];

static void sort(uint32_t *low, uint32_t *high) {
  while (high - low > SHORT) {
    uint32_t pivot = low[(high - low) / 2], *left = low, *right = high;
    while (left <= right) {
      while (*left < pivot) left++;
      while (*right > pivot) right--;
      if (left > right) break;
      uint32_t item = *left;
      *left++ = *right;
      *right-- = item;
    }
    if (right - low < high - left) {
      sort(low, right);
      low = left;
    } else {
      sort(left, high);
      high = right;
    }
  }
  for (uint32_t *next = low + 1; next <= high; next++) {
    uint32_t item = *next, *hole = next;
    for (; hole > low && hole[-1] > item; hole--) *hole = hole[-1];
    *hole = item;
  }
}

static uint64_t run(void) {
  uint64_t random = 42, sum = 0;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < COUNT; i++) items[i] = next_random(&random);
    sort(items, items + COUNT - 1);
    for (int i = 0; i < COUNT; i += 97) sum = mix(sum, items[i]);
  }
  return sum;
}

PROGRAM(sort) = { NULL, run };
