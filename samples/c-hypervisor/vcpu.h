/* Virtual machines and their virtual CPUs. */

#ifndef VCPU_H
#define VCPU_H

#include <stdbool.h>
#include <stdint.h>
#include "vmx.h"

/* What a virtual machine is: memory, at guest-physical address 0 and up, and the tables that say where it is really. */
struct vm {
    uint64_t *ept;
    uint64_t ram; /* host-physical address */
    uint64_t ram_bytes;
};

/*
 * The guest's general registers while it does not run. The VMCS has RSP, RIP and RFLAGS, and nothing of these. entry.S
 * knows the order.
 */
struct registers {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
};

enum vcpu_state {
    RUNNABLE,
    WAITING, /* has executed HLT, and waits for an interrupt */
    OFF,
};

struct vcpu {
    const char *name;
    struct vm *vm;
    unsigned number; /* in its virtual machine */
    bool has_timer;  /* gets an interrupt at each tick of the hypervisor's clock */
    enum vcpu_state state;
    bool tick_pending;
    struct registers registers;
    uint64_t vmcs;
    bool launched;
    unsigned exits[EXIT_REASONS];
    char line[80]; /* what it has printed since the end of the last line */
    unsigned line_length;
};

/* Turns VMX on. Once for each (real) CPU. */
void enter_vmx_operation(void);

/* Makes a VMCS for the vCPU, with which the guest begins in real mode at 0000:`ip`. */
void vcpu_start_in_real_mode(struct vcpu *vcpu, uint16_t ip);

/* Or in 64-bit mode, with page tables at guest-physical `cr3`. */
void vcpu_start_in_64_bit_mode(struct vcpu *vcpu, uint64_t cr3, uint64_t rip, uint64_t rsp);

/* Makes its VMCS the current one, and gives the guest a time slice of so many ticks of the TSC. */
void vcpu_load(struct vcpu *vcpu, uint64_t slice);

/* Runs the guest up to the next VM exit. Its VMCS is the current one. */
enum exit_reason vcpu_run(struct vcpu *vcpu);

/* The instruction at RIP was carried out by the hypervisor. */
void skip_instruction(void);

/* Has the guest take a general-protection exception in place of the instruction. */
void inject_general_protection(void);

#endif
