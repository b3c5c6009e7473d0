// A program without an operating system, in M-mode on the virt board: what instructions and device registers cost.
#include <stdint.h>

// Where the board has its devices, and the ticks of its timer in a second.
#define SERIAL ((volatile uint8_t *)0x10000000)
#define FINISHER ((volatile uint32_t *)0x100000)
enum { SCR = 7, FINISHED = 0x5555, TIMEBASE = 10000000 };

__asm__(
    ".section .text.start\n"
    ".globl start\n"
    "start: csrr t0, mhartid\n"
    "1: bnez t0, 1b\n"
    "la sp, stack_top\n"
    "call run\n");

static uint64_t time(void) {
  uint64_t ticks;
  __asm__ volatile("rdtime %0" : "=r"(ticks));
  return ticks;
}

static void print(const char *text) {
  while (*text) *SERIAL = *text++;
}

// Prints a line: a name, how often the loop went round, nanoseconds.
static void report(const char *name, uint64_t rounds, uint64_t ticks) {
  char digits[21];
  uint64_t numbers[] = { rounds, ticks * (1000000000 / TIMEBASE) };
  print(name);
  for (int i = 0; i < 2; i++) {
    char *first = digits + sizeof digits - 1;
    *first = 0;
    do *--first = '0' + numbers[i] % 10;
    while (numbers[i] /= 10);
    print(" ");
    print(first);
  }
  print("\n");
}

// Sixteen instructions to a round, of which one branches.
__attribute__((noinline)) static void integer_loop(uint64_t rounds) {
  uint64_t a = 1, b = 2, c = 3;
  __asm__ volatile(
      ".option push\n.option norvc\n"
      "1: add %1, %1, %2\n"
      "slli t0, %1, 7\n"
      "xor %2, %2, t0\n"
      "srli t1, %2, 9\n"
      "sub %3, %3, t1\n"
      "and t2, %3, %1\n"
      "addi t2, t2, 5\n"
      "or %1, %1, t2\n"
      "sltu t3, %1, %2\n"
      "add %3, %3, t3\n"
      "xori t4, %3, 77\n"
      "addw t4, t4, %2\n"
      "add %2, %2, t4\n"
      "andi t5, %2, 63\n"
      "addi %0, %0, -1\n"
      "bnez %0, 1b\n"
      ".option pop"
      : "+r"(rounds), "+r"(a), "+r"(b), "+r"(c)::"t0", "t1", "t2", "t3", "t4", "t5");
}

__attribute__((naked, noinline)) static void empty(void) {
  __asm__("ret");
}

__attribute__((noinline)) static void call_loop(uint64_t rounds) {
  while (rounds--) __asm__ volatile("call %0" ::"i"(empty) : "ra");
}

__attribute__((noinline)) static void register_loop(uint64_t rounds) {
  while (rounds--) (void)SERIAL[SCR];
}

static void measure(const char *name, void (*loop)(uint64_t), uint64_t rounds) {
  loop(rounds / 16);
  uint64_t started = time();
  loop(rounds);
  report(name, rounds, time() - started);
}

void run(void) {
  SERIAL[SCR] = 0x5a;
  measure("integer", integer_loop, 30000000);
  measure("call", call_loop, 3000000);
  measure("register", register_loop, 3000000);
  *FINISHER = FINISHED;
  for (;;) {}
}
