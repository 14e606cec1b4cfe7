/* What the launcher and the start library know of each other. Both know nothing of containers.
 *
 * The launcher (launcher.c, overlay.c, seal.c, trust.c) is an executable linked against libc only: small to seal, quick
 * to execute. It loads the start library (start.c, frozen.c, importer.c, python_start.c), which links libpython.
 *
 * Where there is a static libpython, `ocipy` is the same program with the start library and libpython linked in, at
 * fixed addresses: nothing is relocated, and Python need not even start (snapshot.c). That one is sealed by an overlay
 * (overlay.c). Where there can be no overlay the small launcher is sealed by a copy, if this Python has a shared
 * libpython besides; it is beside the start library then.
 */
#ifndef OCIPY_LAUNCHER_H
#define OCIPY_LAUNCHER_H

#include <sys/stat.h>

/* Exported by the start library, called once: runs Python and leaves by exit or _exit.
 * library: the absolute path of the start library itself. */
typedef int ocipy_start_function(int argc, char **argv, const char *library);
#define OCIPY_START_FUNCTION "ocipy_start"
ocipy_start_function ocipy_start;

/* Whether the running executable can be written by nobody: a memfd with all four seals, or the file of an overlay that
 * has this identity. -1 with errno if that cannot be told. */
int is_sealed(const char *identity);

/* The identity of a file on an overlay, as a text; handed over, with a comma and the descriptor of the snapshot after
 * it. */
enum { IDENTITY_SIZE = 56 };
int is_on_overlay(int executable, const char *identity);

/* The descriptor of the snapshot on the overlay that this process is executed from; -1 if there is none. For
 * snapshot.c, which closes it. */
extern int handed_snapshot;
#define SNAPSHOT_NAME "_snapshot.bin"

/* Executes the running executable once more, from an overlay of its own. hand_over is called with the identity that
 * is_sealed is to get. Returns where there can be no such overlay. */
void execute_on_overlay(const char *other_layer, int (*hand_over)(const char *identity), char **argv);

/* Copies an executable into a sealed memfd and executes that with the same arguments and environment.
 * Returns only on failure, having said why on standard error. */
void execute_sealed_copy(const char *file, char **argv);

/* NULL if a file that holds code of ours, or its directory, may be trusted: owned by root or by the caller, and
 * writable by nobody else; else a text that says why not. */
const char *distrust(const struct stat *about);

/* Says `ocipy: WHAT PATH: errno's text` on standard error. */
void complain(const char *what, const char *path);

#endif
