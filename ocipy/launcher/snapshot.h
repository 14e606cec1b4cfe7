/* Snapshots: the memory of a Python that has started and has imported the hot modules, mapped back by later processes.
 */
#ifndef OCIPY_SNAPSHOT_H
#define OCIPY_SNAPSHOT_H

#include "start.h"

#include <stdint.h>

/* A range of memory, in whole pages. */
struct extent {
    uint64_t start, size;
};

/* heap.c: from here on memory is taken from the region of the snapshot; 0, or -1 with errno. And until here; says how
 * much it is. */
int begin_recording(void);
void end_recording(struct extent *heap);

/* Has Python take its next small blocks from pages that hold nothing yet, one after the other, and not from wherever in
 * the snapshot there is room for one: each such page would be copied. While recording. */
void fill_pools(void);
extern PyObjectArenaAllocator recorded_arenas;

/* touched.c: runs of pages that every command writes to, counted through data and heap. */
enum { MAX_RUNS = 256 };
struct touched {
    uint16_t count;
    struct {
        uint16_t first, pages;
    } runs[MAX_RUNS];
};

/* Gives this process its own copies of them at once. */
void copy_touched(const struct touched *touched, struct extent data, struct extent heap);

/* Which pages of these this process has written to. 0, or -1 where that cannot be told. */
int find_touched(struct touched *touched, struct extent data, struct extent heap);

/* Writes the memory of this process, which has started Python and holds no lock of it. 0, or -1 having said why not. */
int write_snapshot(const char *path, PyThreadState *thread, const struct places *places);

/* Maps the snapshot of this executable, if there is one that can be trusted, made at this place, of the modules that
 * are there; what Python knows of its thread then, else NULL. */
PyThreadState *map_snapshot(const struct places *places);

/* In a process that map_snapshot has given its memory, once it has done its work: writes into the snapshot what that
 * was. */
void note_touched(const struct places *places);

#endif
