/* Snapshots: the memory of a Python that has started and imported the hot modules, mapped by later processes. */
#ifndef OCIPY_SNAPSHOT_H
#define OCIPY_SNAPSHOT_H

#include "snapshot_format.h"
#include "start.h"

#include <stdint.h>

/* Who writes to recorded blocks: cli/trial.py has the same. What the same processes write to is put together. */
enum { ANY_COMMAND = 1, HOST_LANE = 2, INIT_LANE = 4, EXEC = 8, OTHER = 16, ALL_WRITERS = 31, NOBODY = 32 };

/* snapshot.c: the executable's data, which a snapshot replaces. */
struct extent data_extent(void);

/* Whether an executable has the same build id as the running one. */
int is_this_build(int file);

/* replace.c: makes the same file on an overlay the executable of this process, once its data has been replaced. 0, or
 * -1: then it may be executed instead. */
int replace_executable(int file);

/* heap.c: the recorded blocks that somebody writes to, shared between processes. NULL if memory runs out. */
struct marks;
struct marks *new_marks(void);

/* How these blocks lie: close together, or each on its own page. */
enum layout { TOGETHER, APART };

/* Begin to allocate all memory from the snapshot's region; 0, or -1 with errno. Let Python allocate by its own means
 * again. Stop recording, and return how much memory was used. */
int begin_recording(enum layout layout, const struct marks *marks);
void return_allocators(void);
void end_recording(struct extent *heap);

/* Marks the blocks on pages that this process has written to since its fork. Its parent must not have written. */
void mark_written(struct marks *marks, int writer);

/* rehearsal.c: the blocks that commands write to. NULL if that cannot be found out. */
struct marks *rehearse(const char *file, const struct places *places);

/* start.c: starts Python and imports everything while memory is recorded. 0; or -1 after reporting the reason, or with
 * an exception. */
int start_recorded(const struct places *places);

/* touched.c: copies these pages for this process, all at once. */
void copy_touched(const struct touched *touched, struct extent data, struct extent heap);

/* Finds which of these pages this process has written to. 0, or -1 if the kernel does not tell. */
int find_touched(struct touched *touched, struct extent data, struct extent heap);

/* Writes the memory of this process, which has started Python and does not hold its GIL, into the file of
 * begin_snapshot. 0, or -1 after reporting the reason. */
int write_snapshot(int file, const char *path, PyThreadState *thread, const struct places *places);

/* libraries.c: fills in the second page of headers. offset: where the memory of the libraries begins in the file.
 * build_id_at: the offset of the build id in the executable. resume is 0 if this process was not loaded by loader.c. */
void record_libraries(struct libraries *libraries, const struct places *places, uint64_t offset, uint64_t build_id_at);

/* start.c: continues in a process that the launcher has mapped (restore.c). Never returns. */
void resume_from_launcher(const struct resumption *from);

/* replace.c: makes the file on an overlay the executable of a process that the launcher has mapped from there, and
 * unmaps the launcher. 0 or -1. */
int become_executable(int file, struct extent launcher);

/* Maps data and heap of the snapshot if it is trustworthy and belongs to this executable, this place and the present
 * modules. Returns Python's thread state, or NULL; the reason is set if there should be another snapshot. */
PyThreadState *map_snapshot(const struct places *places, const char **reason);

/* Whether a process that starts now finds a valid snapshot. */
int has_snapshot(const struct places *places);

/* snapshot_file.c. Returns a locked file to write a snapshot into; waits for a process that holds the lock. -1 with
 * errno; EALREADY: that process has made the snapshot. */
int begin_snapshot(const char *path);

/* Renames the file to its final path, and closes it. 0, or -1 with errno. */
int end_snapshot(int file, const char *path);

/* Leaves the file empty, and closes it. Keeps errno. */
void give_up_snapshot(int file);

/* Removes the file, and closes it. */
void cancel_snapshot(int file, const char *path);

/* The reason why this process cannot make a snapshot at this path, or must not; NULL if it may. */
const char *making_obstacle(const char *path);

/* The last attempt to make a snapshot that has not succeeded, as far as the owner can tell. */
enum last_try { NEVER, A_MOMENT_AGO, AT_THIS_MOMENT } last_try(const char *path);

/* renew.c. The reason why this process will not start one that makes a snapshot; NULL if it will. */
const char *snapshot_obstacle(const struct places *places);

/* Starts a process that makes the snapshot, if nothing prevents that. For the end of a command. */
void renew_snapshot(const struct places *places);

/* For a process that was mapped from the snapshot and has done its work: records in the snapshot which pages it
 * wrote to. */
void note_touched(const struct places *places);

#endif
