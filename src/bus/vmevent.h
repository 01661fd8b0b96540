/* What a device tells those who watch the VM: events of QMP. */
#ifndef VIV_BUS_VMEVENT_H
#define VIV_BUS_VMEVENT_H

struct json_t;

/* Takes `data` (an object, or NULL). Any thread, any lock state; passed on by the loop thread, in order. */
void viv_vm_event_json(const char *event, struct json_t *data);

/* Who passes them on (machine/vm.c): called on the loop thread with the device lock; `data` is the text of an object, or NULL.
 * Without a handler events are dropped. */
typedef void (*viv_vm_event_handler)(const char *event, const char *data);
void viv_vm_event_set_handler(viv_vm_event_handler fn);

#endif
