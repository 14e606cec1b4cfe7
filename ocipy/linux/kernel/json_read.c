/* JSON (RFC 8259) into Python objects. The parser is yyjson; this only turns its values into ours.
 *
 * Neither goes down the C stack: a member that nobody knows may be nested as deeply as memory permits. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

/* Deeper than any member that we know: what is repeated below that is nobody's mistake. */
enum { MAX_POINTER = 32, MAX_REPEATED = 1000 };

/* A container that is being filled: its values that are still to come, and where its last one went. */
typedef struct {
    PyObject *object;
    yyjson_val *next;
    size_t left;
    PyObject *name; /* of the last member, held by the dict; NULL in a list */
    Py_ssize_t index;
} Level;

typedef struct {
    Level *levels;
    size_t depth, room;
    yyjson_doc *doc;
    PyObject *repeated; /* a list for the pointers of repeated members, or NULL */
} Reader;

static PyObject *refuse(const char *text, Py_ssize_t offset) {
    PyObject *args = Py_BuildValue("(sn)", text, offset);
    if (args)
        PyErr_SetObject(PyExc_ValueError, args);
    Py_XDECREF(args);
    return NULL;
}

/* A number that fits neither 64 bits nor a double; yyjson hands over its text. One that is beyond reason is infinite,
   as for Python's own parser: it may be a member that nobody knows, and is the right value of none that we do. */
static PyObject *from_big_number(yyjson_val *value) {
    const char *text = yyjson_get_raw(value);
    size_t size = yyjson_get_len(value);
    char digits[1024];
    if (size >= sizeof(digits) || strcspn(text, ".eE") < size)
        return PyFloat_FromDouble(*text == '-' ? -Py_HUGE_VAL : Py_HUGE_VAL);
    memcpy(digits, text, size);
    digits[size] = '\0';
    return PyLong_FromString(digits, NULL, 10);
}

/* The value; of a container one without contents. */
static PyObject *from_value(yyjson_val *value) {
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_NULL:
        Py_RETURN_NONE;
    case YYJSON_TYPE_BOOL:
        return PyBool_FromLong(yyjson_get_bool(value));
    case YYJSON_TYPE_NUM:
        if (yyjson_is_uint(value))
            return PyLong_FromUnsignedLongLong(yyjson_get_uint(value));
        if (yyjson_is_sint(value))
            return PyLong_FromLongLong(yyjson_get_sint(value));
        return PyFloat_FromDouble(yyjson_get_real(value));
    case YYJSON_TYPE_RAW:
        return from_big_number(value);
    case YYJSON_TYPE_STR:
        return PyUnicode_DecodeUTF8(yyjson_get_str(value), yyjson_get_len(value), NULL);
    case YYJSON_TYPE_ARR:
        return PyList_New(yyjson_arr_size(value));
    case YYJSON_TYPE_OBJ:
        return PyDict_New();
    default:
        return refuse("not a JSON value", 0);
    }
}

/* Begin to fill a container, which its parent holds. */
static int push(Reader *reader, PyObject *object, yyjson_val *container) {
    if (reader->depth == reader->room) {
        size_t room = reader->room ? reader->room * 2 : 16;
        Level *levels = realloc(reader->levels, room * sizeof(Level));
        if (!levels) {
            PyErr_NoMemory();
            return -1;
        }
        reader->levels = levels;
        reader->room = room;
    }
    size_t left = unsafe_yyjson_get_len(container);
    yyjson_val *first = left ? unsafe_yyjson_get_first(container) : NULL;
    reader->levels[reader->depth++] = (Level){object, first, left, NULL, -1};
    return 0;
}

/* Note the JSON pointer of the last member of the innermost level, as a tuple of its parts. */
static int note_repeated(Reader *reader) {
    if (!reader->repeated || reader->depth > MAX_POINTER || PyList_GET_SIZE(reader->repeated) >= MAX_REPEATED)
        return 0;
    PyObject *parts = PyTuple_New((Py_ssize_t)reader->depth);
    if (!parts)
        return -1;
    for (size_t i = 0; i < reader->depth; i++) {
        Level *level = &reader->levels[i];
        PyObject *part = level->name ? Py_NewRef(level->name) : PyLong_FromSsize_t(level->index);
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

/* Of two members with one name the last counts, as in Go and in Python. Takes over the reference to the value. */
static int add_member(Reader *reader, Level *level, yyjson_val *key, PyObject *object) {
    PyObject *name = PyUnicode_DecodeUTF8(yyjson_get_str(key), yyjson_get_len(key), NULL);
    if (!name) {
        Py_DECREF(object);
        return -1;
    }
    PyUnicode_InternInPlace(&name); /* the program asks for members by constants, which are interned as well */
    Py_ssize_t size = PyDict_GET_SIZE(level->object);
    int result = PyDict_SetItem(level->object, name, object);
    level->name = name;
    if (!result && PyDict_GET_SIZE(level->object) == size)
        result = note_repeated(reader);
    Py_DECREF(name);
    Py_DECREF(object);
    return result;
}

/* Add the next value to the innermost level, and go down into it. */
static int add_next(Reader *reader) {
    Level *level = &reader->levels[reader->depth - 1];
    yyjson_val *key = level->next;
    int in_object = PyDict_CheckExact(level->object);
    yyjson_val *value = in_object ? key + 1 : key;
    level->next = unsafe_yyjson_get_next(value);
    level->left--;
    PyObject *object = from_value(value);
    if (!object)
        return -1;
    if (in_object) {
        if (add_member(reader, level, key, object))
            return -1;
    } else
        PyList_SET_ITEM(level->object, ++level->index, object);
    return unsafe_yyjson_is_ctn(value) ? push(reader, object, value) : 0;
}

static PyObject *from_document(Reader *reader) {
    yyjson_val *root = yyjson_doc_get_root(reader->doc);
    PyObject *answer = from_value(root);
    if (answer && unsafe_yyjson_is_ctn(root) && push(reader, answer, root))
        Py_CLEAR(answer);
    while (answer && reader->depth) {
        if (!reader->levels[reader->depth - 1].left)
            reader->depth--;
        else if (add_next(reader))
            Py_CLEAR(answer);
    }
    free(reader->levels);
    return answer;
}

static PyObject *kernel_json_loads(PyObject *self, PyObject *args) {
    Py_buffer data;
    Reader reader = {0};
    if (!PyArg_ParseTuple(args, "y*|O!", &data, &PyList_Type, &reader.repeated))
        return NULL;
    yyjson_read_err error;
    reader.doc = yyjson_read_opts(data.buf, data.len, YYJSON_READ_BIGNUM_AS_RAW, NULL, &error);
    PyBuffer_Release(&data);
    if (!reader.doc)
        return refuse(error.msg, error.pos);
    PyObject *answer = from_document(&reader);
    yyjson_doc_free(reader.doc);
    return answer;
}

PyMethodDef json_read_methods[] = {
    {"json_loads", kernel_json_loads, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
