/* maps.c: the memory of this process, for those who arrange what a snapshot contains. */
#ifndef OCIPY_MAPS_H
#define OCIPY_MAPS_H

#include <stddef.h>
#include <stdint.h>

/* A line of /proc/self/maps: proc_pid_maps(5). access: rwxp, s in place of p if it is shared. path: "" for none. */
struct mapping {
    uint64_t start, end;
    const char *access, *path;
};

/* Reads all lines into text, without malloc, which might change them. 0, or -1. */
int read_maps(char *text, size_t size);

/* Takes the next line from the rest of the text. 0, or -1 if there are no more. */
int next_mapping(char **rest, struct mapping *mapping);

#endif
