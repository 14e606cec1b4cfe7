/* machine.c, for those who write a snapshot's libraries and those who map them. */
#ifndef OCIPY_MACHINE_H
#define OCIPY_MACHINE_H

#include "snapshot_format.h"

/* The features by which glibc chooses its functions. */
struct cpu this_cpu(void);

/* Whether a library's file is still the same. */
int is_same_library(const struct library *library);

/* Whether a snapshot of this size has the libraries. */
int has_libraries(const struct libraries *libraries, uint64_t file_size);

/* Why this machine cannot use them; NULL if it can. */
const char *fault_of_libraries(const struct libraries *libraries);

#endif
