/* Windows of the machine's screens on a desktop or a terminal (docs/screens.md). Loop thread, device lock held. */
#ifndef VIV_UI_WINDOW_WINDOW_H
#define VIV_UI_WINDOW_WINDOW_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>

struct viv_window;

/* What people do in a window to the machine. */
struct viv_window_vm {
    void (*quit)(void);
    void (*reset)(void);
    void (*powerdown)(void);
    void (*pause)(bool on);
};

/* The options of a kind of window, key "type": "sdl", "gtk", "curses"; "default": those that sdl and gtk share. NULL: there is no such kind. */
const struct viv_opt_def *viv_window_options(const char *kind);
const char *const *viv_window_kinds(void); /* NULL-terminated, the preferred first */
/* Was it built, and can it be loaded? */
bool viv_window_available(const char *kind, struct viv_err *err);

/* `o` parsed against its options, not kept. `layout`: of -k, NULL: none was named. `guest`: its name, or NULL. `full_screen`: by
 * -full-screen. */
int viv_window_new(struct viv_opts *o, const char *layout, const char *guest, bool full_screen, const struct viv_window_vm *vm,
                   struct viv_window **out, struct viv_err *err);
void viv_window_set_paused(struct viv_window *w, bool paused);
/* NULL allowed. False: its desktop stands still or has gone, and so does its thread. The process must end by _exit() then, since what
 * libraries do at an exit would wait for it. */
bool viv_window_free(struct viv_window *w);

#endif
