/* Converts Python objects to JSON (RFC 8259) in UTF-8. Does not recurse in C, as json_read.c explains. */
#include "kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A list, tuple or dict that is being written, and the position in it. */
typedef struct {
    PyObject *object;
    Py_ssize_t at; /* of PyDict_Next, or the index in a list */
    int any;       /* whether a member or element has been written */
} Level;

typedef struct {
    char *bytes;
    size_t size, room;
    int indent;
    Level *levels;
    size_t depth, levels_room;
    /* Brent's cycle detection: if the path down reaches this object again, it would never end. */
    PyObject *landmark;
    size_t landmark_depth;
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

static int append_text(Text *text, const char *string) {
    return append(text, string, strlen(string));
}

static int append_line(Text *text) {
    if (!text->indent)
        return 0;
    if (append(text, "\n", 1))
        return -1;
    for (size_t i = 0; i < text->depth * (size_t)text->indent; i++)
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
    else if (c >= 0xd800 && c < 0xe000) /* a byte of a file name that is not UTF-8, which JSON cannot represent */
        return append(text, "\xef\xbf\xbd", 3);
    else if (c < 0x10000)
        size = 3, out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3f)),
        out[2] = (char)(0x80 | (c & 0x3f));
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

/* The repr of an int or a float is JSON. An infinity is written as a number that json_read.c reads as infinite. */
static int append_number(Text *text, PyObject *number) {
    if (PyFloat_Check(number) && isnan(PyFloat_AS_DOUBLE(number))) {
        PyErr_SetString(PyExc_ValueError, "JSON cannot represent NaN");
        return -1;
    }
    if (PyFloat_Check(number) && isinf(PyFloat_AS_DOUBLE(number)))
        return append_text(text, PyFloat_AS_DOUBLE(number) < 0 ? "-1e999" : "1e999");
    PyObject *repr = PyObject_Repr(number);
    Py_ssize_t size;
    const char *digits = repr ? PyUnicode_AsUTF8AndSize(repr, &size) : NULL;
    int result = digits ? append(text, digits, size) : -1;
    Py_XDECREF(repr);
    return result;
}

/* Begin to write a container. */
static int push(Text *text, PyObject *container) {
    if (container == text->landmark) {
        PyErr_SetString(PyExc_ValueError, "JSON: a value contains itself");
        return -1;
    }
    if (text->depth == text->levels_room) {
        size_t room = text->levels_room ? text->levels_room * 2 : 16;
        Level *levels = realloc(text->levels, room * sizeof(Level));
        if (!levels) {
            PyErr_NoMemory();
            return -1;
        }
        text->levels = levels;
        text->levels_room = room;
    }
    text->levels[text->depth++] = (Level){container, 0, 0};
    if (!(text->depth & (text->depth - 1))) {
        text->landmark = container;
        text->landmark_depth = text->depth;
    }
    return append(text, PyDict_Check(container) ? "{" : "[", 1);
}

static int pop(Text *text) {
    Level level = text->levels[--text->depth];
    if (text->depth < text->landmark_depth)
        text->landmark = NULL;
    return (level.any && append_line(text)) || append(text, PyDict_Check(level.object) ? "}" : "]", 1) ? -1 : 0;
}

static int append_value(Text *text, PyObject *value) {
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
    if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value))
        return push(text, value);
    PyErr_Format(PyExc_TypeError, "JSON cannot represent %s", Py_TYPE(value)->tp_name);
    return -1;
}

static int append_name(Text *text, PyObject *name) {
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "JSON: the name of a member is not a str");
        return -1;
    }
    return append_string(text, name) || append_text(text, text->indent ? ": " : ":") ? -1 : 0;
}

/* Append the next value of the innermost container, or its end. */
static int append_next(Text *text) {
    Level *level = &text->levels[text->depth - 1];
    PyObject *name = NULL, *value;
    if (PyDict_Check(level->object)) {
        if (!PyDict_Next(level->object, &level->at, &name, &value))
            return pop(text);
    } else if (level->at < PySequence_Fast_GET_SIZE(level->object))
        value = PySequence_Fast_GET_ITEM(level->object, level->at++);
    else
        return pop(text);
    int first = !level->any;
    level->any = 1;
    if ((!first && append(text, ",", 1)) || append_line(text) || (name && append_name(text, name)))
        return -1;
    return append_value(text, value);
}

static PyObject *kernel_json_dumps(PyObject *self, PyObject *args, PyObject *keywords) {
    static char *names[] = {"value", "indent", NULL};
    PyObject *value;
    Text text = {0};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|i", names, &value, &text.indent))
        return NULL;
    int failed = append_value(&text, value);
    while (!failed && text.depth)
        failed = append_next(&text);
    PyObject *answer = failed ? NULL : PyBytes_FromStringAndSize(text.bytes, text.size);
    free(text.levels);
    free(text.bytes);
    return answer;
}

PyMethodDef json_write_methods[] = {
    {"json_dumps", (PyCFunction)(void (*)(void))kernel_json_dumps, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
