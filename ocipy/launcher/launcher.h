/* The interface between the launcher and the start library. Neither knows anything about containers.
 *
 * The launcher (hurry.c, launcher.c, layout.c, overlay.c, seal.c, stdlib.c, trust.c) is an executable linked against
 * libc only: small to seal, quick to execute. It loads the start library (start.c, frozen.c, importer.c,
 * python_start.c), which links libpython.
 *
 * With a static libpython, `ocipy` is the same program with the start library and libpython linked in, at fixed
 * addresses: nothing is relocated, and Python does not even have to start (snapshot.c). It is sealed with an overlay
 * (overlay.c). Where no overlay can be mounted, the small launcher is copied and sealed instead, if this Python also
 * has a shared libpython; in that case the launcher is installed in the same directory as the start library.
 *
 * Set at build time: OCIPY_STDLIB, the directory of the standard library of the Python that it was built for. */
#ifndef OCIPY_LAUNCHER_H
#define OCIPY_LAUNCHER_H

#include <limits.h>
#include <sys/stat.h>

/* Exported by the start library and called once: runs Python, and leaves by exit or _exit. library: the absolute
 * path of the start library itself. */
typedef int ocipy_start_function(int argc, char **argv, const char *library);
#define OCIPY_START_FUNCTION "ocipy_start"
ocipy_start_function ocipy_start;

/* installation.c. The signals that a runtime must not die of, or needs. */
void set_signals(void);

/* Whether a command ends inside a container. */
int needs_sealing(int argc, char **argv);

/* The absolute path of the start library. 0, or -1 after reporting the reason. */
int find_start_library(char path[PATH_MAX]);

/* 0 if a file and its directory can be trusted, or -1 after reporting the reason. */
int check_file(const char *path);

/* Whether nobody can write to the running executable: it is a memfd with all four seals, or the file with this
 * identity on an overlay. -1 with errno on failure. */
int is_sealed(const char *identity);

/* The identity of a file on an overlay, as text. It is passed on, followed by a comma and the descriptor of the
 * snapshot. */
enum { IDENTITY_SIZE = 56 };
int is_on_overlay(int executable, const char *identity);
int describe_on_overlay(int file, char identity[IDENTITY_SIZE]);

/* The descriptor of the snapshot on the overlay that this process was executed from, or -1. Used and closed by
 * snapshot.c. */
extern int handed_snapshot;
#define SNAPSHOT_NAME "_snapshot.bin"

/* Descriptors of an executable and of its snapshot (or -1) on a private overlay, and the executable's identity there.
 * is_foreign: the overlay belongs to another user namespace, so it can only be executed. */
struct on_overlay {
    int executable, snapshot, is_foreign;
    char identity[IDENTITY_SIZE];
};

/* The directory and the name of the running executable. 0, or -1 with errno. */
int find_self(char directory[PATH_MAX], char name[PATH_MAX]);

/* Opens an executable and the snapshot on an overlay of two directories, of which neither is in the other: that of the
 * executable, and another one. 0; or -1 with errno if no such overlay can be mounted. */
int open_on_overlay(const char *directory, const char *name, const char *other_layer, struct on_overlay *files);

/* The same for the running executable. */
int open_self_on_overlay(const char *library_directory, struct on_overlay *files);

/* Executes the executable there. library: the path of the start library. Returns with errno if that fails, and closes
 * the files. */
void execute_on_overlay(struct on_overlay *files, const char *library, char **argv);

/* seal.c: whether the kernel can be told of another executable. */
int can_replace_executable(void);

/* The executable on the overlay that this process is about to replace its executable by, or -1. */
extern int executable_on_overlay;

/* Executes this command again, sealed; if in_place is not 0, perhaps only prepares the files with which this process
 * can seal itself, and returns 0. -1 on failure, after reporting the reason. */
int seal(const char *library, char **argv, int in_place);

/* For a process that was to replace its executable and could not: executes the one on the overlay, which gets the
 * snapshot there. Returns on failure. */
void execute_instead(int executable, int snapshot, const char *library, char **argv);

/* handing.c: puts the variable into the environment. 0, or -1 with errno. */
int hand_over(const char *identity, const char *library);

/* Removes it. Sets identity and path to what was passed to this process, or to "", and descriptor to the number, or to
 * -1. */
void take_over(char identity[IDENTITY_SIZE], char *path, int *descriptor);
void forget_handed(void);

/* Why no such overlay can be mounted: errno's text; NULL if one can. */
const char *overlay_obstacle(const char *library_directory);

/* Copies an executable into a sealed memfd and executes that with the same arguments and environment. Returns only
 * on failure, after reporting the reason on standard error. */
void execute_sealed_copy(const char *file, char **argv);

/* With --systemd-cgroup, and for restore: has a child prepare the kernel for the move of a process into a cgroup. The
 * child sends no signal at its end; reap it with __WCLONE. */
void hurry(int argc, char **argv);

/* The path of the running executable. 0, or -1 with errno. */
int find_own_path(char path[PATH_MAX]);

/* NULL if a file of our code, or its directory, can be trusted: root or the caller owns it, and nobody else can
 * write to it. Otherwise the reason as text. about: what stat(2) says about the path. */
const char *distrust(const char *path, const struct stat *about);

/* The start library that belongs to an installed executable, and the reverse. Paths are absolute, in buffers of
 * PATH_MAX bytes. The library's usual path is returned even if there is no such file; -1 if the executable cannot be
 * found. */
void library_of_executable(const char *executable, char *library);
int executable_of_library(const char *library, char *executable);

/* What prevents Python's start: its standard library is gone, or this user cannot read it. NULL if nothing does. Also
 * sets what to do about it. */
const char *python_fault(const char **advice);

/* Whether an errno says that a file is not there; any other says nothing about that. */
int is_missing(int error);

/* A reason made of two texts. It is never freed: a process has few. */
const char *reason_of(const char *what, const char *why);

/* Prints `ocipy: WHAT PATH: errno's text` to standard error. */
void complain(const char *what, const char *path);

/* The same for a part of the runtime that cannot be opened: it is missing, or cannot be read. */
void complain_of_part(const char *path);

#endif
