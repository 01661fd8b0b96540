/* The event loop: a thin layer on a main context of GLib's, run by the main thread.
 *
 * Every callback runs on the loop thread with the device lock held. Callbacks do not block. */
#ifndef VIV_HOST_LOOP_H
#define VIV_HOST_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

typedef void (*viv_loop_fn)(void *opaque);
typedef void (*viv_fd_fn)(void *opaque, int fd, short revents);

/* Runs until viv_loop_quit(). Called once, by the main thread, without the device lock. */
void viv_loop_run(void);
/* Serves watches that are ready; with `wait`, waits for one. True: there was one. For tests that run no loop; without the lock. */
bool viv_loop_serve(bool wait);
/* Any thread, async-signal-unsafe. */
void viv_loop_quit(void);
/* Serves the loop until done(opaque) or the timeout; returns what done() said last. Loop thread, inside a callback
 * or before viv_loop_run, device lock held; it is released while waiting. A watch whose callback is running is not
 * served; timers and calls are. */
bool viv_loop_wait_for(bool (*done)(void *opaque), void *opaque, int64_t timeout_ns);

/* Calls fn(opaque) once, soon, on the loop thread with the device lock. Any thread, with or without
 * the lock; never blocks. */
void viv_loop_call(viv_loop_fn fn, void *opaque);
/* Calls with this opaque that wait are not made: it is about to be freed. */
void viv_loop_forget(const void *opaque);

/* Watches fd for `events` (POLLIN, POLLOUT; POLLERR and POLLHUP always come). Device lock held (or before
 * threads start). The watch is owned by the caller and freed by viv_watch_free (NULL allowed), which guarantees that
 * fn is not called again; the fd is the caller's to close, after that. */
struct viv_watch;
struct viv_watch *viv_watch_new(int fd, short events, viv_fd_fn fn, void *opaque);
void viv_watch_set_events(struct viv_watch *w, short events);
void viv_watch_free(struct viv_watch *w);

#endif
