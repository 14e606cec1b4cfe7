/* enter PID PROGRAM ARGUMENT…: executes a program in the pid namespace of a process, and exits with its exit status.
 *
 * For containers that overwrite every program that enters. This program and the one that it runs are copies. nsenter(1)
 * does not work there: it runs its command by execvp(3), which executes the host's /bin/sh for a file that the
 * container has overwritten (ENOEXEC). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_EXECUTE = 126 };

int main(int argc, char **argv) {
    char path[64];
    if (argc < 3)
        return CANNOT_EXECUTE;
    snprintf(path, sizeof(path), "/proc/%s/ns/pid", argv[1]);
    int namespace = open(path, O_RDONLY | O_CLOEXEC), program = open(argv[2], O_PATH | O_CLOEXEC);
    if (namespace < 0 || program < 0 || setns(namespace, CLONE_NEWPID) < 0)
        return CANNOT_EXECUTE;
    pid_t child = fork();
    if (child < 0)
        return CANNOT_EXECUTE;
    if (child == 0) {
        char *none[] = {NULL};
        execveat(program, "", argv + 2, none, AT_EMPTY_PATH);
        _exit(CANNOT_EXECUTE);
    }
    int status;
    if (waitpid(child, &status, 0) < 0)
        return CANNOT_EXECUTE;
    return WIFEXITED(status) ? WEXITSTATUS(status) : CANNOT_EXECUTE;
}
