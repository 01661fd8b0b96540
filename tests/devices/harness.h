/* Every device class at once on a bare board, and random activity on it: shared by the round-trip test and the
 * fuzzer. */
#ifndef TESTS_DEVICES_HARNESS_H
#define TESTS_DEVICES_HARNESS_H

#include "bus/dev.h"

enum harness_kind { HARNESS_PC, HARNESS_MICROVM, HARNESS_Q35, HARNESS_KINDS };

extern struct viv_board harness_board;

/* Is the class on one of the boards? */
bool harness_knows(const char *cls);
/* Builds the board with all its devices and starts the guest clock's time at `ns`. Ends the process with the reason
 * when a device cannot be made. Takes the device lock, harness_fini gives it back. */
void harness_init(enum harness_kind kind, int64_t ns);
void harness_fini(void);
/* Waits until no request is in flight. */
void harness_quiesce(void);

/* Devices are plugged in and asked for, too. */
extern bool harness_plugs;
/* Does something to the board for each few bytes of `data`: port and memory accesses, configuration writes, time,
 * interrupt lines, keys. */
void harness_play(const uint8_t *data, size_t len);

/* State of one device, as its own stream; g_free. */
uint8_t *harness_save(struct viv_dev *d, size_t *len);
int harness_load(struct viv_dev *d, const uint8_t *data, size_t len, struct viv_err *err);

#endif
