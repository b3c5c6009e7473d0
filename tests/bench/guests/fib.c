// Calls and returns, and little else: Fibonacci numbers by their definition, and Ackermann's function.
#include "program.h"

__attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) static uint64_t fib(uint64_t n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

__attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) static uint64_t ackermann(
    uint64_t m, uint64_t n) {
  if (m == 0) return n + 1;
  if (n == 0) return ackermann(m - 1, 1);
  return ackermann(m - 1, ackermann(m, n - 1));
}

static uint64_t run(void) {
  return mix(fib(35), ackermann(2, 2500));
}

PROGRAM(fib) = { NULL, run };
