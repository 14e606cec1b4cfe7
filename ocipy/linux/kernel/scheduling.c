/* Scheduling, I/O priority, memory policy, personality: sched_setattr(2), ioprio_set(2), set_mempolicy(2),
 * personality(2). */
#include "kernel.h"

#include <stdint.h>
#include <string.h>
#include <sys/personality.h>

/* struct sched_attr of sched_setattr(2), first version. Its header conflicts with libc's sched.h, which Python.h
 * includes. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* in nanoseconds */
};

enum { MAX_NODES = 4096, WORD = 8 * sizeof(unsigned long) };

static PyObject *kernel_sched_setattr(PyObject *self, PyObject *args) {
    int pid;
    unsigned int policy, priority;
    unsigned long long flags, runtime, deadline, period;
    int nice;
    if (!PyArg_ParseTuple(args, "iIKiIKKK", &pid, &policy, &flags, &nice, &priority, &runtime, &deadline, &period))
        return NULL;
    struct scheduling how = {
        .size = sizeof(how),
        .policy = policy,
        .flags = flags,
        .nice = nice,
        .priority = priority,
        .runtime = runtime,
        .deadline = deadline,
        .period = period,
    };
    return none_or_error(syscall(SYS_sched_setattr, pid, &how, 0));
}

static PyObject *kernel_ioprio_set(PyObject *self, PyObject *args) {
    int which, who, priority;
    if (!PyArg_ParseTuple(args, "iii", &which, &who, &priority))
        return NULL;
    return none_or_error(syscall(SYS_ioprio_set, which, who, priority));
}

static PyObject *kernel_set_mempolicy(PyObject *self, PyObject *args) {
    int mode;
    PyObject *nodes;
    unsigned long mask[MAX_NODES / WORD] = {0};
    if (!PyArg_ParseTuple(args, "iO", &mode, &nodes))
        return NULL;
    nodes = PySequence_Fast(nodes, "nodes: a sequence of int");
    if (!nodes)
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(nodes);
    for (Py_ssize_t i = 0; i < count; i++) {
        long node = PyLong_AsLong(PySequence_Fast_GET_ITEM(nodes, i));
        if (node < 0 || node >= MAX_NODES) {
            Py_DECREF(nodes);
            return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "memory node %ld is out of range", node);
        }
        mask[node / WORD] |= 1UL << (node % WORD);
    }
    Py_DECREF(nodes);
    /* The kernel uses one bit fewer than maxnode says: set_mempolicy(2), BUGS. */
    return none_or_error(syscall(SYS_set_mempolicy, mode, count ? mask : NULL, count ? MAX_NODES + 1 : 0));
}

static PyObject *kernel_personality(PyObject *self, PyObject *args) {
    unsigned long persona;
    if (!PyArg_ParseTuple(args, "k", &persona))
        return NULL;
    return int_or_error(personality(persona));
}

PyMethodDef scheduling_methods[] = {
    {"sched_setattr", kernel_sched_setattr, METH_VARARGS, NULL},
    {"ioprio_set", kernel_ioprio_set, METH_VARARGS, NULL},
    {"set_mempolicy", kernel_set_mempolicy, METH_VARARGS, NULL},
    {"personality", kernel_personality, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
