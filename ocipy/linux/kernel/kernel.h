/* ocipy.linux._kernel: thin system-call wrappers, without policy. The Python side of the contract is _kernel.pyi.
 *
 * Each file has the functions of one concern and a table of them; module.c joins the tables. A function parses its
 * arguments, makes one call, and turns errno into OSError. Only poll releases the GIL: the runtime has one thread.
 */
#ifndef OCIPY_KERNEL_H
#define OCIPY_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "raw_call.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

extern PyMethodDef bpf_methods[];
extern PyMethodDef data_methods[];
extern PyMethodDef descriptor_methods[];
extern PyMethodDef identity_methods[];
extern PyMethodDef json_read_methods[];
extern PyMethodDef json_write_methods[];
extern PyMethodDef mount_methods[];
extern PyMethodDef net_methods[];
extern PyMethodDef path_methods[];
extern PyMethodDef process_methods[];
extern PyMethodDef rule_methods[];
extern PyMethodDef scheduling_methods[];
extern PyMethodDef seccomp_methods[];
extern PyMethodDef signal_methods[];
extern PyMethodDef tty_methods[];

extern PyMethodDef waiting_methods[];

PyMODINIT_FUNC PyInit__kernel(void);

/* waiting.c: the handler for signals that end a waiting init. */
void exit_by_signal(int signal);

/* Return None, or raise OSError for errno if the call returned -1. */
static inline PyObject *none_or_error(long result) {
    if (result < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* Return the call's int, or raise OSError for errno if it is -1. */
static inline PyObject *int_or_error(long result) {
    if (result < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(result);
}

static inline const char *text_of(PyObject *bytes) {
    return bytes ? PyBytes_AS_STRING(bytes) : NULL;
}

#endif
