/* How Python is started: isolated, with every path given, and stopped before its "main" phase (PEP 587,
 * PyConfig._init_main).
 *
 * In the core phase these work: the language, built-in and frozen modules, posix, errno, time, marshal, _signal,
 * utf-8. These do not: open(), print(), imports from files, the codec registry. A second Py_InitializeFromConfig, with
 * _init_main set, completes the start for commands and errors that need all of Python. _init_main is a private name:
 * the build checks for it, and falls back to a complete isolated start. */
#include "launcher.h"
#include "snapshot_format.h"
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef OCIPY_CORE_PHASE
static int complete;
#else
static int complete = 1;
#endif

uintptr_t stack_top;
static const struct places *own_places; /* the places of this process, even if Python comes from a snapshot */

static void check(PyStatus status) {
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

static void set(PyConfig *config, wchar_t **member, const char *value) {
    check(PyConfig_SetBytesString(config, member, value));
}

static void add_search_path(PyConfig *config, const char *path) {
    wchar_t *wide = Py_DecodeLocale(path, NULL);
    if (!wide)
        check(PyStatus_NoMemory());
    check(PyWideStringList_Append(&config->module_search_paths, wide));
    PyMem_RawFree(wide);
}

#ifndef OCIPY_PACKAGES
/* Whether we are installed in a virtual environment that excludes the system's packages (pyvenv.cfg; see Python's
 * module site). */
static int has_own_packages(const struct places *places) {
    char file[PATH_MAX], text[1024] = "";
    if (snprintf(file, sizeof(file), "%s/../../../pyvenv.cfg", places->packages) >= (int)sizeof(file))
        return 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return !is_missing(errno);
    (void)!read(fd, text, sizeof(text) - 1);
    close(fd);
    return !strstr(text, "include-system-site-packages = true");
}

static void add_sites(PyConfig *config, const struct places *places) {
    char sites[] = OCIPY_SITES, *rest = sites;
    for (char *site; !has_own_packages(places) && (site = strsep(&rest, ":"));)
        if (*site && strcmp(site, places->packages))
            add_search_path(config, site);
}
#endif

static void set_places(PyConfig *config, const struct places *places) {
    config->module_search_paths_set = 1;
    add_search_path(config, OCIPY_STDLIB);
    add_search_path(config, OCIPY_DYNLOAD);
    add_search_path(config, places->packages);
    if (strcmp(places->packages, places->dependencies))
        add_search_path(config, places->dependencies);
#ifndef OCIPY_PACKAGES
    add_sites(config, places);
#endif
    set(config, &config->prefix, OCIPY_PREFIX);
    set(config, &config->exec_prefix, OCIPY_PREFIX);
    set(config, &config->base_prefix, OCIPY_PREFIX);
    set(config, &config->base_exec_prefix, OCIPY_PREFIX);
    set(config, &config->executable, OCIPY_EXECUTABLE);
    set(config, &config->base_executable, OCIPY_EXECUTABLE);
    set(config, &config->stdlib_dir, OCIPY_STDLIB);
}

static void set_encodings(PyConfig *config) {
    set(config, &config->filesystem_encoding, "utf-8");
    set(config, &config->filesystem_errors, "surrogateescape");
    set(config, &config->stdio_encoding, "utf-8");
    set(config, &config->stdio_errors, "surrogateescape");
}

/* Starts Python, or completes the start if complete is set. Exits on failure. */
static void initialize(const struct places *places) {
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
#ifdef OCIPY_CORE_PHASE
    config._init_main = complete;
#endif
    config.site_import = 0;
    config.install_signal_handlers = 0; /* the launcher has set SIGPIPE and SIGXFSZ */
    config.write_bytecode = 0;
    config.parse_argv = 0;
    set_places(&config, places);
    set_encodings(&config);
    check(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
}

void start_python(const struct places *places) {
#ifndef OCIPY_CORE_PHASE
    const char *advice, *fault = python_fault(&advice);
    if (fault) { /* with a core phase, python.py reports it */
        dprintf(STDERR_FILENO, "ocipy: %s\n  %s\n", fault, advice);
        _exit(1);
    }
#endif
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    check(Py_PreInitialize(&before));
    initialize(places);
    own_places = places;
    PyGC_Disable(); /* a short-lived process makes too little garbage to be worth a search */
}

/* _start.complete(): False if the start was complete already. */
static PyObject *start_complete(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    if (!complete) {
        complete = 1;
        initialize(own_places);
    }
    if (!imports_are_ours())
        Py_RETURN_FALSE;
    forget_frozen();
    if (give_back_imports())
        return NULL;
    Py_RETURN_TRUE;
}

int finish_python(void) {
    if (!complete || imports_are_ours())
        return 0;
    PyObject *at_hand = PyDict_GetItemString(PyImport_GetModuleDict(), "ocipy.launcher.at_hand");
    PyObject *finished = at_hand ? PyObject_CallMethod(at_hand, "finish", NULL) : Py_NewRef(Py_False);
    int result = finished == Py_True ? 0 : finished ? Py_FinalizeEx() : -1;
    Py_XDECREF(finished);
    return result;
}

/* _start.why_slow(): None, or (reason, consequence). */
static PyObject *start_why_slow(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return slow_reason ? Py_BuildValue("ss", slow_reason, next_start(own_places)) : Py_NewRef(Py_None);
}

/* _start.sealed_obstacle(): None, or a text. */
static PyObject *start_sealed_obstacle(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return Py_BuildValue("z", sealed_obstacle(own_places));
}

/* _start.executable(): what to execute for another command. */
static PyObject *start_executable(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    char path[PATH_MAX];
    return find_callable(own_places, path) ? PyErr_Format(PyExc_OSError, "cannot find the executable")
                                           : PyUnicode_DecodeUTF8(path, strlen(path), "surrogateescape");
}

/* _start.python_fault(): None, or (what, advice). */
static PyObject *start_python_fault(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    const char *advice, *fault = python_fault(&advice);
    return fault ? Py_BuildValue("ss", fault, advice) : Py_NewRef(Py_None);
}

/* _start.setup_obstacle(): None, or a text. */
static PyObject *start_setup_obstacle(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return Py_BuildValue("z", setup_obstacle(own_places));
}

static PyMethodDef methods[] = {
    {"complete", start_complete, METH_NOARGS, "Complete Python's start; False if it was complete. For python.py only."},
    {"why_slow", start_why_slow, METH_NOARGS, "None if there is a snapshot; else (reason, consequence)."},
    {"sealed_obstacle", start_sealed_obstacle, METH_NOARGS, "Why sealed commands cannot use it; None if they can."},
    {"executable", start_executable, METH_NOARGS, "The path of the executable, for another command. Raises OSError."},
    {"python_fault", start_python_fault, METH_NOARGS, "None, or (why Python cannot start completely, what to do)."},
    {"setup_obstacle", start_setup_obstacle, METH_NOARGS, "Why `ocipy setup` cannot make a snapshot; None if it can."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ocipy.launcher._start",
    .m_doc =
        "From the start library: argv; packages, the directory that contains the package ocipy; stdlib, the directory "
        "of the standard library; snapshot, the path of the snapshot.",
    .m_size = -1,
    .m_methods = methods,
};

static PyObject *decode_arguments(int argc, char **argv) {
    PyObject *list = PyList_New(argc);
    for (int i = 0; list && i < argc; i++) {
        PyObject *word = PyUnicode_DecodeUTF8(argv[i], strlen(argv[i]), "surrogateescape");
        if (!word)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, word);
    }
    return list;
}

/* Makes a module importable, and consumes the reference to it. */
static int publish(PyObject *module) {
    int result = module ? PyDict_SetItemString(PyImport_GetModuleDict(), PyModule_GetName(module), module) : -1;
    Py_XDECREF(module);
    return result;
}

PyMODINIT_FUNC PyInit__kernel(void);

int add_builtin_modules(const struct places *places) {
    PyObject *start = PyModule_Create(&definition);
    if (!start || PyModule_AddStringConstant(start, "packages", places->packages) ||
        PyModule_AddStringConstant(start, "stdlib", OCIPY_STDLIB) ||
        PyModule_AddStringConstant(start, "snapshot", places->snapshot)) {
        Py_XDECREF(start);
        return -1;
    }
    return publish(start) || publish(PyInit__kernel()) ? -1 : 0;
}

int start_fresh(const struct places *places) {
    start_python(places);
    return load_frozen(places->frozen) || add_builtin_modules(places) || take_over_imports() ? -1 : 0;
}

int set_arguments(int argc, char **argv) {
    PyObject *start = PyDict_GetItemString(PyImport_GetModuleDict(), definition.m_name);
    PyObject *arguments = decode_arguments(argc, argv);
    int result = start && arguments ? PyModule_AddObjectRef(start, "argv", arguments) : -1;
    Py_XDECREF(arguments);
    return result;
}

/* posix.environ is still that of the process that wrote the snapshot. If a variable occurs twice, the first one wins,
 * as when Python starts. */
static int renew_environment(void) {
    PyObject *posix = PyDict_GetItemString(PyImport_GetModuleDict(), "posix");
    PyObject *dict = posix ? PyDict_GetItemString(PyModule_GetDict(posix), "environ") : NULL;
    if (!dict)
        return -1;
    PyDict_Clear(dict);
    for (char **entry = environ; entry && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        PyObject *name = equals ? PyBytes_FromStringAndSize(*entry, equals - *entry) : NULL;
        PyObject *value = equals ? PyBytes_FromString(equals + 1) : NULL;
        int failed = equals && !(name && value && PyDict_SetDefault(dict, name, value));
        Py_XDECREF(name);
        Py_XDECREF(value);
        if (failed)
            return -1;
    }
    return 0;
}

#if defined(OCIPY_SNAPSHOT) && PY_VERSION_HEX >= 0x030E0000
/* Since 3.14, Python checks how much of the C stack remains, and each process has a different stack. It ends above the
 * name of the executable (AT_EXECFN, at the top of what execve(2) puts there) and can grow up to RLIMIT_STACK. Python
 * itself would call pthread_getattr_np(3), which reads /proc/self/maps. */
static int renew_stack(PyThreadState *thread) {
    const rlim_t most = 8 << 20, least = 128 << 10; /* execve(2): the kernel reserves space for at least this much */
    const uintptr_t page = SNAPSHOT_PAGE,
                    top = stack_top ? stack_top : ((uintptr_t)getauxval(AT_EXECFN) + page) & -page;
    struct rlimit limit;
    rlim_t size = getrlimit(RLIMIT_STACK, &limit) || limit.rlim_cur > most ? most : limit.rlim_cur;
    if (size < least)
        size = least;
    return PyUnstable_ThreadState_SetStackProtection(thread, (void *)(top - size), size);
}
#else
static int renew_stack(PyThreadState *thread) {
    return 0;
}
#endif

static int resume(PyThreadState *thread, const struct places *places) {
    own_places = places;
    PyEval_RestoreThread(thread);
    return renew_stack(thread);
}

int resume_python(PyThreadState *thread, const struct places *places) {
    if (resume(thread, places))
        return -1;
    /* This is the only thread, it has another identity, and it needs new locks. */
    PyOS_BeforeFork();
    PyOS_AfterFork_Child();
    return renew_environment();
}

int resume_same_thread(PyThreadState *thread, const struct places *places) {
    return resume(thread, places) ? -1 : renew_environment();
}
