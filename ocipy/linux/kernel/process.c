/* Processes and namespaces: clone3(2), vfork(2), execve(2), unshare(2), setns(2), ioctl_ns(2), pidfd_open(2),
 * pidfd_send_signal(2), pidfd_getfd(2). */
#include "kernel.h"

#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* libc keeps the thread's id in its thread descriptor, where fork(2) has the kernel write the child's. A raw clone3
 * must request the same. The address is the one that libc gave to set_tid_address(2); 0 if the kernel does not report
 * it. */
static unsigned long long libc_tid_address(void) {
    int *address = NULL;
    return prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) ? 0 : (unsigned long long)(uintptr_t)address;
}

static PyObject *kernel_clone3(PyObject *self, PyObject *args) {
    unsigned long long flags;
    int signal, cgroup, pidfd = -1;
    if (!PyArg_ParseTuple(args, "Kii", &flags, &signal, &cgroup))
        return NULL;
    struct clone_args how = {.flags = flags | CLONE_PIDFD,
                             .pidfd = (uintptr_t)&pidfd,
                             .exit_signal = signal,
                             .child_tid = libc_tid_address()};
    if (how.child_tid)
        how.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    if (cgroup >= 0) {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = cgroup;
    }
    PyOS_BeforeFork();
    long pid = syscall(SYS_clone3, &how, sizeof(how));
    int error = errno;
    if (pid == 0) {
        PyOS_AfterFork_Child();
        return Py_BuildValue("(ii)", 0, -1);
    }
    PyOS_AfterFork_Parent();
    errno = error;
    if (pid < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(li)", pid, pidfd);
}

static PyObject *kernel_clone_successor(PyObject *self, PyObject *unused) {
    static int none;
    volatile pid_t pid = 0;
    unsigned long long tid_address = libc_tid_address();
    struct clone_args how = {.flags = CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID,
                             .parent_tid = (uintptr_t)&pid,
                             .child_tid = tid_address};
    if (tid_address) {
        how.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        /* Our exit would otherwise clear the word, which belongs to the child from now on. */
        syscall(SYS_set_tid_address, &none);
    }
    long result = clone_and_exit(&how);
    if (result == 0)
        return PyLong_FromLong(pid);
    if (tid_address)
        syscall(SYS_set_tid_address, (uintptr_t)tid_address);
    errno = (int)-result;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *kernel_unshare(PyObject *self, PyObject *args) {
    unsigned long flags;
    if (!PyArg_ParseTuple(args, "k", &flags))
        return NULL;
    return none_or_error(syscall(SYS_unshare, flags));
}

static PyObject *kernel_setns(PyObject *self, PyObject *args) {
    int fd, kind;
    if (!PyArg_ParseTuple(args, "ii", &fd, &kind))
        return NULL;
    return none_or_error(syscall(SYS_setns, fd, kind));
}

static PyObject *kernel_ns_type(PyObject *self, PyObject *args) {
    int fd;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    return int_or_error(ioctl(fd, NS_GET_NSTYPE));
}

static PyObject *kernel_pidfd_open(PyObject *self, PyObject *args) {
    int pid;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iI", &pid, &flags))
        return NULL;
    return int_or_error(syscall(SYS_pidfd_open, pid, flags));
}

static PyObject *kernel_pidfd_send_signal(PyObject *self, PyObject *args) {
    int pidfd, signal;
    if (!PyArg_ParseTuple(args, "ii", &pidfd, &signal))
        return NULL;
    return none_or_error(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

static PyObject *kernel_pidfd_getfd(PyObject *self, PyObject *args) {
    int pidfd, target;
    if (!PyArg_ParseTuple(args, "ii", &pidfd, &target))
        return NULL;
    return int_or_error(syscall(SYS_pidfd_getfd, pidfd, target, 0));
}

/* Converts a tuple of bytes to an array for execve(2), which the caller releases with PyMem_Free. NULL with an
 * exception. */
static char **vector_of(PyObject *texts) {
    Py_ssize_t count = PyTuple_GET_SIZE(texts);
    char **vector = PyMem_New(char *, count + 1);
    if (!vector)
        return (char **)PyErr_NoMemory();
    for (Py_ssize_t at = 0; at < count; at++) {
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(texts, at), &vector[at], NULL) < 0) {
            PyMem_Free(vector);
            return NULL;
        }
    }
    vector[count] = NULL;
    return vector;
}

/* prlimit(2) for each limit, then execve(2), in one call: under the limits Python may not have enough memory for
 * another. */
static PyObject *kernel_execve_limited(PyObject *self, PyObject *args) {
    const char *path;
    PyObject *arguments, *environment, *limits;
    if (!PyArg_ParseTuple(args, "yO!O!O!", &path, &PyTuple_Type, &arguments, &PyTuple_Type, &environment, &PyTuple_Type,
                          &limits))
        return NULL;
    int resources[RLIM_NLIMITS];
    struct rlimit64 values[RLIM_NLIMITS];
    Py_ssize_t count = PyTuple_GET_SIZE(limits);
    if (count > RLIM_NLIMITS)
        return PyErr_Format(PyExc_ValueError, "execve_limited: more limits than the kernel has");
    for (Py_ssize_t at = 0; at < count; at++) {
        unsigned long long soft, hard;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(limits, at), "iKK", &resources[at], &soft, &hard))
            return NULL;
        values[at] = (struct rlimit64){.rlim_cur = soft, .rlim_max = hard};
    }
    char **argv = vector_of(arguments);
    char **envp = argv ? vector_of(environment) : NULL;
    if (envp) {
        long result = 0;
        for (Py_ssize_t at = 0; at < count && result == 0; at++)
            result = syscall(SYS_prlimit64, 0, resources[at], &values[at], NULL);
        if (result == 0)
            execve(path, argv, envp);
        PyErr_SetFromErrno(PyExc_OSError);
    }
    PyMem_Free(argv);
    PyMem_Free(envp);
    return NULL;
}

