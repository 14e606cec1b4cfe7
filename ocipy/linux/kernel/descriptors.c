/* Waits for descriptors, and passes them over sockets: poll(2), unix(7), cmsg(3). */
#include "kernel.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { MAX_WATCHED = 64, MAX_PASSED = 253 /* SCM_MAX_FD of unix(7) */, SEND_PATIENCE = 10 /* seconds */ };

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* poll(2), resumed with the remaining time after a signal. -1 with an exception. */
static int poll_on(struct pollfd *watched, nfds_t count, int timeout) {
    long long end = timeout > 0 ? now_ms() + timeout : 0;
    for (;;) {
        int ready, error;
        Py_BEGIN_ALLOW_THREADS /* another thread of a program that uses the library may be the other side */
            ready = poll(watched, count, timeout);
        error = errno;
        Py_END_ALLOW_THREADS if (ready >= 0) return ready;
        errno = error;
        if (errno != EINTR) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        if (PyErr_CheckSignals())
            return -1;
        if (timeout > 0) {
            long long left = end - now_ms();
            timeout = left > 0 ? (int)left : 0;
        }
    }
}

static PyObject *kernel_poll(PyObject *self, PyObject *args) {
    PyObject *pairs;
    int timeout;
    struct pollfd watched[MAX_WATCHED];
    if (!PyArg_ParseTuple(args, "Oi", &pairs, &timeout))
        return NULL;
    pairs = PySequence_Fast(pairs, "watched: a sequence of (fd, events)");
    if (!pairs)
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(pairs);
    if (count > MAX_WATCHED)
        PyErr_Format(PyExc_ValueError, "poll: more than %d descriptors", MAX_WATCHED);
    for (Py_ssize_t i = 0; i < count && !PyErr_Occurred(); i++) {
        watched[i].revents = 0;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(pairs, i), "ih", &watched[i].fd, &watched[i].events))
            break;
    }
    Py_DECREF(pairs);
    if (PyErr_Occurred() || poll_on(watched, count, timeout) < 0)
        return NULL;
    PyObject *ready = PyList_New(0);
    for (Py_ssize_t i = 0; ready && i < count; i++) {
        if (!watched[i].revents)
            continue;
        PyObject *pair = Py_BuildValue("(ii)", watched[i].fd, (int)watched[i].revents);
        if (!pair || PyList_Append(ready, pair))
            Py_CLEAR(ready);
        Py_XDECREF(pair);
    }
    return ready;
}

static PyObject *kernel_socketpair(PyObject *self, PyObject *args) {
    int kind, ends[2];
    if (!PyArg_ParseTuple(args, "i", &kind))
        return NULL;
    if (socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, ends) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(ii)", ends[0], ends[1]);
}

static PyObject *kernel_connect_unix(PyObject *self, PyObject *args) {
    PyObject *path;
    int kind = SOCK_STREAM;
    if (!PyArg_ParseTuple(args, "O&|i", PyUnicode_FSConverter, &path, &kind))
        return NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    Py_ssize_t size = PyBytes_GET_SIZE(path);
    int fd = -1;
    if (size >= (Py_ssize_t)sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
    } else if (size == 0) {
        errno = ENOENT; /* a leading zero byte means an abstract address, which anybody may bind: unix(7) */
    } else {
        memcpy(address.sun_path, text_of(path), size);
        fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
    }
    Py_DECREF(path);
    if (fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    /* Fails with EAGAIN, so that a listener that never accepts, or a reader that never reads, does not block us. */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = SEND_PATIENCE}, sizeof(struct timeval));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno;
        close(fd);
        fd = -1;
        errno = error;
    }
    return int_or_error(fd);
}

/* Put the descriptors of a sequence into a control message. Returns how many they are, or -1 with an exception. */
static Py_ssize_t fill_control(PyObject *fds, struct msghdr *message) {
    PyObject *fast = PySequence_Fast(fds, "fds: a sequence of int");
    if (!fast)
        return -1;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    if (count > MAX_PASSED)
        PyErr_Format(PyExc_ValueError, "more than %d descriptors", MAX_PASSED);
    else if (count) {
        message->msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        int *slots = (int *)CMSG_DATA(header);
        for (Py_ssize_t i = 0; i < count; i++)
            slots[i] = PyLong_AsLong(PySequence_Fast_GET_ITEM(fast, i));
    }
    Py_DECREF(fast);
    return PyErr_Occurred() ? -1 : count;
}

typedef union {
    char bytes[CMSG_SPACE(MAX_PASSED * sizeof(int))];
    struct cmsghdr align;
} Control;

static PyObject *kernel_send(PyObject *self, PyObject *args) {
    int fd;
    Py_buffer data;
    PyObject *fds = NULL;
    Control control = {0};
    if (!PyArg_ParseTuple(args, "iy*|O", &fd, &data, &fds))
        return NULL;
    struct iovec part = {.iov_base = data.buf, .iov_len = data.len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    PyObject *answer = NULL;
    Py_ssize_t count = fds ? fill_control(fds, &message) : 0;
    if (count >= 0) {
        if (count == 0)
            message.msg_control = NULL;
        ssize_t sent;
        do
            sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR && !PyErr_CheckSignals());
        if (!PyErr_Occurred())
            answer = int_or_error(sent);
    }
    PyBuffer_Release(&data);
    return answer;
}

/* Put the descriptors of a received message into fds. Close all of them instead if they are more than limit, or if keep
 * is 0. Returns how many the message had. */
static int take_descriptors(struct msghdr *message, int *fds, int limit, int keep) {
    int count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        int here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (int i = 0; i < here; i++, count++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (keep && count < limit)
                fds[count] = fd;
            else
                close(fd);
        }
    }
    if (count > limit && keep)
        for (int i = 0; i < limit; i++)
            close(fds[i]);
    return count;
}

static PyObject *kernel_recv(PyObject *self, PyObject *args) {
    int fd, limit, fds[MAX_PASSED];
    Py_ssize_t size;
    Control control;
    if (!PyArg_ParseTuple(args, "ini", &fd, &size, &limit))
        return NULL;
    if (size < 0 || limit < 0 || limit > MAX_PASSED)
        return PyErr_Format(PyExc_ValueError, "recv: a negative size, or a limit not from 0 to %d descriptors",
                            MAX_PASSED);
    PyObject *data = PyBytes_FromStringAndSize(NULL, size);
    if (!data)
        return NULL;
    struct iovec part = {.iov_base = PyBytes_AS_STRING(data), .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t got;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (got < 0) {
        Py_DECREF(data);
        return PyErr_Occurred() ? NULL : PyErr_SetFromErrno(PyExc_OSError);
    }
    int whole = !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    int count = take_descriptors(&message, fds, limit, whole);
    if (!whole || count > limit) {
        Py_DECREF(data);
        errno = EMSGSIZE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    PyObject *list = PyList_New(count);
    for (int i = 0; list && i < count; i++)
        PyList_SET_ITEM(list, i, PyLong_FromLong(fds[i]));
    if (!list || _PyBytes_Resize(&data, got)) {
        Py_XDECREF(list);
        Py_XDECREF(data);
        return NULL;
    }
    return Py_BuildValue("(NN)", data, list);
}

PyMethodDef descriptor_methods[] = {
    {"poll", kernel_poll, METH_VARARGS, NULL},
    {"socketpair", kernel_socketpair, METH_VARARGS, NULL},
    {"connect_unix", kernel_connect_unix, METH_VARARGS, NULL},
    {"send", kernel_send, METH_VARARGS, NULL},
    {"recv", kernel_recv, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
