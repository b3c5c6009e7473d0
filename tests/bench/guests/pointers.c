// Calls through pointers to functions, in no foreseeable order.
#include "program.h"

#define OPERATION(name, expression) \
  __attribute__((noinline)) static uint64_t name(uint64_t a, uint64_t b) { return expression; }
OPERATION(add, a + b)
OPERATION(subtract, a - b)
OPERATION(multiply, a * b)
OPERATION(both, a ^ (a & b))
OPERATION(either, a + (a | b))
OPERATION(differ, a ^ b)
OPERATION(left, a + (b << 3))
OPERATION(right, a ^ b >> 5)

enum { KINDS = 8, CALLS = 20000000 };
static uint64_t (*const operations[KINDS])(uint64_t, uint64_t) = {
  add, subtract, multiply, both, either, differ, left, right,
};

static uint64_t run(void) {
  uint64_t random = 29, sum = 1;
  for (int i = 0; i < CALLS; i++) {
    uint64_t number = next_random(&random);
    sum = operations[number >> 33 & (KINDS - 1)](sum, number);
  }
  return sum;
}

PROGRAM(pointers) = { NULL, run };
