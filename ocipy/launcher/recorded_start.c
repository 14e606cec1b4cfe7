/* Starts Python while memory is recorded (heap.c), in the maker of a snapshot and in each rehearsal before that. */
#include "snapshot.h"

/* Completes the start, imports the cold modules, practises, and puts Python to sleep (cli/cold.py, at_hand.py). 0, or
 * -1 with an exception. */
static int import_cold(void) {
    PyObject *python = PyImport_ImportModule("ocipy.launcher.python");
    PyObject *done = python ? PyObject_CallMethod(python, "complete_start", NULL) : NULL;
    PyObject *cold = done ? PyImport_ImportModule("ocipy.cli.cold") : NULL;
    PyObject *loaded = cold ? PyObject_CallMethod(cold, "load", NULL) : NULL;
    int result = loaded ? take_over_imports() : -1;
    Py_XDECREF(loaded);
    Py_XDECREF(cold);
    Py_XDECREF(done);
    Py_XDECREF(python);
    return result;
}

int start_recorded(const struct places *places) {
    if (start_fresh(places) || import_frozen() || set_arguments(0, NULL) || import_cold())
        return -1;
    return_allocators();
    return 0;
}
