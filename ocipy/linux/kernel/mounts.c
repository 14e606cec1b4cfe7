/* Mounts: mount(2), umount2(2), pivot_root(2), and the new mount API: open_tree(2), fsopen(2), mount_setattr(2) and the
 * rest. Raw calls, since glibc has had wrappers for that API only since 2.36. */
#include "kernel.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>
#include <sys/vfs.h>

/* For "O&": convert a str, encoded like file names, into a new reference to bytes; None becomes NULL. */
static int optional_path(PyObject *value, void *bytes) {
    PyObject **slot = bytes;
    if (value == Py_None) {
        *slot = NULL;
        return 1;
    }
    return PyUnicode_FSConverter(value, bytes);
}

static PyObject *kernel_mount(PyObject *self, PyObject *args) {
    PyObject *source = NULL, *target = NULL, *type = NULL, *data = NULL;
    unsigned long flags;
    if (!PyArg_ParseTuple(args, "O&O&O&kO&", optional_path, &source, PyUnicode_FSConverter, &target, optional_path,
                          &type, &flags, optional_path, &data)) {
        /* No references to release: optional_path makes none for None, and PyArg_ParseTuple has released the others. */
        return NULL;
    }
    long result = syscall(SYS_mount, text_of(source), text_of(target), text_of(type), flags, text_of(data));
    PyObject *answer = none_or_error(result);
    Py_XDECREF(source);
    Py_XDECREF(target);
    Py_XDECREF(type);
    Py_XDECREF(data);
    return answer;
}

static PyObject *kernel_umount2(PyObject *self, PyObject *args) {
    PyObject *target;
    int flags;
    if (!PyArg_ParseTuple(args, "O&i", PyUnicode_FSConverter, &target, &flags))
        return NULL;
    PyObject *answer = none_or_error(syscall(SYS_umount2, text_of(target), flags));
    Py_DECREF(target);
    return answer;
}

static PyObject *kernel_pivot_root(PyObject *self, PyObject *args) {
    PyObject *root, *old;
    if (!PyArg_ParseTuple(args, "O&O&", PyUnicode_FSConverter, &root, PyUnicode_FSConverter, &old))
        return NULL;
    PyObject *answer = none_or_error(syscall(SYS_pivot_root, text_of(root), text_of(old)));
    Py_DECREF(root);
    Py_DECREF(old);
    return answer;
}

static PyObject *kernel_open_tree(PyObject *self, PyObject *args) {
    int directory;
    PyObject *path;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iO&I", &directory, PyUnicode_FSConverter, &path, &flags))
        return NULL;
    PyObject *answer = int_or_error(syscall(SYS_open_tree, directory, text_of(path), flags | OPEN_TREE_CLOEXEC));
    Py_DECREF(path);
    return answer;
}

static PyObject *kernel_move_mount(PyObject *self, PyObject *args) {
    int from, to;
    PyObject *from_path, *to_path;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "iO&iO&I", &from, PyUnicode_FSConverter, &from_path, &to, PyUnicode_FSConverter,
                          &to_path, &flags))
        return NULL;
    PyObject *answer = none_or_error(syscall(SYS_move_mount, from, text_of(from_path), to, text_of(to_path), flags));
    Py_DECREF(from_path);
    Py_DECREF(to_path);
    return answer;
}

static PyObject *kernel_fsopen(PyObject *self, PyObject *args) {
    const char *type;
    unsigned int flags;
    if (!PyArg_ParseTuple(args, "sI", &type, &flags))
        return NULL;
    return int_or_error(syscall(SYS_fsopen, type, flags | FSOPEN_CLOEXEC));
}

static PyObject *kernel_fsconfig(PyObject *self, PyObject *args) {
    int fd, aux;
    unsigned int command;
    PyObject *key, *value;
    if (!PyArg_ParseTuple(args, "iIO&O&i", &fd, &command, optional_path, &key, optional_path, &value, &aux))
        return NULL;
    PyObject *answer = none_or_error(syscall(SYS_fsconfig, fd, command, text_of(key), text_of(value), aux));
    Py_XDECREF(key);
    Py_XDECREF(value);
    return answer;
}

static PyObject *kernel_fsmount(PyObject *self, PyObject *args) {
    int fd;
    unsigned int flags, attributes;
    if (!PyArg_ParseTuple(args, "iII", &fd, &flags, &attributes))
        return NULL;
    return int_or_error(syscall(SYS_fsmount, fd, flags | FSMOUNT_CLOEXEC, attributes));
}

static PyObject *kernel_mount_setattr(PyObject *self, PyObject *args) {
    int directory, userns;
    PyObject *path;
    unsigned int flags;
    unsigned long long set, clear, propagation;
    if (!PyArg_ParseTuple(args, "iO&IKKKi", &directory, PyUnicode_FSConverter, &path, &flags, &set, &clear,
                          &propagation, &userns))
        return NULL;
    struct mount_attr attributes = {
        .attr_set = set, .attr_clr = clear, .propagation = propagation, .userns_fd = userns < 0 ? 0 : userns};
    PyObject *answer =
        none_or_error(syscall(SYS_mount_setattr, directory, text_of(path), flags, &attributes, sizeof(attributes)));
    Py_DECREF(path);
    return answer;
}

static PyObject *kernel_fstatfs(PyObject *self, PyObject *args) {
    int fd;
    struct statfs about;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    if (fstatfs(fd, &about) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(kk)", (unsigned long)about.f_type, (unsigned long)about.f_flags);
}

static PyObject *kernel_mount_id(PyObject *self, PyObject *args) {
    int directory, flags;
    PyObject *path;
    if (!PyArg_ParseTuple(args, "iO&i", &directory, PyUnicode_FSConverter, &path, &flags))
        return NULL;
    struct statx about = {0};
    long result = syscall(SYS_statx, directory, text_of(path), flags, STATX_MNT_ID, &about);
    Py_DECREF(path);
    if (result == 0 && !(about.stx_mask & STATX_MNT_ID)) { /* before Linux 5.8 */
        errno = ENOSYS;
        result = -1;
    }
    if (result < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromUnsignedLongLong(about.stx_mnt_id);
}

PyMethodDef mount_methods[] = {
    {"mount", kernel_mount, METH_VARARGS, NULL},
    {"umount2", kernel_umount2, METH_VARARGS, NULL},
    {"pivot_root", kernel_pivot_root, METH_VARARGS, NULL},
    {"open_tree", kernel_open_tree, METH_VARARGS, NULL},
    {"move_mount", kernel_move_mount, METH_VARARGS, NULL},
    {"fsopen", kernel_fsopen, METH_VARARGS, NULL},
    {"fsconfig", kernel_fsconfig, METH_VARARGS, NULL},
    {"fsmount", kernel_fsmount, METH_VARARGS, NULL},
    {"mount_setattr", kernel_mount_setattr, METH_VARARGS, NULL},
    {"fstatfs", kernel_fstatfs, METH_VARARGS, NULL},
    {"mount_id", kernel_mount_id, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
