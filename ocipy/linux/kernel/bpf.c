/* bpf(2): loads programs, and attaches them to cgroups. */
#include "kernel.h"

#include <linux/bpf.h>
#include <string.h>

enum { MAX_ATTACHED = 64 /* BPF_CGROUP_MAX_PROGS of the kernel */ };

static long bpf(int command, union bpf_attr *attributes) {
    return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static PyObject *kernel_bpf_prog_load(PyObject *self, PyObject *args) {
    int type, attach_type;
    Py_buffer instructions;
    const char *name;
    if (!PyArg_ParseTuple(args, "iiy*s", &type, &attach_type, &instructions, &name))
        return NULL;
    union bpf_attr attributes = {0};
    attributes.prog_type = type;
    attributes.expected_attach_type = attach_type;
    attributes.insns = (uintptr_t)instructions.buf;
    attributes.insn_cnt = instructions.len / sizeof(struct bpf_insn);
    attributes.license = (uintptr_t)"Apache"; /* matters only to programs that call GPL-only helpers of the kernel */
    strncpy(attributes.prog_name, name, sizeof(attributes.prog_name) - 1);
    PyObject *answer = int_or_error(bpf(BPF_PROG_LOAD, &attributes));
    PyBuffer_Release(&instructions);
    return answer;
}

static PyObject *kernel_bpf_prog_attach(PyObject *self, PyObject *args) {
    int target, program, type, replace;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iiiIi", &target, &program, &type, &flags, &replace))
        return NULL;
    union bpf_attr attributes = {0};
    attributes.target_fd = target;
    attributes.attach_bpf_fd = program;
    attributes.attach_type = type;
    attributes.attach_flags = flags;
    attributes.replace_bpf_fd = flags & BPF_F_REPLACE ? replace : 0;
    return none_or_error(bpf(BPF_PROG_ATTACH, &attributes));
}

static PyObject *kernel_bpf_prog_detach(PyObject *self, PyObject *args) {
    int target, program, type;
    if (!PyArg_ParseTuple(args, "iii", &target, &program, &type))
        return NULL;
    union bpf_attr attributes = {0};
    attributes.target_fd = target;
    attributes.attach_bpf_fd = program;
    attributes.attach_type = type;
    return none_or_error(bpf(BPF_PROG_DETACH, &attributes));
}

static PyObject *kernel_bpf_prog_query(PyObject *self, PyObject *args) {
    int target, type;
    unsigned int ids[MAX_ATTACHED];
    if (!PyArg_ParseTuple(args, "ii", &target, &type))
        return NULL;
    union bpf_attr attributes = {0};
    attributes.query.target_fd = target;
    attributes.query.attach_type = type;
    attributes.query.prog_ids = (uintptr_t)ids;
    attributes.query.prog_cnt = MAX_ATTACHED;
    if (bpf(BPF_PROG_QUERY, &attributes) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *list = PyList_New(attributes.query.prog_cnt);
    for (unsigned int i = 0; list && i < attributes.query.prog_cnt; i++)
        PyList_SET_ITEM(list, i, PyLong_FromUnsignedLong(ids[i]));
    return list;
}

static PyObject *kernel_bpf_prog_get_fd_by_id(PyObject *self, PyObject *args) {
    unsigned int id;
    if (!PyArg_ParseTuple(args, "I", &id))
        return NULL;
    union bpf_attr attributes = {0};
    attributes.prog_id = id;
    return int_or_error(bpf(BPF_PROG_GET_FD_BY_ID, &attributes));
}

PyMethodDef bpf_methods[] = {
    {"bpf_prog_load", kernel_bpf_prog_load, METH_VARARGS, NULL},
    {"bpf_prog_attach", kernel_bpf_prog_attach, METH_VARARGS, NULL},
    {"bpf_prog_detach", kernel_bpf_prog_detach, METH_VARARGS, NULL},
    {"bpf_prog_query", kernel_bpf_prog_query, METH_VARARGS, NULL},
    {"bpf_prog_get_fd_by_id", kernel_bpf_prog_get_fd_by_id, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
