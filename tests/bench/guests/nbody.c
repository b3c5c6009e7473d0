// The sun and the four giant planets, a hundredth of a day at a step (the n-body problem of the Benchmarks Game).
#include <math.h>

#include "program.h"

enum { BODIES = 5, STEPS = 300000 };
static struct body { double x, y, z, vx, vy, vz, mass; } bodies[BODIES];

static const double PI = 3.141592653589793, DAYS = 365.24;
static const struct body START[BODIES] = {
  { 0, 0, 0, 0, 0, 0, 1 },
  { 4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01,
    1.66007664274403694e-03, 7.69901118419740425e-03, -6.90460016972063023e-05, 9.54791938424326609e-04 },
  { 8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01,
    -2.76742510726411899e-03, 4.99852801234917238e-03, 2.30417297573763929e-05, 2.85885980666130812e-04 },
  { 1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01,
    2.96460137564761618e-03, 2.37847173959480950e-03, -2.96589568540237556e-05, 4.36624404335156298e-05 },
  { 1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01,
    2.68067772490389322e-03, 1.62824170038242295e-03, -9.51592254519715870e-05, 5.15138902046611451e-05 },
};

static void prepare(const char *argument) {
  (void)argument;
  struct body *sun = bodies;
  for (int i = 0; i < BODIES; i++) {
    bodies[i] = START[i];
    bodies[i].vx *= DAYS;
    bodies[i].vy *= DAYS;
    bodies[i].vz *= DAYS;
    bodies[i].mass *= 4 * PI * PI;
    // The whole stands still.
    if (i == 0) continue;
    sun->vx -= bodies[i].vx * bodies[i].mass / sun->mass;
    sun->vy -= bodies[i].vy * bodies[i].mass / sun->mass;
    sun->vz -= bodies[i].vz * bodies[i].mass / sun->mass;
  }
}

static void advance(double step) {
  for (int i = 0; i < BODIES; i++) {
    struct body *a = bodies + i;
    for (struct body *b = a + 1; b < bodies + BODIES; b++) {
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double square = dx * dx + dy * dy + dz * dz;
      double pull = step / (square * sqrt(square));
      a->vx -= dx * b->mass * pull;
      a->vy -= dy * b->mass * pull;
      a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull;
      b->vy += dy * a->mass * pull;
      b->vz += dz * a->mass * pull;
    }
  }
  for (struct body *a = bodies; a < bodies + BODIES; a++) {
    a->x += step * a->vx;
    a->y += step * a->vy;
    a->z += step * a->vz;
  }
}

static uint64_t run(void) {
  for (int i = 0; i < STEPS; i++) advance(0.01);
  uint64_t sum = raised_flags();
  for (int i = 0; i < BODIES; i++) sum = mix_double(mix_double(sum, bodies[i].x), bodies[i].vz);
  return sum;
}

PROGRAM(nbody) = { prepare, run };
