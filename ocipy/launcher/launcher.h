/* The interface between the launcher and the start library. Neither knows anything about containers.
 *
 * The launcher (launcher.c, installation.c, layout.c, handing.c, hurry.c, overlay.c, seal.c, stdlib.c, trust.c) is an
 * executable linked against libc only, so it is small to seal and quick to execute. It loads the start library
 * (start.c, frozen.c, importer.c, obstacles.c, places.c, python_start.c), which links libpython.
 *
 * With a static libpython, the start library and libpython are linked into the same program, at fixed addresses:
 * nothing is relocated, and Python does not even have to start (snapshot.c). This program is `ocipy`, or `ocipy-python`
 * if a quick launcher is in front of it (quick.c). It is sealed with an overlay (overlay.c). Where no overlay can be
 * mounted, the small launcher is copied and sealed instead, if this Python also has a shared libpython; in that case
 * the launcher is installed in the same directory as the start library.
 *
 * Set at build time: OCIPY_STDLIB, the directory of the standard library of the Python that this was built for. */
#ifndef OCIPY_LAUNCHER_H
#define OCIPY_LAUNCHER_H

#include <limits.h>
#include <sys/stat.h>

/* Exported by the start library and called once: runs Python, and ends the process. library: the absolute path of the
 * start library itself. */
typedef int ocipy_start_function(int argc, char **argv, const char *library);
#define OCIPY_START_FUNCTION "ocipy_start"
ocipy_start_function ocipy_start;

/* installation.c: sets the signals that must not kill a runtime, and the one that it needs. */
void set_signals(void);

/* Whether a command ends inside a container. */
int needs_sealing(int argc, char **argv);

/* Finds the absolute path of the start library. 0, or -1 after reporting the reason. */
int find_start_library(char path[PATH_MAX]);

/* Checks that a file and its directory can be trusted. 0, or -1 after reporting the reason. */
int check_file(const char *path);

/* Whether nobody can write to the running executable: it is a memfd with all four seals, or the file with this
 * identity on an overlay. -1 with errno on failure. */
int is_sealed(const char *identity);

/* overlay.c: the identity of a file on an overlay, as text. It is passed on, followed by a comma and the descriptor of
 * the snapshot. */
enum { IDENTITY_SIZE = 56 };
int is_on_overlay(int executable, const char *identity);
int describe_on_overlay(int file, char identity[IDENTITY_SIZE]);

/* The descriptor of the snapshot on the overlay that this process was executed from, or -1. snapshot.c uses and closes
 * it. */
extern int handed_snapshot;
#define SNAPSHOT_NAME "_snapshot.bin"

/* Descriptors of an executable and of its snapshot (or -1) on a private overlay, and the executable's identity there.
 * is_foreign: the overlay belongs to another user namespace, so the file can only be executed, not made the executable
 * of this process (replace.c). */
struct on_overlay {
    int executable, snapshot, is_foreign;
    char identity[IDENTITY_SIZE];
};

/* Finds the directory and the name of the running executable. 0, or -1 with errno. */
int find_self(char directory[PATH_MAX], char name[PATH_MAX]);

/* Opens an executable and the snapshot on an overlay of two directories: the executable's, and another one. Neither may
 * be inside the other. 0; or -1 with errno if no such overlay can be mounted. */
int open_on_overlay(const char *directory, const char *name, const char *other_layer, struct on_overlay *files);

/* The same for the running executable. */
int open_self_on_overlay(const char *library_directory, struct on_overlay *files);

/* Executes the executable there. library: the path of the start library. On failure closes the files and returns with
 * errno. */
void execute_on_overlay(struct on_overlay *files, const char *library, char **argv);

/* seal.c: whether the kernel supports changing the executable of a running process (PR_SET_MM_MAP). */
int can_replace_executable(void);

/* The executable on the overlay with which this process is about to replace its own, or -1. */
extern int executable_on_overlay;

/* launcher.c: executes this command again, sealed. If in_place is not 0, it may instead open the files with which this
 * process can seal itself, and return 0. -1 on failure, after reporting the reason. */
int seal(const char *library, char **argv, int in_place);

/* For a process that could not replace its executable: executes the one on the overlay, and hands it the snapshot
 * there. Returns on failure. */
void execute_instead(int executable, int snapshot, const char *library, char **argv);

/* handing.c: puts the variable that passes these on into the environment. 0, or -1 with errno. */
int hand_over(const char *identity, const char *library);

/* Reads and removes the variable. Sets identity and path to what was passed on to this process, or to "", and
 * descriptor to the snapshot's, or to -1. */
void take_over(char identity[IDENTITY_SIZE], char *path, int *descriptor);

/* Removes the variable. */
void forget_handed(void);

/* overlay.c: why no overlay can be mounted here: errno's text. NULL if one can be. */
const char *overlay_obstacle(const char *library_directory);

/* seal.c: copies an executable into a sealed memfd and executes it with the same arguments and environment. Returns
 * only on failure, after reporting the reason. */
void execute_sealed_copy(const char *file, char **argv);

/* With --systemd-cgroup, and for restore: starts a child that makes a later move of a process into a cgroup fast. The
 * child sends no signal when it exits; reap it with __WCLONE. */
void hurry(int argc, char **argv);

/* trust.c: finds the path of the running executable. 0, or -1 with errno. */
int find_own_path(char path[PATH_MAX]);

/* Why a file of our code, or its directory, cannot be trusted, as text; NULL if it can: root or the caller owns it, and
 * nobody else can write to it. about: what stat(2) says about the path. */
const char *distrust(const char *path, const struct stat *about);

/* layout.c: finds the start library of an installed executable, and the reverse. Paths are absolute, in buffers of
 * PATH_MAX bytes. The library's usual path is returned even if there is no such file; -1 if the executable cannot be
 * found. */
void library_of_executable(const char *executable, char *library);
int executable_of_library(const char *library, char *executable);

/* stdlib.c: what prevents Python from starting: its standard library is gone, or this user cannot read it. NULL if
 * nothing does. Also sets what to do about it. */
const char *python_fault(const char **advice);

/* Whether an errno means that a file does not exist. Any other errno leaves that open. */
int is_missing(int error);

/* A reason made of two texts. It is never freed: a process makes few of them. */
const char *reason_of(const char *what, const char *why);

/* Prints `ocipy: WHAT PATH: errno's text` to standard error. */
void complain(const char *what, const char *path);

/* Reports that a part of the runtime is missing or, judging by errno, cannot be read. */
void complain_of_part(const char *path);

#endif
