// Integer arithmetic in registers: add, subtract, shift, logic, multiply, compare.
#include "program.h"

static uint64_t run(void) {
  uint64_t a = 1, b = 0x0123456789abcdef, c = 0xfedcba9876543210, sum = 0;
  for (uint64_t i = 0; i < 120000000; i++) {
    a = a * 6364136223846793005 + i;
    b ^= a >> 29;
    b = b << 7 | b >> 57;
    c += b & 0xffff;
    c ^= (uint32_t)a * 5u;
    sum += c < b ? a : ~i;
  }
  return mix(mix(sum, b), c);
}

PROGRAM(alu) = { NULL, run };
