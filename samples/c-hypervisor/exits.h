/* What the hypervisor does at a VM exit. */

#ifndef EXITS_H
#define EXITS_H

#include "vcpu.h"

#define VMCALL_POWER_OFF 0 /* in RAX */

enum verdict {
    GO_ON,     /* the guest may run on */
    SWITCH,    /* its time slice is over, or it waits, or it is off */
    UNHANDLED, /* nobody knows what to do */
};

enum verdict handle_exit(struct vcpu *vcpu, enum exit_reason reason);

/* The manual's name of an exit reason that is handled; a null pointer for others. */
const char *exit_name(enum exit_reason reason);

/* Which accesses to MSRs exit: all, but those to MSRs that the VMCS switches from guest to guest. */
void make_msr_bitmap(uint8_t *bitmap);

#endif
