/* Converts JSON (RFC 8259) to Python objects. YAJL parses the text and calls back for each value, without building a
 * tree.
 *
 * Neither YAJL nor this code recurses in C: an unknown member may be nested as deeply as memory permits. */
#include "json_faults.h"

#include <stdlib.h>
#include <string.h>

/* MAX_POINTER: deeper than any known member; repeated members below that are ignored. */
enum { MAX_POINTER = 32, MAX_REPEATED = 1000 };

/* A list or dict that is being filled. */
typedef struct {
    PyObject *object; /* held by its parent */
    PyObject *name;   /* a reference to the last name in a dict; NULL in a list */
} Level;

typedef struct {
    yajl_handle parser;
    size_t end; /* of the last value or name, as an offset in the text */
    PyObject *answer;
    Level *levels;
    size_t depth, room;
    PyObject *repeated; /* a list for the pointers of repeated members, or NULL */
} Reader;

/* Record the JSON pointer of the last member of the innermost level, as a tuple of its parts. */
static int note_repeated(Reader *reader) {
    if (!reader->repeated || reader->depth > MAX_POINTER || PyList_GET_SIZE(reader->repeated) >= MAX_REPEATED)
        return 0;
    PyObject *parts = PyTuple_New((Py_ssize_t)reader->depth);
    if (!parts)
        return -1;
    for (size_t i = 0; i < reader->depth; i++) {
        Level *level = &reader->levels[i];
        PyObject *part = level->name ? Py_NewRef(level->name) : PyLong_FromSsize_t(PyList_GET_SIZE(level->object) - 1);
        if (!part) {
            Py_DECREF(parts);
            return -1;
        }
        PyTuple_SET_ITEM(parts, (Py_ssize_t)i, part);
    }
    int result = PyList_Append(reader->repeated, parts);
    Py_DECREF(parts);
    return result;
}

/* Of several members with the same name the last counts, as in Go and in Python. */
static int add_member(Reader *reader, Level *level, PyObject *object) {
    Py_ssize_t size = PyDict_GET_SIZE(level->object);
    if (PyDict_SetItem(level->object, level->name, object))
        return -1;
    return PyDict_GET_SIZE(level->object) == size ? note_repeated(reader) : 0;
}

/* Add the next value, and steal the reference to it; NULL means that an exception is set. Like all callbacks of YAJL,
 * this returns 1, or 0 with an exception. */
static int add(Reader *reader, PyObject *object) {
    if (!object)
        return 0;
    reader->end = yajl_get_bytes_consumed(reader->parser);
    if (!reader->depth) {
        reader->answer = object;
        return 1;
    }
    Level *level = &reader->levels[reader->depth - 1];
    int failed =
        PyDict_CheckExact(level->object) ? add_member(reader, level, object) : PyList_Append(level->object, object);
    Py_DECREF(object);
    return !failed;
}

/* Add a list or dict and descend into it. */
static int push(Reader *reader, PyObject *object) {
    if (!add(reader, object))
        return 0;
    if (reader->depth == reader->room) {
        size_t room = reader->room ? reader->room * 2 : 16;
        Level *levels = realloc(reader->levels, room * sizeof(Level));
        if (!levels) {
            PyErr_NoMemory();
            return 0;
        }
        reader->levels = levels;
        reader->room = room;
    }
    reader->levels[reader->depth++] = (Level){object, NULL};
    return 1;
}

static int pop(void *context) {
    Reader *reader = context;
    reader->end = yajl_get_bytes_consumed(reader->parser);
    reader->depth--;
    Py_XDECREF(reader->levels[reader->depth].name);
    return 1;
}

static int add_null(void *context) {
    return add(context, Py_NewRef(Py_None));
}

static int add_boolean(void *context, int value) {
    return add(context, PyBool_FromLong(value));
}

static int add_list(void *context) {
    return push(context, PyList_New(0));
}

static int add_dict(void *context) {
    return push(context, PyDict_New());
}

static int add_string(void *context, const unsigned char *bytes, size_t size) {
    return add(context, decode_strictly((const char *)bytes, size));
}

static int take_name(void *context, const unsigned char *bytes, size_t size) {
    Reader *reader = context;
    PyObject *name = decode_strictly((const char *)bytes, size);
    if (!name)
        return 0;
    PyUnicode_InternInPlace(&name); /* the program looks members up by constants, which are interned too */
    Py_XSETREF(reader->levels[reader->depth - 1].name, name);
    reader->end = yajl_get_bytes_consumed(reader->parser);
    return 1;
}

/* An integer of more than 1023 characters becomes infinite, like a number beyond a double's range in Python's own
 * parser. It may belong to an unknown member, and no known member can use it. */
static PyObject *from_digits(const char *digits, size_t size) {
    if (strcspn(digits, ".eE") < size)
        return PyFloat_FromDouble(PyOS_string_to_double(digits, NULL, NULL));
    if (size < 1024)
        return PyLong_FromString(digits, NULL, 10);
    return PyFloat_FromDouble(*digits == '-' ? -Py_HUGE_VAL : Py_HUGE_VAL);
}

/* YAJL passes a number's text on unchanged, so integers stay exact. */
static int add_number(void *context, const char *text, size_t size) {
    char few[64], *digits = size < sizeof(few) ? few : PyMem_Malloc(size + 1);
    if (!digits) {
        PyErr_NoMemory();
        return 0;
    }
    memcpy(digits, text, size);
    digits[size] = '\0';
    int result = add(context, from_digits(digits, size));
    if (digits != few)
        PyMem_Free(digits);
    return result;
}

static const yajl_callbacks CALLBACKS = {
    .yajl_null = add_null,
    .yajl_boolean = add_boolean,
    .yajl_number = add_number,
    .yajl_string = add_string,
    .yajl_start_map = add_dict,
    .yajl_map_key = take_name,
    .yajl_end_map = pop,
    .yajl_start_array = add_list,
    .yajl_end_array = pop,
};

static void release(Reader *reader) {
    for (size_t i = 0; i < reader->depth; i++)
        Py_XDECREF(reader->levels[i].name);
    free(reader->levels);
    Py_XDECREF(reader->answer);
    if (reader->parser)
        yajl_free(reader->parser);
}

/* The document's value, or NULL with an exception. */
static PyObject *read_document(Reader *reader, const char *text, size_t size) {
    yajl_config(reader->parser, yajl_dont_validate_strings, 1); /* Python's decoder does that, more strictly */
    Parse parse = {.parser = reader->parser, .text = text, .size = size};
    parse.status = yajl_parse(reader->parser, (const unsigned char *)text, size);
    parse.consumed = yajl_get_bytes_consumed(reader->parser);
    parse.end = reader->end;
    if (parse.status == yajl_status_ok) {
        if (!reader->answer || reader->depth)
            parse.consumed = 0, parse.end = size;
        parse.status = yajl_complete_parse(reader->parser); /* only now is a trailing number complete */
    }
    return refuse_fault(&parse) ? NULL : Py_NewRef(reader->answer);
}

static PyObject *kernel_json_loads(PyObject *self, PyObject *args) {
    Py_buffer data;
    Reader reader = {0};
    if (!PyArg_ParseTuple(args, "y*|O!", &data, &PyList_Type, &reader.repeated))
        return NULL;
    reader.parser = yajl_alloc(&CALLBACKS, NULL, &reader);
    PyObject *answer = reader.parser ? read_document(&reader, data.buf, data.len) : PyErr_NoMemory();
    PyBuffer_Release(&data);
    release(&reader);
    return answer;
}

PyMethodDef json_read_methods[] = {
    {"json_loads", kernel_json_loads, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
