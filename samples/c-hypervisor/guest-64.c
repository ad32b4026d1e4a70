/*
 * The guest of `long`: 64-bit mode, two vCPUs that share this code and its data. They add up the squares of the numbers
 * below LIMIT, half of them each. Nothing here is the hypervisor's, but for the constants of the CPU.
 */

#include <stdbool.h>
#include "cpu.h"
#include "exits.h"

#define VCPUS 2
#define LIMIT 40000u
#define CONSOLE_PORT 0xE9
#define CODE 0x08
#define GENERAL_PROTECTION 13
#define INTERRUPT_GATE 0x8E00
#define RDMSR_BYTES 2

struct gate {
    uint16_t offset_low, selector, type, offset_middle;
    uint32_t offset_high, reserved;
};

struct interrupt_frame {
    uint64_t rip, cs, rflags, rsp, ss;
};

static uint64_t gdt[] = {0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF};
static struct gate idt[GENERAL_PROTECTION + 1];
/* What each vCPU has for itself: its GS base points there. */
static volatile struct per_cpu {
    uint8_t faulted; /* first, for general_protection */
    bool done;
    unsigned long sum;
} per_cpu[VCPUS];

static void print_64(const char *text)
{
    while (*text)
        __asm__ volatile("outb %0, %1" : : "a"(*text++), "Nd"((uint16_t)CONSOLE_PORT)); /* VM exit: I/O instruction */
}

static void print_number(unsigned long value)
{
    char digits[21], *end = digits + 20;

    *end = 0;
    do {
        *--end = '0' + value % 10;
        value /= 10;
    } while (value);
    print_64(end);
}

/* The instruction was an RDMSR: go on behind it. */
__attribute__((interrupt)) static void general_protection(struct interrupt_frame *frame, uint64_t error_code)
{
    (void)error_code;
    __asm__ volatile("movb $1, %gs:0"); /* faulted */
    frame->rip += RDMSR_BYTES;
}

static void load_descriptor_tables(void)
{
    struct descriptor_table gdtr = {sizeof gdt - 1, (uint64_t)gdt}, idtr = {sizeof idt - 1, (uint64_t)idt};
    uint64_t handler = (uint64_t)general_protection;

    idt[GENERAL_PROTECTION] = (struct gate){
        .offset_low = handler, .selector = CODE, .type = INTERRUPT_GATE, .offset_middle = handler >> 16,
    };
    __asm__ volatile("lgdt %0; lidt %1" : : "m"(gdtr), "m"(idtr));
}

static void try_msrs(unsigned vcpu)
{
    wrmsr(IA32_GS_BASE, (uint64_t)&per_cpu[vcpu]); /* no VM exit: its bit in the MSR bitmap is 0 */
    print_64(rdmsr(IA32_GS_BASE) == (uint64_t)&per_cpu[vcpu] ? "GS base is mine" : "GS base is wrong");
    print_64(rdmsr(IA32_TSC_AUX) == vcpu ? ", TSC_AUX is my number" : ", TSC_AUX is wrong"); /* VM exit: RDMSR */
    rdmsr(IA32_VMX_BASIC);                                                                   /* and #GP, injected */
    print_64(per_cpu[vcpu].faulted ? ", VT-x is hidden: #GP\n" : ", VT-x is there\n");
}

static unsigned long sum_of_squares(unsigned from, unsigned to)
{
    unsigned long sum = 0;

    for (unsigned long n = from; n < to; n++) /* STOP HERE: the preemption timer interrupts this loop */
        sum += n * n;
    return sum;
}

static void power_off(void)
{
    __asm__ volatile("vmcall" : : "a"((uint64_t)VMCALL_POWER_OFF)); /* VM exit: VMCALL */
}

/* Where each vCPU begins, on a stack of its own */
void guest_64(unsigned vcpu)
{
    load_descriptor_tables();
    print_64("64-bit mode\n");
    try_msrs(vcpu);
    per_cpu[vcpu].sum = sum_of_squares(vcpu * (LIMIT / VCPUS), (vcpu + 1) * (LIMIT / VCPUS));
    per_cpu[vcpu].done = true;
    if (vcpu == 0) {
        while (!per_cpu[1].done)
            __asm__ volatile("pause");
        print_64("the squares below ");
        print_number(LIMIT);
        print_64(" add up to ");
        print_number(per_cpu[0].sum + per_cpu[1].sum);
        print_64("\n");
    }
    power_off();
}
