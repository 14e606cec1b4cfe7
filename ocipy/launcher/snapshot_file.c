/* Writing a snapshot under a temporary name, FILE.new.
 *
 * FILE.new is also the lock. Only its owner can open it, because anyone who can read a file can lock it. If a snapshot
 * cannot be made, FILE.new remains, empty, so that the next commands do not try again at once. */
#include "launcher.h"
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = SNAPSHOT_PAGE, PAUSE = 60 }; /* PAUSE: seconds between two attempts */

static int name_new(const char *path, char *name) {
    return snprintf(name, PATH_MAX, "%s.new", path) < PATH_MAX ? 0 : -1;
}

static int is_ours(const struct stat *about) {
    return S_ISREG(about->st_mode) && about->st_uid == geteuid() && about->st_nlink == 1 && !(about->st_mode & 0177);
}

/* Opens FILE.new, or creates it. Removes anything else of that name, since somebody else put it there. */
static int open_new(const char *name) {
    struct stat about;
    int file = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (file >= 0 && fstat(file, &about) == 0 && is_ours(&about))
        return file;
    if (file >= 0)
        close(file);
    if (unlink(name) && errno != ENOENT)
        return -1;
    return open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int begin_snapshot(const char *path) {
    char name[PATH_MAX];
    struct stat held, there;
    if (name_new(path, name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int file = open_new(name);
    if (file < 0 || flock(file, LOCK_EX) || fstat(file, &held)) {
        if (file >= 0)
            close(file);
        return -1;
    }
    if (lstat(name, &there) || there.st_dev != held.st_dev || there.st_ino != held.st_ino) {
        close(file); /* the process that held the lock has finished the snapshot and renamed it */
        errno = EALREADY;
        return -1;
    }
    if (ftruncate(file, 0)) { /* a killed process may have written something */
        close(file);
        return -1;
    }
    return file;
}

void give_up_snapshot(int file) {
    int error = errno;
    (void)!ftruncate(file, 0);
    close(file);
    errno = error;
}

int end_snapshot(int file, const char *path) {
    char name[PATH_MAX];
    /* First fsync: a power failure must not leave half a snapshot under the final name. */
    if (name_new(path, name) == 0 && fsync(file) == 0 && rename(name, path) == 0) {
        /* Not before the rename: the next maker would find FILE.new with a strange mode and replace it with its own,
         * which we would then rename. */
        int failed = fchmod(file, 0644);
        return close(file) || failed ? -1 : 0;
    }
    give_up_snapshot(file);
    return -1;
}

void cancel_snapshot(int file, const char *path) {
    char name[PATH_MAX];
    if (name_new(path, name) == 0)
        unlink(name);
    close(file);
}

enum last_try last_try(const char *path) {
    char name[PATH_MAX];
    struct stat about;
    int file = name_new(path, name) ? -1 : open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return NEVER;
    enum last_try when = NEVER;
    if (fstat(file, &about) == 0 && is_ours(&about)) {
        time_t age = time(NULL) - about.st_mtime; /* negative if the clock was set back: unknown */
        if (flock(file, LOCK_EX | LOCK_NB))
            when = AT_THIS_MOMENT;
        else if (age >= 0 && age < PAUSE)
            when = A_MOMENT_AGO;
    }
    close(file);
    return when;
}

const char *making_obstacle(const char *path) {
    char directory[PATH_MAX];
    struct stat about;
    strcpy(directory, path);
    *strrchr(directory, '/') = '\0';
    if (sysconf(_SC_PAGESIZE) != PAGE)
        return "this machine cannot use one";
    if (stat(directory, &about))
        return reason_of("the installation directory cannot be examined: ", strerror(errno));
    if (about.st_uid != geteuid())
        return "only the owner of the installation can make one";
    const char *reason = distrust(directory, &about);
    if (reason)
        return reason_of("the installation directory ", reason);
    if (faccessat(AT_FDCWD, directory, W_OK, AT_EACCESS) == 0)
        return NULL;
    return errno == EROFS ? "the installation is read-only"
                          : reason_of("the installation directory cannot be written: ", strerror(errno));
}
