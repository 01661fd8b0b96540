/* A bare board for unit tests of devices: two spaces, recorded interrupt lines and messages, a guest clock that is
 * stepped by hand. A test lists test_rig.c among its sources. */
#ifndef VIV_DEV_TEST_RIG_H
#define VIV_DEV_TEST_RIG_H

#include "bus/dev.h"
#include "bus/vmreq.h"

struct rig {
    struct viv_board board;
    struct viv_intc intc;
    int line[24];       /* ISA lines, then pins 16-23 */
    unsigned rises[24]; /* of each */
    int extint;
    unsigned smis[2]; /* to one CPU, to all */
    unsigned msis;
    uint64_t msi_addr; /* the last one */
    uint32_t msi_data;
    unsigned requests; /* viv_vm_request calls */
    enum viv_vm_request request;
    int request_code;
};

extern struct rig rig; /* one at a time */

/* The classes a test uses, NULL-terminated: defined by the test. */
extern const struct viv_dev_class *const rig_classes[];

/* Fresh board, clock at 0. */
void rig_init(void);
void rig_fini(void);
/* RAM from address 0 on, zeroed; the same size each time. */
void rig_add_ram(uint64_t size);
/* Moves guest time on; timers fire on the way, each at its time. */
void rig_step(int64_t ns);
/* What the loop has to do: devices that leave are gone, and events have been told. */
void rig_turn(void);
/* Makes a device; `opts` as after "-device NAME,", NULL for none. Fails the test when it cannot. */
struct viv_dev *rig_add(const char *cls, const char *opts);
/* The same, to be refused: the error must hold `word`. */
void rig_refused(const char *cls, const char *opts, const char *word);

void out8(uint16_t port, uint8_t v);
void out16(uint16_t port, uint16_t v);
void out32(uint16_t port, uint32_t v);
uint8_t in8(uint16_t port);
uint16_t in16(uint16_t port);
uint32_t in32(uint16_t port);
uint32_t mem32(uint64_t addr);
void set_mem32(uint64_t addr, uint32_t v);
uint64_t mem64(uint64_t addr);
void set_mem64(uint64_t addr, uint64_t v);

/* State of all devices; g_free. */
uint8_t *rig_save(size_t *len);
void rig_load(const uint8_t *data, size_t len);
void rig_load_refused(const uint8_t *data, size_t len, const char *part);

#endif
