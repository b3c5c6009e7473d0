// Fourier transforms of complex doubles, there and back (radix 2, in place).
#include <math.h>

#include "program.h"

enum { BITS = 14, SIZE = 1 << BITS, ROUNDS = 40 };
static struct { double re, im; } data[SIZE], roots[SIZE / 2];

static void prepare(const char *argument) {
  (void)argument;
  uint64_t random = 23;
  for (int i = 0; i < SIZE; i++) data[i].re = (double)(next_random(&random) >> 44) / 1048576 - 0.5;
  for (int i = 0; i < SIZE / 2; i++) {
    roots[i].re = cos(2 * 3.141592653589793 * i / SIZE);
    roots[i].im = sin(2 * 3.141592653589793 * i / SIZE);
  }
}

// `direction` is -1 for the transform, 1 for its inverse.
static void transform(double direction) {
  for (int i = 0, j = 0; i < SIZE; i++) {
    if (i < j) {
      __typeof__(*data) kept = data[i];
      data[i] = data[j];
      data[j] = kept;
    }
    int bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (int half = 1; half < SIZE; half *= 2) {
    for (int start = 0; start < SIZE; start += 2 * half) {
      for (int k = 0; k < half; k++) {
        double wr = roots[k * (SIZE / 2 / half)].re, wi = direction * roots[k * (SIZE / 2 / half)].im;
        double re = wr * data[start + k + half].re - wi * data[start + k + half].im;
        double im = wr * data[start + k + half].im + wi * data[start + k + half].re;
        data[start + k + half].re = data[start + k].re - re;
        data[start + k + half].im = data[start + k].im - im;
        data[start + k].re += re;
        data[start + k].im += im;
      }
    }
  }
}

static uint64_t run(void) {
  for (int round = 0; round < ROUNDS; round++) {
    transform(-1);
    transform(1);
    for (int i = 0; i < SIZE; i++) {
      data[i].re /= SIZE;
      data[i].im /= SIZE;
    }
  }
  uint64_t sum = raised_flags();
  for (int i = 0; i < SIZE; i++) sum = mix_double(mix_double(sum, data[i].re), data[i].im);
  return sum;
}

PROGRAM(fft) = { prepare, run };
