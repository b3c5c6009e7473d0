// bench randread DEVICE: reads of 4 KiB all over a disk, one at a time, past the page cache.
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "program.h"

enum { BLOCK = 4096, READS = 5000 };
static int device;
static off_t blocks;

static void prepare(const char *argument) {
  check(argument != NULL, "randread");
  device = open(argument, O_RDONLY | O_DIRECT);
  check(device >= 0, argument);
  blocks = lseek(device, 0, SEEK_END) / BLOCK;
}

static uint64_t run(void) {
  static _Alignas(BLOCK) uint64_t buffer[BLOCK / 8];
  uint64_t random = 37, sum = 0;
  for (int i = 0; i < READS; i++) {
    off_t at = (off_t)(next_random(&random) % (uint64_t)blocks) * BLOCK;
    check(pread(device, buffer, BLOCK, at) == BLOCK, "read");
    sum = mix(sum, buffer[i % (BLOCK / 8)]);
  }
  return sum;
}

PROGRAM(randread) = { prepare, run };
