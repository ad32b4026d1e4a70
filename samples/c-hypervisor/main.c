/*
 * A small hypervisor: two virtual machines, three vCPUs, one CPU.
 *
 *     real     starts in 16-bit real mode, as a PC does: an "unrestricted guest". It sleeps by HLT and is woken by ticks.
 *     long 0   starts in 64-bit mode, by page tables that we have made for it. Its memory is one large page.
 *     long 1   is the second vCPU of the same machine: it shares EPT and memory with the first.
 *
 * Each vCPU has a VMCS. The scheduler takes them in turn: VMPTRLD makes a VMCS the current one, and the VMX-preemption
 * timer gives the CPU back when the time slice is over, whatever the guest does.
 *
 *     main.c     virtual machines and scheduler      guest-16.S   the guest of `real`
 *     vcpu.c     VMCS, VM entry, injection           guest-64.c   the guest of `long`
 *     entry.S    VMLAUNCH and VMRESUME as a function
 *     exits.c    a function for each exit reason     memory.c     pages and EPT
 *
 * Run it with "virtualization": "none". Intel SDM volume 3: "Introduction to VMX Operation" and what follows.
 */

#include "../c-program/console.h"
#include "cpu.h"
#include "exits.h"
#include "memory.h"
#include "panic.h"
#include "vcpu.h"

#define SLICE 50000 /* ticks of the TSC */
#define DEBUG_EXIT_PORT 0xF4

/* link.ld puts the guests' programs where these machines have their memory. */
#define REAL_RAM 0x600000ul
#define REAL_RAM_BYTES 0x100000ul
#define LONG_RAM 0x400000ul

/*
 * The 64-bit guest's addresses: linear 400000h and up are guest-physical 0 and up, which EPT puts to host-physical
 * 400000h and up. So its symbols are the hypervisor's, and a breakpoint in guest-64.c is where you set it.
 */
#define LONG_LINEAR 0x400000ul
#define LONG_PAGE_TABLES 0x1F0000ul /* guest-physical */
#define LONG_STACKS 0x1E0000ul      /* downwards */
#define STACK_BYTES 0x1000ul

#define PAGE_PRESENT_WRITABLE 3ul
#define PAGE_LARGE (1ul << 7)

extern void guest_16(void);
extern void guest_64(unsigned vcpu);

static struct vm real_vm = {.ram = REAL_RAM, .ram_bytes = REAL_RAM_BYTES};
static struct vm long_vm = {.ram = LONG_RAM, .ram_bytes = LARGE_PAGE_SIZE};

static struct vcpu vcpus[] = {
    {.name = "real", .vm = &real_vm, .has_timer = true},
    {.name = "long 0", .vm = &long_vm, .number = 0},
    {.name = "long 1", .vm = &long_vm, .number = 1},
};

#define VCPUS (sizeof vcpus / sizeof *vcpus)

void end_run(unsigned char code)
{
    __asm__ volatile("outb %0, %1" : : "a"(code), "Nd"((uint16_t)DEBUG_EXIT_PORT));
    for (;;)
        __asm__ volatile("cli; hlt");
}

void panic(const char *why)
{
    print("c-hypervisor: ");
    print(why);
    print("\n");
    end_run(EXIT_PANIC);
}

void vmx_failed(const char *instruction)
{
    uint64_t number = vm_instruction_error();

    print(instruction);
    print(" failed, VM-instruction error ");
    print_unsigned(number);
    print("\n");
    end_run(EXIT_PANIC);
}

/* Memory comes page by page, when it is touched: see `handle_ept_violation`. */
static void make_real_vm(void)
{
    real_vm.ept = allocate_page();
}

/* Memory is there at once, in one page of 2 MiB. The guest's own page tables lie in it. */
static void make_long_vm(void)
{
    uint64_t *tables = (uint64_t *)(LONG_RAM + LONG_PAGE_TABLES);
    const unsigned entries = PAGE_SIZE / sizeof *tables;

    long_vm.ept = allocate_page();
    ept_map(long_vm.ept, 0, LONG_RAM, EPT_LARGE_PAGE);
    tables[0] = (LONG_PAGE_TABLES + PAGE_SIZE) | PAGE_PRESENT_WRITABLE;               /* PML4 */
    tables[entries] = (LONG_PAGE_TABLES + 2 * PAGE_SIZE) | PAGE_PRESENT_WRITABLE;     /* page-directory-pointer table */
    tables[2 * entries + LONG_LINEAR / LARGE_PAGE_SIZE] = PAGE_LARGE | PAGE_PRESENT_WRITABLE; /* page directory */
}

static void start_vcpus(void)
{
    vcpu_start_in_real_mode(&vcpus[0], (uint64_t)guest_16);
    for (unsigned i = 1; i < VCPUS; i++) {
        uint64_t stack = LONG_LINEAR + LONG_STACKS - vcpus[i].number * STACK_BYTES;

        /* Less 8: as if there were a return address, so that the stack is aligned as C wants it */
        vcpu_start_in_64_bit_mode(&vcpus[i], LONG_PAGE_TABLES, (uint64_t)guest_64, stack - 8);
    }
}

/* The hypervisor's clock: who has a timer gets an interrupt, and if it waits, is woken. */
static bool tick(void)
{
    bool woken = false;

    for (unsigned i = 0; i < VCPUS; i++) {
        if (!vcpus[i].has_timer || vcpus[i].state == OFF)
            continue;
        vcpus[i].tick_pending = true;
        vcpus[i].state = RUNNABLE;
        woken = true;
    }
    return woken;
}

static void die_of(struct vcpu *vcpu, enum exit_reason reason)
{
    print("[");
    print(vcpu->name);
    print("] no handler for exit reason ");
    print_unsigned(reason);
    print("\n");
    end_run(EXIT_PANIC);
}

static void run_slice(struct vcpu *vcpu)
{
    enum verdict verdict;

    vcpu_load(vcpu, SLICE);
    do {
        enum exit_reason reason = vcpu_run(vcpu);

        verdict = handle_exit(vcpu, reason); /* STOP HERE: `reason` is in the VMCS view */
        if (verdict == UNHANDLED)
            die_of(vcpu, reason);
    } while (verdict == GO_ON);
}

/* Round robin, until nobody is left. A tick passes with each round; if all wait, the clock skips ahead. */
static void schedule(void)
{
    for (;;) {
        bool has_run = false;

        for (unsigned i = 0; i < VCPUS; i++) {
            if (vcpus[i].state != RUNNABLE)
                continue;
            run_slice(&vcpus[i]); /* STOP HERE: the next vCPU's turn */
            has_run = true;
        }
        if (!tick() && !has_run)
            return;
    }
}

static void report(void)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        print("VM exits of ");
        print(vcpus[i].name);
        print(":\n");
        for (enum exit_reason reason = 0; reason < EXIT_REASONS; reason++) {
            if (!vcpus[i].exits[reason])
                continue;
            print("    ");
            print_padded(exit_name(reason), 30);
            print_unsigned(vcpus[i].exits[reason]);
            print("\n");
        }
    }
}

void main(void)
{
    enter_vmx_operation();
    make_real_vm();
    make_long_vm();
    start_vcpus();
    schedule();
    report();
    end_run(EXIT_SUCCESS);
}
