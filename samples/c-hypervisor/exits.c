#include "exits.h"
#include "../c-program/console.h"
#include "cpu.h"
#include "memory.h"

#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define CPUID_HYPERVISOR 0x40000000 /* the first of the leaves that are for hypervisors to answer */
#define CONSOLE_PORT 0xE9

/* CPUID always exits. The guest sees the real CPU, but without VT-x, and knows that it is a guest. */
static enum verdict handle_cpuid(struct vcpu *vcpu)
{
    struct registers *guest = &vcpu->registers;
    uint32_t leaf = guest->rax;
    struct cpuid answer = cpuid(leaf, guest->rcx);

    if (leaf == 1)
        answer.ecx = (answer.ecx & ~CPUID_1_ECX_VMX) | CPUID_1_ECX_HYPERVISOR;
    if (leaf == CPUID_HYPERVISOR)
        answer = (struct cpuid){CPUID_HYPERVISOR, 0x59482D43, 0x56524550, 0x524F5349}; /* "C-HY", "PERV", "ISOR" */
    guest->rax = answer.eax;
    guest->rbx = answer.ebx;
    guest->rcx = answer.ecx;
    guest->rdx = answer.edx;
    skip_instruction();
    return GO_ON;
}

/* One line at a time, with the vCPU's name before it. */
static void print_for(struct vcpu *vcpu, char c)
{
    if (c != '\n' && vcpu->line_length < sizeof vcpu->line - 1) {
        vcpu->line[vcpu->line_length++] = c;
        return;
    }
    vcpu->line[vcpu->line_length] = 0;
    vcpu->line_length = 0;
    print("[");
    print(vcpu->name);
    print("] ");
    print(vcpu->line);
    print("\n");
}

/* Exit qualification: bits 31:16 port, bit 4 a string instruction, bit 3 IN, bits 2:0 the size less one. */
static enum verdict handle_io(struct vcpu *vcpu)
{
    uint64_t qualification = vmread(EXIT_QUALIFICATION);

    if ((qualification & 0xFFFF001F) != CONSOLE_PORT << 16) /* OUT of a byte */
        return UNHANDLED;
    print_for(vcpu, vcpu->registers.rax);
    skip_instruction();
    return GO_ON;
}

/* HLT may be the instruction that the shadow of an STI was for: `skip_instruction` ends the shadow. */
static enum verdict handle_hlt(struct vcpu *vcpu)
{
    skip_instruction();
    if (!vcpu->tick_pending)
        vcpu->state = WAITING;
    return SWITCH;
}

static enum verdict handle_vmcall(struct vcpu *vcpu)
{
    if (vcpu->registers.rax != VMCALL_POWER_OFF)
        return UNHANDLED;
    vcpu->state = OFF;
    return SWITCH;
}

/* The guest has its own TSC_AUX, which is kept nowhere but in its number; any other MSR does not exist. */
static enum verdict handle_rdmsr(struct vcpu *vcpu)
{
    if ((uint32_t)vcpu->registers.rcx != IA32_TSC_AUX) {
        inject_general_protection();
        return GO_ON;
    }
    vcpu->registers.rax = vcpu->number;
    vcpu->registers.rdx = 0;
    skip_instruction();
    return GO_ON;
}

static enum verdict handle_wrmsr(struct vcpu *vcpu)
{
    (void)vcpu;
    inject_general_protection();
    return GO_ON;
}

/* Memory is given when it is first touched. RIP stays: the instruction starts over and finds the page. */
static enum verdict handle_ept_violation(struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    uint64_t page = vmread(GUEST_PHYSICAL_ADDRESS) & -PAGE_SIZE;

    if (page >= vm->ram_bytes)
        return UNHANDLED;
    ept_map(vm->ept, page, vm->ram + page, EPT_PAGE);
    return GO_ON;
}

/* `vcpu_run` injects what waits for the window. */
static enum verdict handle_interrupt_window(struct vcpu *vcpu)
{
    (void)vcpu;
    return GO_ON;
}

static enum verdict handle_preemption_timer(struct vcpu *vcpu)
{
    (void)vcpu;
    return SWITCH;
}

static const struct {
    const char *name;
    enum verdict (*handle)(struct vcpu *);
} exits[EXIT_REASONS] = {
    [EXIT_INTERRUPT_WINDOW] = {"Interrupt window", handle_interrupt_window},
    [EXIT_CPUID] = {"CPUID", handle_cpuid},
    [EXIT_HLT] = {"HLT", handle_hlt},
    [EXIT_VMCALL] = {"VMCALL", handle_vmcall},
    [EXIT_IO_INSTRUCTION] = {"I/O instruction", handle_io},
    [EXIT_RDMSR] = {"RDMSR", handle_rdmsr},
    [EXIT_WRMSR] = {"WRMSR", handle_wrmsr},
    [EXIT_EPT_VIOLATION] = {"EPT violation", handle_ept_violation},
    [EXIT_PREEMPTION_TIMER] = {"VMX-preemption timer expired", handle_preemption_timer},
};

enum verdict handle_exit(struct vcpu *vcpu, enum exit_reason reason)
{
    return exits[reason].handle ? exits[reason].handle(vcpu) : UNHANDLED;
}

const char *exit_name(enum exit_reason reason)
{
    return exits[reason].name;
}

/* Four parts of 1 KiB: reads of MSRs 0 and up, reads of C0000000h and up, writes of the first, writes of the second. */
void make_msr_bitmap(uint8_t *bitmap)
{
    static const uint32_t of_the_guest[] = {IA32_FS_BASE, IA32_GS_BASE};

    for (unsigned i = 0; i < PAGE_SIZE; i++)
        bitmap[i] = 0xFF;
    for (unsigned i = 0; i < sizeof of_the_guest / sizeof *of_the_guest; i++) {
        unsigned bit = of_the_guest[i] & 0x1FFF;
        bitmap[1024 + bit / 8] &= ~(1u << bit % 8);
        bitmap[3072 + bit / 8] &= ~(1u << bit % 8);
    }
}
