/* Inside ui/window/: options.c reads what was said, window.c has the thread and the state, serve.c what people do, hotkeys.c which keys
 * are ours. */
#ifndef VIV_UI_WINDOW_WINDOW_INT_H
#define VIV_UI_WINDOW_WINDOW_INT_H

#include "ui/keymap.h"
#include "ui/window/toolkit.h"
#include "ui/window/window.h"

#include <glib.h>
#include <pthread.h>

#define WINDOW_EVENTS 1024 /* that wait for the loop thread */

/* The toolkit's thread. */
struct window_keys {
    enum viv_grab_mod mod;
    unsigned held;          /* modifiers: bits */
    unsigned swallowed[8];  /* keys of ours that are down; 0: free */
};

enum viv_window_action window_key(struct window_keys *k, unsigned code, bool down, unsigned *tab);

struct viv_window {
    const struct viv_toolkit *toolkit;
    struct viv_window_host host;
    struct viv_window_opts opts;
    const struct viv_window_vm *vm;
    pthread_t thread;
    int wake_fd;
    struct window_keys keys;

    /* Loop thread. */
    struct viv_look *look;
    struct viv_keymap *map;
    struct viv_typist *typist;
    struct viv_input_watch *watch;
    struct viv_timer *timer;  /* keys wait for the guest */
    struct viv_timer *looker; /* for consoles that come and go */
    unsigned console_changes, tab;
    unsigned buttons;         /* that are down */
    bool hidden;

    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum { WINDOW_OPENING, WINDOW_OPEN, WINDOW_FAILED, WINDOW_ENDED } phase;
    char why[256];
    struct viv_window_news state; /* all but `look` */
    GArray *events; /* struct viv_window_event */
    bool called, lost; /* the loop thread is to serve them; some found no room */
};

/* window.c */
void window_wake(struct viv_window *w);
void window_update_tabs(struct viv_window *w);
void window_show_tab(struct viv_window *w, unsigned tab);

/* serve.c */
void window_send(struct viv_window *w, const struct viv_window_event *e); /* the toolkit's thread */
void window_serve(void *opaque);
void window_release(struct viv_window *w);

/* options.c */
void window_read_options(struct viv_opts *o, struct viv_window_opts *out);

#endif
