/* Snapshots: the memory of a Python that has started and imported all modules, which later processes map. */
#ifndef OCIPY_SNAPSHOT_H
#define OCIPY_SNAPSHOT_H

#include "snapshot_format.h"
#include "start.h"

#include <link.h>
#include <stdint.h>

/* Which processes write to a recorded block; cli/trial.py has the same numbers. Blocks with the same writers are placed
 * together. */
enum { ANY_COMMAND = 1, HOST_LANE = 2, INIT_LANE = 4, EXEC = 8, OTHER = 16, ALL_WRITERS = 31, NOBODY = 32 };

/* executable.c: the executable's data, which a snapshot replaces. */
struct extent data_extent(void);

/* Whether the data begins at the start of a page. */
int data_is_apart(void);

/* The build id of an executable or library whose file is mapped from its first byte: the linker's digest of everything
 * that it linked. NULL if there is none. base: what to add to the addresses in the file. */
const unsigned char *find_build_id(const ElfW(Ehdr) * file, uintptr_t base);

/* The build id of the running executable, or NULL. */
const unsigned char *build_id(void);

/* The offset of that build id in the executable's file. There must be one. */
uint64_t build_id_offset(void);

/* Whether an executable has the same build id as the running one. */
int is_this_build(int file);

/* replace.c: makes the same file on an overlay the executable of this process, whose data must have been replaced
 * already. 0, or -1: then the caller can execute the file instead. */
int replace_executable(int file);

/* heap.c: which recorded blocks are written to, in memory shared between processes. NULL if memory runs out. */
struct marks;
struct marks *new_marks(void);

/* How these blocks are placed: close together, or each on its own page. */
enum layout { TOGETHER, APART };

/* Begins to allocate all memory from the snapshot's region. 0, or -1 with errno. */
int begin_recording(enum layout layout, const struct marks *marks);

/* Gives Python its own allocators back. */
void return_allocators(void);

/* Stops recording. heap: set to the memory that was used. */
void end_recording(struct extent *heap);

/* Marks the blocks on pages that this process has written to since its fork. Its parent must not have written to them
 * in the meantime. */
void mark_written(struct marks *marks, int writer);

/* rehearsal.c: finds the blocks that commands write to. NULL if that fails. */
struct marks *rehearse(const char *file, const struct places *places);

/* Runs trial commands from the finished snapshot, each in a separate process, if processes will look for it there. */
void try_snapshot(const char *file, const struct places *places);

/* Plays a scene in such a process, and notes the pages that it has written to. Returns whether there are more. */
int play_noted(const struct places *places, const char *directory, int scene);

/* recorded_start.c: starts Python and imports everything while memory is recorded. 0; or -1 after reporting the reason,
 * or with an exception. */
int start_recorded(const struct places *places);

/* touched.c: copies these pages for this process, all at once. */
void copy_touched(const struct touched *touched, struct extent data, struct extent heap);

/* Finds which of these pages this process has written to, without those in another list. 0, or -1 if the kernel does
 * not say. */
int find_touched(struct touched *touched, const struct touched *others, struct extent data, struct extent heap);

/* Writes the memory of this process, which has started Python and does not hold the GIL, into the file that
 * begin_snapshot returned. resume: where a process continues that the launcher has mapped from the snapshot. 0, or -1
 * after reporting the reason. */
int write_snapshot(int file, const char *path, PyThreadState *thread, const struct places *places,
                   resume_function *resume);

/* libraries.c: fills in the second header page, without the offsets in the snapshot. build_id_at: the offset of the
 * build id in the executable. resume: as above; it is recorded as 0 if loader.c did not load this process. */
void record_libraries(struct libraries *libraries, const struct places *places, uint64_t build_id_at,
                      resume_function *resume);

/* replace.c: makes the file on an overlay the executable of a process that the launcher has mapped from there, and
 * unmaps the launcher. 0 or -1. */
int become_executable(int file, struct extent launcher);

/* snapshot.c: maps data and heap of the snapshot if it can be trusted and belongs to this executable, directory and
 * modules. Returns Python's thread state, or NULL. Sets the reason if a new snapshot should be made. */
PyThreadState *map_snapshot(const struct places *places, const char **reason);

/* Whether a process that starts now would find a valid snapshot. */
int has_snapshot(const struct places *places);

/* snapshot_file.c: returns a locked file to write a snapshot into, after waiting for any process that holds the lock.
 * -1 with errno; EALREADY: that process has made the snapshot. */
int begin_snapshot(const char *path);

/* Renames the file to its final path, and closes it. 0, or -1 with errno. */
int end_snapshot(int file, const char *path);

/* Empties the file and closes it, and preserves errno. */
void give_up_snapshot(int file);

/* Removes the file and closes it. */
void cancel_snapshot(int file, const char *path);

/* Why this process cannot or must not make a snapshot at this path; NULL if it may. */
const char *making_obstacle(const char *path);

/* When somebody last tried to make this snapshot without success. Only the owner can tell; others get NEVER. */
enum last_try { NEVER, A_MOMENT_AGO, AT_THIS_MOMENT } last_try(const char *path);

/* renew.c: why this process will not start another one to make a snapshot; NULL if it will. */
const char *snapshot_obstacle(const struct places *places);

/* Starts a process that makes the snapshot, if nothing prevents that. Called at the end of a command. */
void renew_snapshot(const struct places *places);

/* snapshot.c: records in one of the lists, if that is still empty, which pages this process, which started from the
 * snapshot, has written to. */
void note_touched(const struct places *places, int list);

#endif
