/* The beginning of the frozen file, as freeze.py writes it. */
#ifndef OCIPY_FROZEN_FORMAT_H
#define OCIPY_FROZEN_FORMAT_H

#include <stdint.h>

struct frozen_header {
    char magic[8];
    uint32_t python; /* major << 8 | minor: all releases of a minor version have the same bytecode */
    uint32_t count;
    unsigned char digest[32]; /* of everything that follows */
};

#endif
