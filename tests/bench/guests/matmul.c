// Products of matrices of doubles.
#include "program.h"

enum { SIZE = 160, ROUNDS = 10 };
static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void prepare(const char *argument) {
  (void)argument;
  uint64_t random = 17;
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) {
      a[i][j] = (double)(next_random(&random) >> 40) / 65536;
      b[i][j] = (double)(next_random(&random) >> 40) / 16777216;
    }
  }
}

static uint64_t run(void) {
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < SIZE; i++) {
      for (int j = 0; j < SIZE; j++) c[i][j] = 0;
      for (int k = 0; k < SIZE; k++) {
        for (int j = 0; j < SIZE; j++) c[i][j] += a[i][k] * b[k][j];
      }
    }
    a[round][round] = c[round][round] * 0x1p-10;
  }
  uint64_t sum = raised_flags();
  for (int i = 0; i < SIZE; i++) {
    for (int j = 0; j < SIZE; j++) sum = mix_double(sum, c[i][j]);
  }
  return sum;
}

PROGRAM(matmul) = { prepare, run };
