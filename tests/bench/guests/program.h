// What a program of the benchmark is: work of a fixed size, with a checksum over all that it computed.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct program {
  // Makes the data that the work needs; its time does not count. May be NULL.
  void (*prepare)(const char *argument);
  // Does the work. The checksum is the same on every machine that computes rightly.
  uint64_t (*run)(void);
};

// `PROGRAM(name) = { prepare, run };` in a file of its own, and the name in main.c's list.
#define PROGRAM(name) const struct program program_##name

// Pseudo-random numbers (xorshift64), the same on every machine.
static inline uint64_t next_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

// Mixes a value into a checksum.
static inline uint64_t mix(uint64_t sum, uint64_t value) {
  sum = (sum ^ value) * 0x9e3779b97f4a7c15;
  return sum ^ sum >> 29;
}

// Mixes in a double, bit for bit.
static inline uint64_t mix_double(uint64_t sum, double value) {
  union { double value; uint64_t bits; } both = { value };
  return mix(sum, both.bits);
}

// The floating-point exceptions raised so far (the F extension's fflags).
static inline uint64_t raised_flags(void) {
  uint64_t flags;
  __asm__ volatile("frflags %0" : "=r"(flags));
  return flags;
}

// Ends the program with a message if a call of the system's failed.
void check(int succeeded, const char *what);
