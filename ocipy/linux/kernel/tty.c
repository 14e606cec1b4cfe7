/* Terminals: termios(3), ioctl_tty(2). */
#include "kernel.h"

#include <string.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

static PyObject *kernel_tty_raw(PyObject *self, PyObject *args) {
    int fd;
    struct termios saved, raw;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    if (tcgetattr(fd, &saved) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    raw = saved;
    cfmakeraw(&raw);
    raw.c_oflag |= saved.c_oflag & OPOST;
    if (tcsetattr(fd, TCSANOW, &raw) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyBytes_FromStringAndSize((char *)&saved, sizeof(saved));
}

static PyObject *kernel_tty_clear_output(PyObject *self, PyObject *args) {
    int fd;
    unsigned int flags;
    struct termios attributes;
    if (!PyArg_ParseTuple(args, "iI", &fd, &flags))
        return NULL;
    if (tcgetattr(fd, &attributes) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    attributes.c_oflag &= ~flags;
    return none_or_error(tcsetattr(fd, TCSANOW, &attributes));
}

static PyObject *kernel_tty_end_of_file(PyObject *self, PyObject *args) {
    int fd;
    struct termios attributes;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    if (tcgetattr(fd, &attributes) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(iN)", attributes.c_cc[VEOF], PyBool_FromLong(attributes.c_lflag & ICANON));
}

static PyObject *kernel_tty_restore(PyObject *self, PyObject *args) {
    int fd;
    const char *bytes;
    Py_ssize_t size;
    struct termios saved;
    if (!PyArg_ParseTuple(args, "iy#", &fd, &bytes, &size))
        return NULL;
    if (size != sizeof(saved))
        return PyErr_Format(PyExc_ValueError, "tty_restore: not a struct termios");
    memcpy(&saved, bytes, sizeof(saved));
    return none_or_error(tcsetattr(fd, TCSANOW, &saved));
}

static PyObject *kernel_tty_size(PyObject *self, PyObject *args) {
    int fd;
    struct winsize size;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(HH)", size.ws_row, size.ws_col);
}

static PyObject *kernel_tty_set_size(PyObject *self, PyObject *args) {
    int fd;
    struct winsize size = {0};
    if (!PyArg_ParseTuple(args, "iHH", &fd, &size.ws_row, &size.ws_col))
        return NULL;
    return none_or_error(ioctl(fd, TIOCSWINSZ, &size));
}

static PyObject *kernel_tty_set_controlling(PyObject *self, PyObject *args) {
    int fd;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    return none_or_error(ioctl(fd, TIOCSCTTY, 0));
}

static PyObject *kernel_pty_unlock(PyObject *self, PyObject *args) {
    int master, locked = 0;
    if (!PyArg_ParseTuple(args, "i", &master))
        return NULL;
    return none_or_error(ioctl(master, TIOCSPTLCK, &locked));
}

static PyObject *kernel_pty_number(PyObject *self, PyObject *args) {
    int master;
    unsigned int number;
    if (!PyArg_ParseTuple(args, "i", &master))
        return NULL;
    if (ioctl(master, TIOCGPTN, &number) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromUnsignedLong(number);
}

static PyObject *kernel_pty_peer(PyObject *self, PyObject *args) {
    int master, flags;
    if (!PyArg_ParseTuple(args, "ii", &master, &flags))
        return NULL;
    return int_or_error(ioctl(master, TIOCGPTPEER, flags | O_CLOEXEC));
}

PyMethodDef tty_methods[] = {
    {"tty_raw", kernel_tty_raw, METH_VARARGS, NULL},
    {"tty_clear_output", kernel_tty_clear_output, METH_VARARGS, NULL},
    {"tty_end_of_file", kernel_tty_end_of_file, METH_VARARGS, NULL},
    {"tty_restore", kernel_tty_restore, METH_VARARGS, NULL},
    {"tty_size", kernel_tty_size, METH_VARARGS, NULL},
    {"tty_set_size", kernel_tty_set_size, METH_VARARGS, NULL},
    {"tty_set_controlling", kernel_tty_set_controlling, METH_VARARGS, NULL},
    {"pty_unlock", kernel_pty_unlock, METH_VARARGS, NULL},
    {"pty_number", kernel_pty_number, METH_VARARGS, NULL},
    {"pty_peer", kernel_pty_peer, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
