/* The start library: finds its files, starts Python, calls ocipy.cli.main, and exits with its result. */
#include "launcher.h"
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* Inside a container's root, libc would open files that these variables name. Python has its own copy of the
 * environment by now, so hooks still inherit them. TZ is set because libc would read /etc/localtime otherwise; times
 * are in UTC. */
static void forget_libc_files(void) {
    static const char *const names[] = {"GCONV_PATH",  "GETCONF_DIR", "HOSTALIASES", "LANGUAGE",
                                        "LOCALDOMAIN", "LOCPATH",     "NLSPATH",     "RESOLV_ADD_TRIM_DOMAINS",
                                        "RES_OPTIONS", "TZDIR"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unsetenv(names[i]);
    setenv("TZ", "UTC0", 1);
}

/* A module. PyImport_ImportModule would find a module that has been imported by way of __import__, which takes 30 µs.
 */
static PyObject *import_module(const char *name) {
    PyObject *found = PyDict_GetItemString(PyImport_GetModuleDict(), name);
    return found ? Py_NewRef(found) : PyImport_ImportModule(name);
}

/* Calls ocipy.cli.main.main(argv). Returns the exit status, or -1 with an exception. */
static int call_main(void) {
    PyObject *start = import_module("ocipy.launcher._start");
    PyObject *cli = start ? import_module("ocipy.cli.main") : NULL;
    PyObject *argv = cli ? PyObject_GetAttrString(start, "argv") : NULL;
    PyObject *answer = argv ? PyObject_CallMethod(cli, "main", "O", argv) : NULL;
    int status = answer ? (int)PyLong_AsLong(answer) : -1;
    Py_XDECREF(answer);
    Py_XDECREF(argv);
    Py_XDECREF(cli);
    Py_XDECREF(start);
    return PyErr_Occurred() ? -1 : status;
}

/* For an exception that main did not report. The interpreter may be too broken for a traceback, so print one line only.
 */
static void report_exception(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    const char *words = text ? PyUnicode_AsUTF8(text) : "";
    dprintf(STDERR_FILENO, "ocipy: internal error: %s: %s\n", type ? ((PyTypeObject *)type)->tp_name : "",
            words ? words : "");
}

/* `ocipy _snapshot [FILE]`, which the build and `ocipy setup` call. It also succeeds if this executable cannot have a
 * snapshot. */
static int is_snapshot_call(int argc, char **argv) {
    return (argc == 2 || argc == 3) && !strcmp(argv[1], "_snapshot");
}

/* `ocipy _renew`, which renew.c calls: the same, but does nothing if another process has made the snapshot meanwhile.
 */
static int is_renewal_call(int argc, char **argv) {
    return argc == 2 && !strcmp(argv[1], "_renew");
}

/* `ocipy _touched [DIRECTORY SCENE]`, which try_snapshot executes. */
static int is_trial_call(int argc, char **argv) {
    return (argc == 2 || argc == 4) && !strcmp(argv[1], "_touched");
}

#ifdef OCIPY_SNAPSHOT
/* Continues in a process that the launcher has mapped (restore.c). Never returns. */
static resume_function resume_from_launcher;

/* Makes a snapshot in the file that begin_snapshot opened, and closes it. 0; 1 after reporting the reason; or -1 with
 * an exception. */
static int record_into(int opened, const struct places *places, const char *file) {
    clearenv(); /* the environment may contain secrets, and would get into the file */
    if (opened < 0 || begin_recording(TOGETHER, rehearse(file, places))) {
        complain("cannot make the snapshot", file);
        return 1;
    }
    if (start_recorded(places))
        return -1;
    if (write_snapshot(opened, file, PyEval_SaveThread(), places, resume_from_launcher))
        return 1;
    try_snapshot(file, places);
    return 0;
}

static int record_snapshot(const struct places *places, const char *file) {
    int opened = begin_snapshot(file);
    return opened < 0 && errno == EALREADY ? 0 : record_into(opened, places, file);
}

static int record_missing_snapshot(const struct places *places) {
    int opened = begin_snapshot(places->snapshot);
    if (opened >= 0 && has_snapshot(places)) {
        cancel_snapshot(opened, places->snapshot);
        return 0;
    }
    return opened < 0 && errno == EALREADY ? 0 : record_into(opened, places, places->snapshot);
}

static const struct resumption *resumption; /* NULL unless the launcher has mapped this process from the snapshot */

/* Which list has the pages that a sealed command writes to. A wrong list only costs time. */
static int list_for(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "create") || !strcmp(argv[i], "run"))
            return BY_CREATE;
        if (!strcmp(argv[i], "exec"))
            return BY_EXEC;
    }
    return BY_EVERY_COMMAND;
}

