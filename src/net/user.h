/* `-netdev user`: a TCP/IP stack in the process (libslirp), so that a guest reaches the network with no
 * privileges. This header is for the files user*.c only.
 *
 * One thread a back end runs libslirp; nothing else calls it except with `lock` held. Frames pass through two
 * bounded queues:
 *
 *     vCPU  -- to_host -->  slirp thread  -- to_guest -->  NIC
 *
 * The slirp thread delivers: it takes the device lock, without `lock`, and gives the NIC what the queue holds,
 * then one interrupt. When the guest has no room the frames stay, and when the queue is nearly full the
 * thread stops looking at sockets: TCP's own flow control then slows the sender. Lock order: device lock,
 * `lock`, queue lock. */
#ifndef VIV_NET_USER_H
#define VIV_NET_USER_H

#include "net/coalesce.h"
#include "net/frameq.h"
#include "net/net_int.h"

#include <libslirp.h>
#include <poll.h>
#include <pthread.h>

#define USER_QUEUE_BYTES (2u << 20)
#define USER_QUEUE_HIGH  (USER_QUEUE_BYTES / 4 * 3) /* sockets are left alone above this */
#define USER_QUEUE_LOW   (USER_QUEUE_BYTES / 4)     /* and looked at again below this */

struct user_timer {
    SlirpTimerId id;
    void *opaque;
    int64_t expiry_ms; /* INT64_MAX: not armed */
    struct user_timer *next;
};

struct user_net {
    struct viv_netdev n;
    Slirp *slirp;
    char *tftp; /* libslirp's, whole; NULL: none */
    pthread_mutex_t lock; /* around every call of libslirp, and the timers */
    struct user_timer *timers;
    struct viv_frameq to_host, to_guest;
    struct viv_coalesce big; /* device lock: out of to_guest, not yet with the NIC */
    struct viv_net_hdr big_gso;

    pthread_t thread;
    bool started, start_queued; /* device lock */
    bool quit;      /* atomic */
    bool sleeping;  /* atomic: the thread is, or is about to be, in poll */
    bool throttled; /* atomic: it looks at no sockets until to_guest is below LOW */
    bool look_again; /* atomic: sockets came or went since they were collected for poll */
    bool exited;    /* device lock */
    pthread_cond_t exited_cond;
    int wake_fd;

    /* The slirp thread's own. */
    struct pollfd *fds;
    unsigned nfds, fds_room;

    /* What the addresses are, for forwards and `info`. */
    struct in_addr net, mask, host, dhcp, dns;
    bool restricted;
};

extern const SlirpCb user_callbacks;

/* Starts the thread when the event loop runs (after -daemonize has forked). Device lock held. */
void user_thread_start(struct user_net *u);
/* Waits until it has ended, letting go of the device lock meanwhile. */
void user_thread_stop(struct user_net *u);
void user_wake(struct user_net *u);
/* To the NIC as far as it can take frames. Device lock held. */
void user_deliver(struct user_net *u);

/* hostfwd=[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport. Takes `lock`. */
int user_hostfwd_add(struct user_net *u, const char *rule, struct viv_err *err);
int user_hostfwd_remove(struct user_net *u, const char *rule, struct viv_err *err);
/* guestfwd=[tcp]:addr:port-cmd:COMMAND or -unix:PATH. */
int user_guestfwd_add(struct user_net *u, const char *rule, struct viv_err *err);

/* Who holds a local port, for messages: "pid 123 (sshd)", g_free it; NULL when it cannot be found. */
char *user_port_owner(bool udp, uint16_t port);

#endif
