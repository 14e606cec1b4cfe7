/* Any bytes are either read, or refused with a valid offset. A value that was read is written, and read back as the
 * same. Compared as text, since Python compares nested values recursively in C. */
#include "python.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static PyObject *kernel;

static void check_fault(size_t size) {
    PyObject *type, *error, *traceback, *args;
    Py_ssize_t offset = -1;
    if (!PyErr_ExceptionMatches(PyExc_ValueError))
        fail("another exception than ValueError");
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    args = PyObject_GetAttrString(error, "args");
    if (args && PyTuple_GET_SIZE(args) == 2)
        offset = PyLong_AsSsize_t(PyTuple_GET_ITEM(args, 1));
    if (offset < 0 || (size_t)offset > size)
        fail("a place outside of the text");
    Py_DECREF(args);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}

static PyObject *write_again(PyObject *value) {
    PyObject *text = PyObject_CallMethod(kernel, "json_dumps", "O", value);
    if (!text)
        fail("what was read is not written");
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!kernel)
        kernel = start_python();
    PyObject *repeated = PyList_New(0);
    PyObject *value = PyObject_CallMethod(kernel, "json_loads", "y#O", (const char *)data, (Py_ssize_t)size, repeated);
    Py_DECREF(repeated);
    if (!value) {
        check_fault(size);
        return 0;
    }
    PyObject *text = write_again(value);
    PyObject *same = PyObject_CallMethod(kernel, "json_loads", "O", text);
    if (!same)
        fail("what was written is not read");
    PyObject *text_again = write_again(same);
    if (PyObject_RichCompareBool(text, text_again, Py_EQ) != 1)
        fail("what was written is read as something else");
    Py_DECREF(text_again);
    Py_DECREF(same);
    Py_DECREF(text);
    Py_DECREF(value);
    return 0;
}
