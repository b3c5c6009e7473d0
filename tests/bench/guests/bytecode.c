// A byte-code interpreter: a jump table for every step, as in the interpreters of scripting languages.
#include "program.h"

enum operation { PUSH, LOAD, STORE, ADD, SUBTRACT, MULTIPLY, XOR, SHIFT, LESS, JUMP, BRANCH, HALT };

// n = 1000000; a = 1; do { a = a * 31 + n; b = a >> 5 < (n ^ a) ? b + a : b ^ n; } while (--n); return b;
enum { N, A, B };
static const int32_t code[] = {
  PUSH, 1000000, STORE, N,
  PUSH, 1, STORE, A,
  LOAD, A, PUSH, 31, MULTIPLY, LOAD, N, ADD, STORE, A,  // 8
  LOAD, A, PUSH, 5, SHIFT, LOAD, N, LOAD, A, XOR, LESS, BRANCH, 40,
  LOAD, B, LOAD, N, XOR, STORE, B, JUMP, 47,
  LOAD, B, LOAD, A, ADD, STORE, B,  // 40
  LOAD, N, PUSH, 1, SUBTRACT, STORE, N,  // 47
  LOAD, N, BRANCH, 8,
  LOAD, B, HALT,
};

static uint64_t run(void) {
  uint64_t variables[3] = { 0 }, stack[8], *top = stack;
  for (const int32_t *at = code;;) {
    switch ((enum operation)*at++) {
      case PUSH: *top++ = *at++; break;
      case LOAD: *top++ = variables[*at++]; break;
      case STORE: variables[*at++] = *--top; break;
      case ADD: top--; top[-1] += *top; break;
      case SUBTRACT: top--; top[-1] -= *top; break;
      case MULTIPLY: top--; top[-1] *= *top; break;
      case XOR: top--; top[-1] ^= *top; break;
      case SHIFT: top--; top[-1] >>= *top & 63; break;
      case LESS: top--; top[-1] = top[-1] < *top; break;
      case JUMP: at = code + *at; break;
      case BRANCH: at = *--top ? code + *at : at + 1; break;
      case HALT: return mix(0, *--top);
    }
  }
}

PROGRAM(bytecode) = { NULL, run };
