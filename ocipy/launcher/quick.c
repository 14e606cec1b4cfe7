/* The executable `ocipy`, where snapshots contain the libraries. It is statically linked against musl, because glibc's
 * startup takes ten times as long as executing this. It continues in a snapshot (restore.c), or executes
 * `ocipy-python`, which can do everything itself. To make a snapshot, it loads `ocipy-python` by loader.c. */
#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

static void directory_of(char path[PATH_MAX], const char *file, int up) {
    strcpy(path, file);
    for (char *slash; up-- && (slash = strrchr(path, '/'));)
        *slash = '\0';
}

/* Opens both files on an overlay (overlay.c), since a container could reach them through /proc/PID/exe and
 * /proc/PID/map_files. */
static int open_sealed(struct snapshot_files *files, const char *library, char **argv) {
    struct on_overlay sealed;
    char own_directory[PATH_MAX], own_name[PATH_MAX];
    if (!can_replace_executable() || find_self(own_directory, own_name) ||
        open_on_overlay(files->directory, EXECUTABLE_NAME, own_directory, &sealed))
        return -1;
    if (sealed.is_foreign) {
        execute_on_overlay(&sealed, library, argv);
        return -1;
    }
    files->executable = sealed.executable;
    files->snapshot = sealed.snapshot;
    return files->snapshot < 0 ? -1 : 0;
}

static int open_plain(struct snapshot_files *files) {
    files->executable = open(files->executable_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    files->snapshot = open(files->snapshot_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return files->executable < 0 || files->snapshot < 0 ? -1 : 0;
}

static int is_making(int argc, char **argv) {
    return argc >= 2 && (!strcmp(argv[1], "_snapshot") || !strcmp(argv[1], "_renew"));
}

static void start_quickly(struct snapshot_files *files, const char *library, int argc, char **argv) {
    char packages[PATH_MAX];
    int seals = needs_sealing(argc, argv);
    if (seals)
        hurry(argc, argv);
    if (seals ? open_sealed(files, library, argv) : open_plain(files))
        return;
    struct resumption from = {.argc = argc,
                              .argv = argv,
                              .envp = environ,
                              .library = library,
                              .snapshot = files->snapshot,
                              .executable = files->executable,
                              .seals = seals};
    if (seals)
        prctl(PR_SET_NAME, "ocipy");
#ifdef OCIPY_PACKAGES
    strcpy(packages, OCIPY_PACKAGES);
#else
    directory_of(packages, library, 3);
#endif
    restore(files, packages, &from);
    close(files->executable);
    close(files->snapshot); /* on an overlay it is open without O_CLOEXEC */
}

int main(int argc, char **argv) {
    char library[PATH_MAX];
    static struct snapshot_files files;
    set_signals();
    if (find_start_library(library) < 0)
        return 1;
    directory_of(files.directory, library, 1);
    if (join(files.executable_path, files.directory, EXECUTABLE_NAME) ||
        join(files.snapshot_path, files.directory, SNAPSHOT_NAME)) {
        errno = ENAMETOOLONG;
        complain_of_part(library);
        return 1;
    }
    if (check_file(files.executable_path))
        return 1;
    if (!is_making(argc, argv))
        start_quickly(&files, library, argc, argv);
    else if (!environment_matters(environ)) /* ld.so may need it to find the libraries */
        load(files.executable_path, argc, argv);
    execv(files.executable_path, argv);
    complain_of_part(files.executable_path);
    return 1;
}
