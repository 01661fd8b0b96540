/* virtio-input's pieces (virtio 1.2, 5.8): virtio_input.c the function, virtio_input_kinds.c keyboard, mouse and tablet. Device
 * lock held for all calls. */
#ifndef VIV_DEV_VIRTIO_INPUT_H
#define VIV_DEV_VIRTIO_INPUT_H

#include "bus/virtio.h"
#include "dev/input/pointer.h"

#include <linux/virtio_input.h>

enum { VIN_EVENTS, VIN_STATUS }; /* queues */

#define VIN_KEYS  256   /* that wait */
#define VIN_CODES 0x100 /* of keys */
#define VIN_GROUP 12    /* events that belong together, at most */

struct vin_event {
    uint16_t type, code;
    int32_t value;
};

struct virtio_input {
    struct viv_virtio v;
    struct viv_input_sink *sink;
    char *serial; /* NULL: none */
    uint8_t select, subsel; /* of the configuration (5.8.4) */
    bool driven;            /* DRIVER_OK: events for one that is not driven are dropped */
    uint8_t leds;           /* 1 << LED_* */

    /* Events on the way into the queue, which had no more buffers. */
    struct vin_event out[VIN_GROUP];
    uint8_t out_pos, out_count;

    struct pointer pointer;
    uint16_t key[VIN_KEYS]; /* code, VIN_UP: released */
    uint16_t key_head, key_count;
    uint8_t ups[VIN_CODES / 8]; /* releases that found no room: one bit a key */
};

/* A class of the function, and what is its own. */
struct vin_kind {
    struct viv_virtio_class fn; /* first */
    const char *name;           /* for the guest */
    uint16_t product;
    const struct viv_input_ops *input;
    /* Bit map of event codes of a type into `bits`; returns its length in bytes, 0: no such events. */
    unsigned (*bits)(uint8_t type, uint8_t bits[128]);
    /* Moves the next group into v->out; false: there is none. */
    bool (*next)(struct virtio_input *v);
};

static inline const struct vin_kind *vin_kind(const struct virtio_input *v)
{
    return (const struct vin_kind *)v->v.cls;
}

/* virtio_input.c: the function's calls, for the classes. */
int vin_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err);
void vin_unrealize(struct viv_virtio *v);
uint64_t vin_features(struct viv_virtio *v);
void vin_get_config(struct viv_virtio *v, uint8_t *config);
void vin_set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val);
void vin_kick(struct viv_virtio *v, unsigned queue);
void vin_status(struct viv_virtio *v, uint8_t status);
void vin_reset(struct viv_virtio *v);
extern const struct viv_state_table vin_state;

/* Something waits: as much as there are buffers for goes out. */
void vin_send(struct virtio_input *v);
/* Into the group that goes out. */
void vin_add(struct virtio_input *v, uint16_t type, uint16_t code, int32_t value);
/* Nothing waits any more. */
void vin_keys_clear(struct virtio_input *v);

#endif
