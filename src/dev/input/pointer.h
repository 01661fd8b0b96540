/* What pointing devices of all buses do with motion: a queue of events that the guest has not fetched yet.
 *
 * An event is motion, and what the buttons are where it ends. Motion between two changes of buttons is one event, and a change is
 * one of its own (some guests take a report's buttons before its motion), so that the queue keeps clicks in their places and is
 * bounded; when it is full all that comes is one event. */
#ifndef VIV_DEV_INPUT_POINTER_H
#define VIV_DEV_INPUT_POINTER_H

#include "state/state.h"
#include "ui/input.h"

#define POINTER_EVENTS 16

struct pointer_event {
    int32_t x, y; /* place, or how far since the last event */
    int32_t wheel, pan;
    uint8_t buttons; /* a bit each: 1 << enum viv_button */
};

struct pointer {
    bool absolute; /* places, not motion */
    struct pointer_event event[POINTER_EVENTS];
    uint8_t head, count;
    struct pointer_event now;  /* until the sync */
    struct pointer_event told; /* place and buttons that the guest knows of */
};

/* VIV_F_STRUCT(my_dev, pointer, viv_pointer_state). */
extern const struct viv_state_table viv_pointer_state;

/* From viv_input_ops. */
void viv_pointer_move(struct pointer *p, int dx, int dy);
void viv_pointer_place(struct pointer *p, unsigned x, unsigned y);
void viv_pointer_button(struct pointer *p, enum viv_button b, bool down);
void viv_pointer_wheel(struct pointer *p, int dy, int dx);
/* `driven`: the guest listens, else what came is forgotten. Is there an event now? */
bool viv_pointer_sync(struct pointer *p, bool driven);

/* The oldest event, which the caller may use up in parts; NULL: none. */
struct pointer_event *viv_pointer_first(struct pointer *p);
/* The guest knows it. */
void viv_pointer_taken(struct pointer *p);
void viv_pointer_clear(struct pointer *p);

#endif
