/* JSON (RFC 8259) into Python objects. The parser is yyjson; this only turns its values into ours. */
#include "kernel.h"

#include <string.h>
#include <yyjson.h>

/* Far deeper than any document that we read, and far from the end of the stack. */
enum { MAX_DEPTH = 256 };

static PyObject *refuse(const char *text, Py_ssize_t offset) {
    PyObject *args = Py_BuildValue("(sn)", text, offset);
    if (args)
        PyErr_SetObject(PyExc_ValueError, args);
    Py_XDECREF(args);
    return NULL;
}

/* A number that fits neither 64 bits nor a double; yyjson hands over its text, which lies in a copy of the input. */
static PyObject *from_big_number(yyjson_doc *doc, yyjson_val *value) {
    const char *text = yyjson_get_raw(value);
    size_t size = yyjson_get_len(value);
    Py_ssize_t offset = text - doc->str_pool;
    char digits[1024];
    if (size >= sizeof(digits) || strcspn(text, ".eE") < size)
        return refuse("number out of range", offset);
    memcpy(digits, text, size);
    digits[size] = '\0';
    return PyLong_FromString(digits, NULL, 10);
}

static PyObject *from_value(yyjson_doc *doc, yyjson_val *value, int depth);

static PyObject *from_array(yyjson_doc *doc, yyjson_val *array, int depth) {
    PyObject *list = PyList_New(yyjson_arr_size(array));
    size_t index, size;
    yyjson_val *item;
    if (!list)
        return NULL;
    yyjson_arr_foreach(array, index, size, item) {
        PyObject *object = from_value(doc, item, depth + 1);
        if (!object) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, index, object);
    }
    return list;
}

/* Of two members with one name the last counts, as in Go and in Python. */
static int add_member(yyjson_doc *doc, PyObject *dict, yyjson_val *key, yyjson_val *value, int depth) {
    PyObject *name = PyUnicode_DecodeUTF8(yyjson_get_str(key), yyjson_get_len(key), NULL);
    if (!name)
        return -1;
    PyUnicode_InternInPlace(&name); /* the program asks for members by constants, which are interned as well */
    PyObject *object = from_value(doc, value, depth + 1);
    int result = object ? PyDict_SetItem(dict, name, object) : -1;
    Py_XDECREF(object);
    Py_DECREF(name);
    return result;
}

static PyObject *from_object(yyjson_doc *doc, yyjson_val *object, int depth) {
    PyObject *dict = PyDict_New();
    size_t index, size;
    yyjson_val *key, *value;
    if (!dict)
        return NULL;
    yyjson_obj_foreach(object, index, size, key, value) {
        if (add_member(doc, dict, key, value, depth)) {
            Py_DECREF(dict);
            return NULL;
        }
    }
    return dict;
}

static PyObject *from_value(yyjson_doc *doc, yyjson_val *value, int depth) {
    if (depth > MAX_DEPTH)
        return refuse("nested too deeply", 0);
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
        return from_big_number(doc, value);
    case YYJSON_TYPE_STR:
        return PyUnicode_DecodeUTF8(yyjson_get_str(value), yyjson_get_len(value), NULL);
    case YYJSON_TYPE_ARR:
        return from_array(doc, value, depth);
    case YYJSON_TYPE_OBJ:
        return from_object(doc, value, depth);
    default:
        return refuse("not a JSON value", 0);
    }
}

static PyObject *kernel_json_loads(PyObject *self, PyObject *args) {
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "y*", &data))
        return NULL;
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_opts(data.buf, data.len, YYJSON_READ_BIGNUM_AS_RAW, NULL, &error);
    PyBuffer_Release(&data);
    if (!doc)
        return refuse(error.msg, error.pos);
    PyObject *answer = from_value(doc, yyjson_doc_get_root(doc), 0);
    yyjson_doc_free(doc);
    return answer;
}

PyMethodDef json_read_methods[] = {
    {"json_loads", kernel_json_loads, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
