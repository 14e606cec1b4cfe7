/* machine.c: whether a snapshot's libraries can be used on this machine. */
#ifndef OCIPY_MACHINE_H
#define OCIPY_MACHINE_H

#include "snapshot_format.h"

/* This processor's features, by which glibc chooses its functions. */
struct cpu this_cpu(void);

/* Whether a snapshot of this size contains the libraries. */
int has_libraries(const struct libraries *libraries, uint64_t file_size);

/* Why this machine cannot use them; NULL if it can. */
const char *fault_of_libraries(const struct libraries *libraries);

#endif
