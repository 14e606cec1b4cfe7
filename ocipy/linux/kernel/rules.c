/* Tells in one call whether a document obeys its rules. config/check.py finds out what is wrong with one that does not.
 */
#include "kernel.h"

/* The kinds of rules, and what follows in the tuple: ocipy/config/rules.py. */
enum {
    STRING,
    BOOLEAN,
    INTEGER, /* lowest, highest, or None */
    ENUM,    /* words */
    PATTERN, /* predicate */
    ARRAY,   /* rule of an item, least number of items */
    MAP,     /* rule of a member */
    OBJECT,  /* names of required members, rules of members by name */
    ANY
};

/* Each of these returns 1 if the value obeys the rule, else 0, or -1 with an exception. The rules end, so a document
 * that is nested more deeply than they are ends the recursion. */
static int obeys(PyObject *value, PyObject *rule, PyObject *unknown);

static int is_in_range(PyObject *value, PyObject *low, PyObject *high) {
    int is = low == Py_None ? 1 : PyObject_RichCompareBool(low, value, Py_LE);
    return is == 1 && high != Py_None ? PyObject_RichCompareBool(value, high, Py_LE) : is;
}

static int is_accepted(PyObject *value, PyObject *predicate) {
    PyObject *answer = PyObject_CallOneArg(predicate, value);
    int is = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return is;
}

static int is_right_list(PyObject *list, PyObject *item_rule, PyObject *least, PyObject *unknown) {
    int is = PyList_GET_SIZE(list) >= PyLong_AsLong(least);
    for (Py_ssize_t i = 0; is == 1 && i < PyList_GET_SIZE(list); i++)
        is = obeys(PyList_GET_ITEM(list, i), item_rule, unknown);
    return is;
}

/* A null member counts as absent. */
static int is_right_map(PyObject *map, PyObject *member_rule, PyObject *unknown) {
    int is = 1;
    PyObject *member;
    for (Py_ssize_t at = 0; is == 1 && PyDict_Next(map, &at, NULL, &member);)
        is = member == Py_None ? 1 : obeys(member, member_rule, unknown);
    return is;
}

static int note(PyObject *unknown, PyObject *holder, PyObject *name, PyObject *rules) {
    PyObject *entry = PyErr_Occurred() ? NULL : PyTuple_Pack(3, holder, name, rules);
    int result = entry && PyList_Append(unknown, entry) == 0 ? 1 : -1;
    Py_XDECREF(entry);
    return result;
}

static int is_right_object(PyObject *object, PyObject *required, PyObject *rules, PyObject *unknown) {
    PyObject *name, *member;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(required); i++) {
        member = PyDict_GetItemWithError(object, PyTuple_GET_ITEM(required, i));
        if (!member || member == Py_None)
            return PyErr_Occurred() ? -1 : 0;
    }
    int is = 1;
    for (Py_ssize_t at = 0; is == 1 && PyDict_Next(object, &at, &name, &member);) {
        PyObject *rule = PyDict_GetItemWithError(rules, name);
        if (!rule)
            is = note(unknown, object, name, rules);
        else if (member != Py_None)
            is = obeys(member, rule, unknown);
    }
    return is;
}

static int obeys(PyObject *value, PyObject *rule, PyObject *unknown) {
    PyObject *more[2] = {NULL, NULL};
    for (Py_ssize_t i = 0; i < 2 && i + 1 < PyTuple_GET_SIZE(rule); i++)
        more[i] = PyTuple_GET_ITEM(rule, i + 1);
    switch (PyLong_AsLong(PyTuple_GET_ITEM(rule, 0))) {
    case ANY:
        return 1;
    case STRING:
        return PyUnicode_CheckExact(value);
    case BOOLEAN:
        return PyBool_Check(value);
    case INTEGER: /* True is an instance of int, but not one */
        return PyLong_CheckExact(value) ? is_in_range(value, more[0], more[1]) : 0;
    case ENUM:
        return PyUnicode_CheckExact(value) ? PySequence_Contains(more[0], value) : 0;
    case PATTERN:
        return PyUnicode_CheckExact(value) ? is_accepted(value, more[0]) : 0;
    case ARRAY:
        return PyList_CheckExact(value) ? is_right_list(value, more[0], more[1], unknown) : 0;
    case MAP:
        return PyDict_CheckExact(value) ? is_right_map(value, more[0], unknown) : 0;
    case OBJECT:
        return PyDict_CheckExact(value) ? is_right_object(value, more[0], more[1], unknown) : 0;
    }
    PyErr_SetString(PyExc_ValueError, "a kind of rule that rules.c does not know");
    return -1;
}

static PyObject *py_obeys(PyObject *self, PyObject *args) {
    PyObject *value, *rule, *unknown;
    if (!PyArg_ParseTuple(args, "OO!O!", &value, &PyTuple_Type, &rule, &PyList_Type, &unknown))
        return NULL;
    int is = obeys(value, rule, unknown);
    return is < 0 ? NULL : PyBool_FromLong(is);
}

PyMethodDef rule_methods[] = {{"obeys", py_obeys, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
