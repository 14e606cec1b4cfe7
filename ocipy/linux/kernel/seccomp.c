/* seccomp(2). */
#include "kernel.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

static PyObject *kernel_seccomp_load(PyObject *self, PyObject *args) {
    Py_buffer program;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "y*I", &program, &flags))
        return NULL;
    PyObject *answer;
    if (program.len % sizeof(struct sock_filter) || program.len / sizeof(struct sock_filter) > BPF_MAXINSNS) {
        answer =
            PyErr_Format(PyExc_ValueError, "seccomp_load: not an array of at most %d struct sock_filter", BPF_MAXINSNS);
    } else {
        struct sock_fprog filter = {.len = program.len / sizeof(struct sock_filter), .filter = program.buf};
        answer = int_or_error(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter));
    }
    PyBuffer_Release(&program);
    return answer;
}

PyMethodDef seccomp_methods[] = {
    {"seccomp_load", kernel_seccomp_load, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
