/* For targets that need a Python: one is started before the first input, with the C extension compiled in. */
#ifndef OCIPY_FUZZ_PYTHON_H
#define OCIPY_FUZZ_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

/* Starts Python, which imports ocipy from TOP. Returns the C extension's module. Aborts if that fails. */
PyObject *start_python(void);

/* Prints the exception and aborts: libFuzzer keeps the input. */
_Noreturn void fail(const char *what);

#endif
