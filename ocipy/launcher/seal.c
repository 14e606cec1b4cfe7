/* Sealing: what a container can reach as /proc/PID/exe is a sealed copy in memory, never a file of the host
 * (CVE-2019-5736). */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* since Linux 6.3, linux/memfd.h */
#endif

/* F_SEAL_FUTURE_WRITE adds nothing to F_SEAL_WRITE, and was broken before Linux 5.5. */
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static const char SELF[] = "/proc/self/exe";

extern char **environ;

int is_sealed(const char *identity) {
    int self = open(SELF, O_RDONLY | O_CLOEXEC);
    if (self < 0)
        return -1;
    int seals = fcntl(self, F_GET_SEALS);
    /* All four: on a tmpfs every file has F_SEAL_SEAL. Other filesystems answer EINVAL. */
    int sealed = (seals >= 0 && (seals & SEALS) == SEALS) || (*identity && is_on_overlay(self, identity));
    close(self);
    return sealed;
}

/* MFD_EXEC says that the file will be executed; kernels before Linux 6.3 do not know the flag. If vm.memfd_noexec=2
 * forbids such files, no sealed copy can be executed. */
static int create_memory_file(void) {
    int copy = memfd_create("ocipy", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (copy < 0 && errno == EINVAL)
        copy = memfd_create("ocipy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0)
        complain(errno == EACCES ? "cannot make an executable file in memory; sysctl vm.memfd_noexec=2 forbids it:"
                                 : "cannot make a file in memory:",
                 "memfd_create");
    return copy;
}

static int copy_all(int from, int to) {
    struct stat about;
    if (fstat(from, &about) < 0)
        return -1;
    for (off_t at = 0; at < about.st_size;) {
        ssize_t sent = sendfile(to, from, &at, about.st_size - at);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent == 0)
            errno = EIO; /* the file has shrunk meanwhile */
        if (sent <= 0)
            return -1;
    }
    return 0;
}

static int add_seals(int copy) {
    if (fcntl(copy, F_ADD_SEALS, SEALS) < 0)
        return -1;
    int seals = fcntl(copy, F_GET_SEALS);
    if (seals >= 0 && (seals & SEALS) == SEALS)
        return 0;
    errno = EPERM;
    return -1;
}

void execute_sealed_copy(const char *file, char **argv) {
    int original = open(file, O_RDONLY | O_CLOEXEC);
    if (original < 0) {
        complain("cannot open the executable; is /proc mounted?", file);
        return;
    }
    int copy = create_memory_file();
    if (copy < 0)
        return;
    if (copy_all(original, copy) < 0)
        complain("cannot copy into memory:", file);
    else if (fchmod(copy, 0511) < 0 || add_seals(copy) < 0)
        complain("cannot seal the copy in memory of", file);
    else {
        fexecve(copy, argv, environ);
        complain("cannot execute the sealed copy of the runtime; does a security module forbid files in memory?", file);
    }
    close(copy);
    close(original);
}

int can_replace_executable(void) {
    unsigned size = 0;
    return syscall(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size == sizeof(struct prctl_mm_map);
}
