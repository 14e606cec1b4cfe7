/* Processes and namespaces: clone3(2), unshare(2), setns(2), pidfd_open(2) and its kin, ioctl_ns(2). */
#include "kernel.h"

#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

/* libc keeps the thread's id in its thread descriptor, and fork(2) has the kernel write the child's there. A raw clone3 asks
 * for the same: the address is the one that libc registered for the thread's end. 0 where the kernel does not tell. */
static unsigned long long libc_tid_address(void) {
    int *address = NULL;
    return prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) ? 0 : (unsigned long long)(uintptr_t)address;
}

static PyObject *kernel_clone3(PyObject *self, PyObject *args) {
    unsigned long long flags;
    int signal, cgroup, pidfd = -1;
    if (!PyArg_ParseTuple(args, "Kii", &flags, &signal, &cgroup))
        return NULL;
    struct clone_args how = {
        .flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = signal, .child_tid = libc_tid_address()};
    if (how.child_tid)
        how.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    if (cgroup >= 0) {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = cgroup;
    }
    PyOS_BeforeFork();
    long pid = syscall(SYS_clone3, &how, sizeof(how));
    int error = errno;
    if (pid == 0) {
        PyOS_AfterFork_Child();
        return Py_BuildValue("(ii)", 0, -1);
    }
    PyOS_AfterFork_Parent();
    errno = error;
    if (pid < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(li)", pid, pidfd);
}

static PyObject *kernel_unshare(PyObject *self, PyObject *args) {
    unsigned long flags;
    if (!PyArg_ParseTuple(args, "k", &flags))
        return NULL;
    return none_or_error(syscall(SYS_unshare, flags));
}

static PyObject *kernel_setns(PyObject *self, PyObject *args) {
    int fd, kind;
    if (!PyArg_ParseTuple(args, "ii", &fd, &kind))
        return NULL;
    return none_or_error(syscall(SYS_setns, fd, kind));
}

static PyObject *kernel_ns_type(PyObject *self, PyObject *args) {
    int fd;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    return int_or_error(ioctl(fd, NS_GET_NSTYPE));
}

static PyObject *kernel_pidfd_open(PyObject *self, PyObject *args) {
    int pid;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iI", &pid, &flags))
        return NULL;
    return int_or_error(syscall(SYS_pidfd_open, pid, flags));
}

static PyObject *kernel_pidfd_send_signal(PyObject *self, PyObject *args) {
    int pidfd, signal;
    if (!PyArg_ParseTuple(args, "ii", &pidfd, &signal))
        return NULL;
    return none_or_error(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

static PyObject *kernel_pidfd_getfd(PyObject *self, PyObject *args) {
    int pidfd, target;
    if (!PyArg_ParseTuple(args, "ii", &pidfd, &target))
        return NULL;
    return int_or_error(syscall(SYS_pidfd_getfd, pidfd, target, 0));
}

PyMethodDef process_methods[] = {
    {"clone3", kernel_clone3, METH_VARARGS, NULL},
    {"unshare", kernel_unshare, METH_VARARGS, NULL},
    {"setns", kernel_setns, METH_VARARGS, NULL},
    {"ns_type", kernel_ns_type, METH_VARARGS, NULL},
    {"pidfd_open", kernel_pidfd_open, METH_VARARGS, NULL},
    {"pidfd_send_signal", kernel_pidfd_send_signal, METH_VARARGS, NULL},
    {"pidfd_getfd", kernel_pidfd_getfd, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
