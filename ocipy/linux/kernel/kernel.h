/* ocipy.linux._kernel: thin system-call wrappers, without policy. The Python side of the contract is _kernel.pyi.
 *
 * Each file adds the functions of one concern, in a table that module.c joins. A function parses its arguments, makes
 * one call, and turns errno into OSError. The GIL is kept: the runtime has one thread.
 */
#ifndef OCIPY_KERNEL_H
#define OCIPY_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

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
extern PyMethodDef aside_methods[];
extern PyMethodDef scheduling_methods[];
extern PyMethodDef seccomp_methods[];
extern PyMethodDef signal_methods[];
extern PyMethodDef tty_methods[];

extern PyMethodDef waiting_methods[];

PyMODINIT_FUNC PyInit__kernel(void);

/* A system call without libc, for code that shares libc's errno with another process, or has none any more. Returns
 * -errno if it fails. */
static inline __attribute__((always_inline)) long raw_call(long number, long first, long second, long third,
                                                           long fourth, long fifth) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = fourth;
    register long r8 __asm__("r8") = fifth;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = first;
    register long x1 __asm__("x1") = second;
    register long x2 __asm__("x2") = third;
    register long x3 __asm__("x3") = fourth;
    register long x4 __asm__("x4") = fifth;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
    long result = syscall(number, first, second, third, fourth, fifth);
    return result < 0 ? -errno : result;
#endif
}

/* waiting.c: the handler of signals that end a waiting init. */
void exit_by_signal(int signal);

/* Return None, or OSError of errno if the call returned -1. */
static inline PyObject *none_or_error(long result) {
    if (result < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* Return the call's int, or OSError of errno if it is -1. */
static inline PyObject *int_or_error(long result) {
    if (result < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(result);
}

/* For "O&": convert a str, encoded like file names, into a new reference to bytes; None becomes NULL. */
int optional_path(PyObject *value, void *bytes);

static inline const char *text_of(PyObject *bytes) {
    return bytes ? PyBytes_AS_STRING(bytes) : NULL;
}

#endif
