/* Signals that ask the process to end, as events of the loop. */
#ifndef VIV_HOST_SIGNALS_H
#define VIV_HOST_SIGNALS_H

#include <sys/types.h>

/* Called on the loop thread with the device lock; `from` is the sender, 0 for the terminal. */
typedef void (*viv_signal_fn)(int signo, pid_t from);

/* Blocks SIGINT, SIGTERM and SIGHUP in the calling thread and all it starts later, ignores SIGPIPE and SIGXFSZ. Until
 * viv_signals_started() the three end the process, as they do by default, whatever it waits for: after two seconds, in which the start
 * may come to its end. Main thread, before any
 * other thread starts. */
void viv_signals_init(viv_signal_fn fn);
/* From now on they are fn's, when the loop runs. Main thread, before it does and before anybody is told that the program is ready. */
void viv_signals_started(void);
/* Readable when there is one that the loop has not heard; -1 before it does. For who waits on the loop's thread. */
int viv_signals_fd(void);

#endif
