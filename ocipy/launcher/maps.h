/* maps.c: reads /proc/self/maps. */
#ifndef OCIPY_MAPS_H
#define OCIPY_MAPS_H

#include <stddef.h>
#include <stdint.h>

/* A line of /proc/self/maps: proc_pid_maps(5). access: rwxp, with s in place of p if shared. path: "" if none. */
struct mapping {
    uint64_t start, end;
    const char *access, *path;
};

/* Reads all lines into text, without malloc, which might change the maps. 0, or -1. */
int read_maps(char *text, size_t size);

/* Takes the next line from the rest of the text. 0, or -1 if there are no more. */
int next_mapping(char **rest, struct mapping *mapping);

#endif
