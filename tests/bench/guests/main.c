// bench NAME [ARGUMENT]: runs one program and prints the seconds it took and its checksum.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "program.h"

#define PROGRAMS(X) \
  X(alu) X(sort) X(hash) X(crc) X(lz) \
  X(stream) X(memcpy) X(chase) \
  X(matmul) X(nbody) X(fft) \
  X(fib) X(pointers) \
  X(bytecode) \
  X(fork) X(pipe) X(getppid) \
  X(sha256sum) X(gzip) \
  X(randread)

#define DECLARE(name) extern const struct program program_##name;
PROGRAMS(DECLARE)

#define ENTRY(name) { #name, &program_##name },
static const struct { const char *name; const struct program *program; } programs[] = { PROGRAMS(ENTRY) };

void check(int succeeded, const char *what) {
  if (succeeded) return;
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  // What the fork program executes.
  if (argc == 2 && !strcmp(argv[1], "nothing")) return 0;
  for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++) {
    if (strcmp(argv[1], programs[i].name)) continue;
    const struct program *program = programs[i].program;
    if (program->prepare) program->prepare(argc > 2 ? argv[2] : NULL);
    double started = now();
    uint64_t sum = program->run();
    printf("%.6f %016lx\n", now() - started, sum);
    return 0;
  }
  fprintf(stderr, "bench: no such program\n");
  return 2;
}