/* Seals this process if necessary, then resumes the Python that the launcher has mapped. 0, or -1 with an exception. */
static int resume_mapped(const struct places *places) {
    if (resumption->seals && become_executable(resumption->executable, resumption->launcher)) {
        execute_instead(resumption->executable, resumption->snapshot, places->library, resumption->argv);
        complain("cannot execute the runtime on its overlay:", places->library);
        _exit(1);
    }
    close(resumption->snapshot);
    close(resumption->executable);
    const struct header *header = resumption->header;
    int list = resumption->seals ? list_for(resumption->argc, resumption->argv) : BY_EVERY_COMMAND;
    copy_touched(&resumption->touched[BY_EVERY_COMMAND], header->data, header->heap);
    if (list != BY_EVERY_COMMAND)
        copy_touched(&resumption->touched[list], header->data, header->heap);
    return resume_same_thread((PyThreadState *)header->thread, places);
}

/* Resumes a snapshot's Python or starts a new one. Also seals this process, if the launcher has only prepared that. 0;
 * or -1 after reporting the reason, or with an exception. */
static int start_from_snapshot(const struct places *places, const char *library, char **argv) {
    if (resumption)
        return resume_mapped(places);
    int executable = executable_on_overlay; /* the snapshot replaces the variable */
    PyThreadState *thread = map_snapshot(places, &slow_reason);
    if (executable >= 0 && (!thread || replace_executable(executable))) {
        seal(library, argv, 0);
        _exit(1);
    }
    if (executable >= 0)
        close(executable);
    return thread ? resume_python(thread, places) : start_fresh(places);
}

/* Notes the pages that a trial writes to: one of a container's life (cli/trial.py), or of a command that does next to
 * nothing, so that every other command writes to these as well. Returns 1 if there are more scenes, and 0 if not or if
 * the snapshot cannot be tried: commands are only slower then. */
static int try_command(const struct places *places, int argc, char **argv) {
    static char *words[] = {"ocipy", "--root", "/proc", "state", "touched"};
    if (start_from_snapshot(places, places->library, words) || slow_reason ||
        set_arguments(sizeof(words) / sizeof(*words), words))
        return 0;
    if (argc == 4)
        return play_noted(places, argv[2], atoi(argv[3]));
    if (call_main() >= 0)
        note_touched(places, BY_EVERY_COMMAND);
    return 0;
}

#else
static int record_snapshot(const struct places *places, const char *file) {
    return 0;
}
static int record_missing_snapshot(const struct places *places) {
    return 0;
}
static int try_command(const struct places *places, int argc, char **argv) {
    return 0;
}
static int start_from_snapshot(const struct places *places, const char *library, char **argv) {
    slow_reason = OCIPY_NO_SNAPSHOT;
    return start_fresh(places);
}
#endif

static int run(int argc, char **argv, const struct places *places, const char *library) {
    if (is_snapshot_call(argc, argv))
        return record_snapshot(places, argc == 3 ? argv[2] : places->snapshot);
    if (is_renewal_call(argc, argv))
        return record_missing_snapshot(places);
    if (is_trial_call(argc, argv))
        return try_command(places, argc, argv);
    int failed = start_from_snapshot(places, library, argv);
    forget_libc_files();
    return failed || set_arguments(argc, argv) ? -1 : call_main();
}

static void have_renewed(const struct places *places) {
#if defined(OCIPY_SNAPSHOT) && !defined(OCIPY_PACKAGES)
    if (slow_reason)
        renew_snapshot(places);
#endif
}

#ifdef OCIPY_SNAPSHOT
/* glibc's data are those of the process that made the snapshot, so set what is different in this one. */
static void resume_from_launcher(const struct resumption *from) {
    resumption = from;
    stack_top = from->stack_top;
    environ = from->envp;
    program_invocation_name = program_invocation_short_name = from->argv[0];
    (void)!brk(NULL); /* libc reads this process's program break */
    /* As glibc does at startup. set_tid_address(2) returns the thread's id. */
    *(pid_t *)from->libraries->thread_id = (pid_t)syscall(SYS_set_tid_address, from->libraries->thread_id);
    forget_handed();
    _exit(ocipy_start(from->argc, from->argv, from->library));
}
#endif

EXPORTED int ocipy_start(int argc, char **argv, const char *library) {
    struct places places;
    if (find_places(library, &places) < 0)
        return 1;
    int status = run(argc, argv, &places, library);
    if (status < 0) {
        if (PyErr_Occurred())
            report_exception();
        _exit(1);
    }
    if (finish_python() < 0 && status == 0)
        status = 1;              /* standard output could not be flushed */
    waitpid(-1, NULL, __WCLONE); /* the child of hurry.c: after a command that failed early, it may still run */
    have_renewed(&places);
    _exit(status);
}