/* The work of a child that shares our memory. It also shares our stack, so it runs in a function that does not return.
 * The compiler cannot see that the child changes these members, so users declare this struct volatile. */
struct aside {
    PyObject *function, *result;
    const char *path;
    char **argv, **envp;
    int error, finished;
};

static __attribute__((noinline, noreturn)) void act(volatile struct aside *child) {
    child->result = PyObject_CallNoArgs(child->function);
    child->finished = 1;
    if (child->result && child->path) {
        execve(child->path, child->argv, child->envp);
        child->error = errno;
    }
    _exit(0);
}

/* Runs the child until it executes the program, or exits if there is none (vfork(2)). None of our memory is copied, so
 * what the function returns or raises is in our memory too. The child has its own descriptors, directories and
 * namespaces. Returns its pid; 0 if it has exited; -1 with an exception. */
static pid_t run_aside(volatile struct aside *child) {
    pid_t pid = vfork();
    if (pid == 0)
        act(child);
    if (pid < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    /* The child was killed while it ran our interpreter, which is unusable now, so the runtime dies as well. */
    if (!child->finished)
        kill(getpid(), SIGKILL);
    if (child->result && child->path && !child->error)
        return pid;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (child->error) {
        errno = child->error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return child->result && !child->error ? 0 : -1;
}

static PyObject *kernel_aside(PyObject *self, PyObject *function) {
    volatile struct aside child = {.function = function};
    run_aside(&child);
    return child.result;
}

static PyObject *kernel_spawn(PyObject *self, PyObject *args) {
    volatile struct aside child = {0};
    PyObject *arguments, *environment;
    if (!PyArg_ParseTuple(args, "OyO!O!", &child.function, &child.path, &PyTuple_Type, &arguments, &PyTuple_Type,
                          &environment))
        return NULL;
    child.argv = vector_of(arguments);
    child.envp = child.argv ? vector_of(environment) : NULL;
    pid_t pid = child.envp ? run_aside(&child) : -1;
    Py_XDECREF(child.result);
    PyMem_Free(child.argv);
    PyMem_Free(child.envp);
    return pid > 0 ? PyLong_FromLong(pid) : NULL;
}

PyMethodDef process_methods[] = {
    {"aside", kernel_aside, METH_O, NULL},
    {"clone3", kernel_clone3, METH_VARARGS, NULL},
    {"clone_successor", kernel_clone_successor, METH_NOARGS, NULL},
    {"execve_limited", kernel_execve_limited, METH_VARARGS, NULL},
    {"unshare", kernel_unshare, METH_VARARGS, NULL},
    {"spawn", kernel_spawn, METH_VARARGS, NULL},
    {"setns", kernel_setns, METH_VARARGS, NULL},
    {"ns_type", kernel_ns_type, METH_VARARGS, NULL},
    {"pidfd_open", kernel_pidfd_open, METH_VARARGS, NULL},
    {"pidfd_send_signal", kernel_pidfd_send_signal, METH_VARARGS, NULL},
    {"pidfd_getfd", kernel_pidfd_getfd, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
