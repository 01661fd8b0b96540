/* Inside the SDL toolkit: sdl.c has the window, sdl_picture.c what is in it, sdl_input.c keys and pointer. All on one thread. */
#ifndef VIV_UI_WINDOW_SDL_INT_H
#define VIV_UI_WINDOW_SDL_INT_H

#include "ui/window/toolkit.h"

#include <SDL.h>

struct sdl {
    struct viv_window *w;
    const struct viv_window_host *host;
    struct viv_window_news news;
    SDL_Window *window;
    SDL_Renderer *renderer;
    int display_fd; /* -1: SDL must be asked again and again */

    /* Picture. */
    SDL_Texture *texture, *sprite; /* sprite: the guest's pointer, drawn where the host's is not seen */
    unsigned width, height;        /* of the texture; 0: none */
    bool draw;                     /* something is to be shown anew */
    SDL_Rect at;                   /* where the picture is in the window */
    SDL_Cursor *arrow, *shape, *none;

    /* Window. */
    bool full_screen, scaled; /* scaled: people have given it a size */
    int asked_width, asked_height;

    /* Input. */
    bool grabbed, absolute; /* absolute: the guest's pointer was, at the last news */
    uint32_t keysym_of[SDL_NUM_SCANCODES]; /* that went down by what it means */
};

/* sdl.c */
void sdl_fit_window(struct sdl *s);
void sdl_natural_size(struct sdl *s);
void sdl_scale(struct sdl *s, int percent);
void sdl_full_screen(struct sdl *s, bool on);
void sdl_title(struct sdl *s);

/* sdl_picture.c */
void sdl_take_picture(struct sdl *s);
void sdl_take_cursor(struct sdl *s);
void sdl_draw(struct sdl *s);
void sdl_lose_textures(struct sdl *s);

/* sdl_input.c */
void sdl_grab(struct sdl *s, bool on);
void sdl_show_cursor(struct sdl *s);
void sdl_key(struct sdl *s, const SDL_KeyboardEvent *e);
void sdl_text(struct sdl *s, const char *utf8);
void sdl_motion(struct sdl *s, const SDL_MouseMotionEvent *e);
void sdl_button(struct sdl *s, const SDL_MouseButtonEvent *e);
void sdl_wheel(struct sdl *s, const SDL_MouseWheelEvent *e);
void sdl_send(struct sdl *s, const struct viv_window_event *e);

#endif
