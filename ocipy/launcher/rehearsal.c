/* Finds out, before a snapshot is recorded, which of its blocks commands write to.
 *
 * Python is started as for the snapshot, and each trial command (cli/trial.py) runs in a fork of that process. The
 * kernel reports which pages it has written to, but not which blocks. So there are two rehearsals: the first one finds
 * the pages, and in the second one each block on these pages has a page for itself. If a trial fails or is killed,
 * commands are only slower. Nothing outlives the maker for long: the processes have alarms, and the next rehearsal
 * removes the directory that a killed one has left.
 *
 * Afterwards the same scenes are played from the finished snapshot, to find out which of its pages are written to. */
#include "launcher.h"
#include "snapshot.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../linux/kernel/alone.h"

enum { PATIENCE_SECONDS = 20, PATIENCE_OF_INIT = 4 * PATIENCE_SECONDS }; /* init lives for several scenes */
enum { MOST_SCENES = 64 };                                               /* more than there are */

static struct marks *found;

/* Init has its own session and outlives its parent, so a signal to the maker's process group does not end it. It ends
 * itself by a signal that it handles while it waits (init/process.py): as the first process of its pid namespace it
 * would ignore others. Not timer_create(3), which glibc before 2.34 has in librt. */
static void limit_life(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM};
    struct itimerspec once = {.it_value.tv_sec = PATIENCE_OF_INIT};
    int timer;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0)
        syscall(SYS_timer_settime, timer, 0, &once, NULL);
}

static void note_init(void) {
    limit_life();
    mark_written(found, INIT_LANE);
}

/* Ends this process if it takes too long. The caller of the runtime may have ignored or blocked the signal. */
static void limit_scene(void) {
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGALRM);
    signal(SIGALRM, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    alarm(PATIENCE_SECONDS);
}

/* Calls ocipy.cli.trial.play(directory, scene). Returns the writer that this process counts as; 0 if there are no more
 * scenes. */
static int play(const char *directory, int scene) {
    PyObject *trial = PyImport_ImportModule("ocipy.cli.trial");
    PyObject *writer = trial ? PyObject_CallMethod(trial, "play", "si", directory, scene) : NULL;
    return writer ? (int)PyLong_AsLong(writer) : 0;
}

static int silence(void) {
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        if (dup2(nothing, fd) < 0)
            return -1;
    return 0;
}

/* Plays one scene in a fork. Returns whether there are more. */
static int play_aside(PyThreadState *thread, const struct places *places, const char *directory, int scene) {
    struct extent heap;
    int status;
    pid_t child = fork();
    if (child == 0) {
        limit_scene();
        end_recording(&heap);
        before_last_steps = note_init;
        if (silence() || resume_python(thread, places))
            _exit(0);
        int writer = play(directory, scene);
        if (writer & ALL_WRITERS)
            mark_written(found, writer);
        _exit(writer != 0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && (WIFSIGNALED(status) || WEXITSTATUS(status));
}

static void rehearse_once(const struct places *places, const char *directory, enum layout layout,
                          const struct marks *marks) {
    if (begin_recording(layout, marks) || start_recorded(places))
        return;
    PyThreadState *thread = PyEval_SaveThread();
    for (int scene = 0; play_aside(thread, places, directory, scene); scene++)
        continue;
}

static int name_directory(char directory[PATH_MAX], const char *file) {
    return snprintf(directory, PATH_MAX, "%s.trial", file) < PATH_MAX ? 0 : -1;
}

struct marks *rehearse(const char *file, const struct places *places) {
    struct marks *marks[] = {new_marks(), new_marks()};
    char directory[PATH_MAX];
    if (!marks[0] || !marks[1] || name_directory(directory, file))
        return NULL;
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            found = marks[i];
            rehearse_once(places, directory, i ? APART : TOGETHER, i ? marks[0] : NULL);
            _exit(0);
        }
        if (child < 0 || waitpid(child, NULL, 0) < 0)
            return NULL;
    }
    return marks[1];
}

/* Executes `ocipy _touched [DIRECTORY SCENE]`. Returns whether there are more scenes. */
static int execute_trial(const char *directory, const char *scene) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (!silence())
            execl("/proc/self/exe", "ocipy", "_touched", directory, scene, NULL);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && (WIFSIGNALED(status) || WEXITSTATUS(status));
}

void try_snapshot(const char *file, const struct places *places) {
    char directory[PATH_MAX], scene[16];
    struct stat made, found;
    if (stat(file, &made) || stat(places->snapshot, &found) || made.st_dev != found.st_dev ||
        made.st_ino != found.st_ino || name_directory(directory, file))
        return;
    execute_trial(NULL, NULL);
    for (int i = 0; i < MOST_SCENES; i++) {
        snprintf(scene, sizeof(scene), "%d", i);
        if (!execute_trial(directory, scene))
            return;
    }
}

int play_noted(const struct places *places, const char *directory, int scene) {
    limit_scene();
    before_last_steps = limit_life;
    int writer = play(directory, scene);
    if (writer == HOST_LANE || writer == EXEC)
        note_touched(places, writer == EXEC ? BY_EXEC : BY_CREATE);
    return writer != 0;
}
