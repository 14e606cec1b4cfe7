/* Python objects into JSON (RFC 8259), in UTF-8. */
#include "kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 256 };

typedef struct {
    char *bytes;
    size_t size, room;
    int indent;
} Text;

/* Each of these returns 0, or -1 with an exception. */
static int append(Text *text, const char *bytes, size_t size) {
    if (text->size + size > text->room) {
        size_t room = (text->size + size) * 2 + 256;
        char *bigger = realloc(text->bytes, room);
        if (!bigger) {
            PyErr_NoMemory();
            return -1;
        }
        text->bytes = bigger;
        text->room = room;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    return 0;
}

static int append_text(Text *text, const char *string) { return append(text, string, strlen(string)); }

static int append_line(Text *text, int depth) {
    if (!text->indent)
        return 0;
    if (append(text, "\n", 1))
        return -1;
    for (int i = 0; i < depth * text->indent; i++)
        if (append(text, " ", 1))
            return -1;
    return 0;
}

static int append_character(Text *text, Py_UCS4 c) {
    char out[8];
    int size;
    if (c == '"' || c == '\\')
        size = snprintf(out, sizeof(out), "\\%c", (char)c);
    else if (c == '\n')
        return append(text, "\\n", 2);
    else if (c == '\t')
        return append(text, "\\t", 2);
    else if (c < 0x20 || c == 0x7f)
        size = snprintf(out, sizeof(out), "\\u%04x", (unsigned)c);
    else if (c < 0x80)
        size = 1, out[0] = (char)c;
    else if (c < 0x800)
        size = 2, out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3f));
    else if (c >= 0xd800 && c < 0xe000) /* a byte of a file name that is not UTF-8: JSON has no form for it */
        return append(text, "\xef\xbf\xbd", 3);
    else if (c < 0x10000)
        size = 3, out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3f)), out[2] = (char)(0x80 | (c & 0x3f));
    else
        size = 4, out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 0x3f)),
        out[2] = (char)(0x80 | (c >> 6 & 0x3f)), out[3] = (char)(0x80 | (c & 0x3f));
    return append(text, out, size);
}

static int append_string(Text *text, PyObject *string) {
    Py_ssize_t size = PyUnicode_GET_LENGTH(string);
    int kind = PyUnicode_KIND(string);
    const void *data = PyUnicode_DATA(string);
    if (append(text, "\"", 1))
        return -1;
    for (Py_ssize_t i = 0; i < size; i++)
        if (append_character(text, PyUnicode_READ(kind, data, i)))
            return -1;
    return append(text, "\"", 1);
}

static int append_value(Text *text, PyObject *value, int depth);

static int append_list(Text *text, PyObject *list, int depth) {
    PyObject *items = PySequence_Fast(list, "a list or a tuple");
    if (!items)
        return -1;
    Py_ssize_t size = PySequence_Fast_GET_SIZE(items);
    int result = append(text, "[", 1);
    for (Py_ssize_t i = 0; !result && i < size; i++)
        result = (i && append(text, ",", 1)) || append_line(text, depth + 1) ||
                 append_value(text, PySequence_Fast_GET_ITEM(items, i), depth + 1);
    Py_DECREF(items);
    return result || (size && append_line(text, depth)) || append(text, "]", 1) ? -1 : 0;
}

static int append_dict(Text *text, PyObject *dict, int depth) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    int first = 1;
    if (append(text, "{", 1))
        return -1;
    for (; PyDict_Next(dict, &at, &key, &value); first = 0) {
        if (!PyUnicode_Check(key)) {
            PyErr_SetString(PyExc_TypeError, "JSON: the name of a member is no str");
            return -1;
        }
        if ((!first && append(text, ",", 1)) || append_line(text, depth + 1) || append_string(text, key) ||
            append_text(text, text->indent ? ": " : ":") || append_value(text, value, depth + 1))
            return -1;
    }
    return (!first && append_line(text, depth)) || append(text, "}", 1) ? -1 : 0;
}

/* An int or a float: as repr has it, which is JSON but for the infinities and not-a-number. */
static int append_number(Text *text, PyObject *number) {
    if (PyFloat_Check(number) && !isfinite(PyFloat_AS_DOUBLE(number))) {
        PyErr_SetString(PyExc_ValueError, "JSON: a number that is not finite");
        return -1;
    }
    PyObject *repr = PyObject_Repr(number);
    Py_ssize_t size;
    const char *digits = repr ? PyUnicode_AsUTF8AndSize(repr, &size) : NULL;
    int result = digits ? append(text, digits, size) : -1;
    Py_XDECREF(repr);
    return result;
}

static int append_value(Text *text, PyObject *value, int depth) {
    if (depth > MAX_DEPTH) {
        PyErr_SetString(PyExc_ValueError, "JSON: nested too deeply");
        return -1;
    }
    if (value == Py_None)
        return append_text(text, "null");
    if (value == Py_True)
        return append_text(text, "true");
    if (value == Py_False)
        return append_text(text, "false");
    if (PyUnicode_Check(value))
        return append_string(text, value);
    if (PyLong_CheckExact(value) || PyFloat_CheckExact(value))
        return append_number(text, value);
    if (PyDict_Check(value))
        return append_dict(text, value, depth);
    if (PyList_Check(value) || PyTuple_Check(value))
        return append_list(text, value, depth);
    PyErr_Format(PyExc_TypeError, "JSON: no form for %s", Py_TYPE(value)->tp_name);
    return -1;
}

static PyObject *kernel_json_dumps(PyObject *self, PyObject *args, PyObject *keywords) {
    static char *names[] = {"value", "indent", NULL};
    PyObject *value;
    Text text = {0};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|i", names, &value, &text.indent))
        return NULL;
    PyObject *answer = append_value(&text, value, 0) ? NULL : PyBytes_FromStringAndSize(text.bytes, text.size);
    free(text.bytes);
    return answer;
}

PyMethodDef json_write_methods[] = {
    {"json_dumps", (PyCFunction)(void (*)(void))kernel_json_dumps, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
