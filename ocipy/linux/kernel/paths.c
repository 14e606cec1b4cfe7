/* Paths and descriptors of files: openat2(2), fchownat(2), renameat2(2), close_range(2), getcwd(2), flock(2). */
#include "kernel.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/file.h>

/* The kernel gives up with EAGAIN if anything on the host is renamed while it follows a ".." below a root. */
enum { MAX_TRIES = 1000 };

static PyObject *kernel_openat2(PyObject *self, PyObject *args) {
    int directory;
    PyObject *path;
    unsigned long long flags, mode, resolve;
    if (!PyArg_ParseTuple(args, "iO&KKK", &directory, PyUnicode_FSConverter, &path, &flags, &mode, &resolve))
        return NULL;
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    long fd;
    int tries = 0;
    do
        fd = syscall(SYS_openat2, directory, text_of(path), &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN && ++tries < MAX_TRIES);
    PyObject *answer = int_or_error(fd);
    Py_DECREF(path);
    return answer;
}

static PyObject *kernel_fchownat(PyObject *self, PyObject *args) {
    int directory, flags;
    PyObject *path;
    unsigned int uid, gid;
    if (!PyArg_ParseTuple(args, "iO&IIi", &directory, PyUnicode_FSConverter, &path, &uid, &gid, &flags))
        return NULL;
    PyObject *answer = none_or_error(fchownat(directory, text_of(path), uid, gid, flags));
    Py_DECREF(path);
    return answer;
}

static PyObject *kernel_renameat2(PyObject *self, PyObject *args) {
    PyObject *old, *new = NULL;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "O&O&I", PyUnicode_FSConverter, &old, PyUnicode_FSConverter, &new, &flags))
        return NULL;
    PyObject *answer = none_or_error(syscall(SYS_renameat2, AT_FDCWD, text_of(old), AT_FDCWD, text_of(new), flags));
    Py_DECREF(old);
    Py_DECREF(new);
    return answer;
}

static PyObject *kernel_close_range(PyObject *self, PyObject *args) {
    unsigned int first, last, flags;
    if (!PyArg_ParseTuple(args, "III", &first, &last, &flags))
        return NULL;
    return none_or_error(syscall(SYS_close_range, first, last, flags));
}

/* The raw system call, since libc's function hides the "(unreachable)" that the caller looks for (CVE-2024-21626). */
static PyObject *kernel_getcwd(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    char path[PATH_MAX + 1];
    long size = syscall(SYS_getcwd, path, sizeof(path));
    if (size < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyUnicode_DecodeUTF8(path, size - 1, "surrogateescape");
}

static PyObject *kernel_flock(PyObject *self, PyObject *args) {
    int fd, operation;
    if (!PyArg_ParseTuple(args, "ii", &fd, &operation))
        return NULL;
    int result;
    do
        result = flock(fd, operation);
    while (result < 0 && errno == EINTR && !PyErr_CheckSignals());
    return PyErr_Occurred() ? NULL : none_or_error(result);
}

PyMethodDef path_methods[] = {
    {"openat2", kernel_openat2, METH_VARARGS, NULL},
    {"renameat2", kernel_renameat2, METH_VARARGS, NULL},
    {"fchownat", kernel_fchownat, METH_VARARGS, NULL},
    {"close_range", kernel_close_range, METH_VARARGS, NULL},
    {"getcwd", kernel_getcwd, METH_NOARGS, NULL},
    {"flock", kernel_flock, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
