/* Linked into each program and library that tests/coverage/run builds: tells flush.c how to write its counters. */
void __gcov_dump(void);
void __gcov_reset(void);
void coverage_add(void (*dump)(void), void (*reset)(void));

static void __attribute__((constructor)) add(void) {
    coverage_add(__gcov_dump, __gcov_reset);
}
