/* Messages between the two sides of the broker, with a descriptor or without. */
#include "host/broker_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
    struct cmsghdr h;
    char room[CMSG_SPACE(sizeof(int))];
};

bool broker_send(int sock, struct iovec *iov, unsigned count, int fd)
{
    union control control = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n;

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.h), &fd, sizeof(fd));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
    }
    do
        n = sendmsg(sock, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

ssize_t broker_receive(int sock, struct iovec *iov, unsigned count, int *fd, bool *lost)
{
    union control control;
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = count, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c;
    ssize_t n;

    *fd = -1;
    *lost = false;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(c), sizeof(int));
    *lost = c && *fd < 0;
    return n;
}
