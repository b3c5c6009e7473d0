// CRC-32 (IEEE 802.3), a byte at a time by table.
#include "program.h"

enum { LENGTH = 1 << 20, ROUNDS = 120 };
static uint32_t table[256];
static uint8_t data[LENGTH];

static void prepare(const char *argument) {
  (void)argument;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t remainder = i;
    for (int bit = 0; bit < 8; bit++) remainder = remainder >> 1 ^ (remainder & 1 ? 0xedb88320 : 0);
    table[i] = remainder;
  }
  uint64_t random = 99;
  for (int i = 0; i < LENGTH; i++) data[i] = next_random(&random);
}

static uint64_t run(void) {
  uint32_t crc = ~0u;
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < LENGTH; i++) crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
  }
  return ~crc;
}

PROGRAM(crc) = { prepare, run };
