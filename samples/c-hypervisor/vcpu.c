#include "vcpu.h"
#include "cpu.h"
#include "exits.h"
#include "memory.h"
#include "panic.h"

#define KERNEL_CODE 0x08 /* boot.S has the descriptors */
#define KERNEL_DATA 0x10
#define KERNEL_TSS 0x18
#define TSS_LIMIT 103

#define CR0_ET (1ul << 4)
#define CR0_NE (1ul << 5)
#define CR0_PE_PG (1ul << 31 | 1ul << 0)
#define CR4_PAE (1ul << 5)
#define DR7_RESERVED 0x400
#define TIMER_VECTOR 8 /* where a PC's firmware has the timer interrupt, IRQ 0 */
#define GENERAL_PROTECTION 13

extern uint64_t host_gdt[], host_tss[]; /* boot.S */
extern void vm_exit(void);              /* entry.S */
extern bool vcpu_enter(struct registers *guest, bool launched);

static uint32_t revision(void)
{
    return rdmsr(IA32_VMX_BASIC) & 0x7FFFFFFF;
}

/* VMX operation demands some bits of CR0 and CR4: those that are 1 in FIXED0, and none that is 0 in FIXED1. */
static uint64_t with_fixed_bits(uint64_t value, uint32_t fixed0, uint32_t fixed1)
{
    return (value | rdmsr(fixed0)) & rdmsr(fixed1);
}

void enter_vmx_operation(void)
{
    uint64_t firmware = rdmsr(IA32_FEATURE_CONTROL);
    uint32_t *region = allocate_page();

    if (!(firmware & 1)) /* not locked yet */
        wrmsr(IA32_FEATURE_CONTROL, firmware | 5); /* VMXON allowed, locked */
    else if (!(firmware & 4))
        panic("VT-x is locked off (IA32_FEATURE_CONTROL)");
    write_cr0(with_fixed_bits(read_cr0(), IA32_VMX_CR0_FIXED0, IA32_VMX_CR0_FIXED1));
    write_cr4(with_fixed_bits(read_cr4() | CR4_VMXE, IA32_VMX_CR4_FIXED0, IA32_VMX_CR4_FIXED1));
    *region = revision();
    vmxon((uint64_t)region);
}

/* The lower half of a capability MSR has the controls that must be 1, the upper half those that may be. */
static uint32_t controls(uint32_t capability, uint32_t wanted)
{
    uint64_t allowed = rdmsr(capability);

    if (wanted & ~(allowed >> 32))
        panic("this CPU lacks a VMX control that is needed");
    return wanted | (uint32_t)allowed;
}

static void write_controls(const struct vcpu *vcpu, uint32_t entry_controls)
{
    static uint8_t *msr_bitmap;
    static uint16_t vpids;

    if (!msr_bitmap) {
        msr_bitmap = allocate_page();
        make_msr_bitmap(msr_bitmap);
    }
    vmwrite(PIN_BASED_CONTROLS, controls(IA32_VMX_TRUE_PINBASED_CTLS, ACTIVATE_PREEMPTION_TIMER));
    vmwrite(PRIMARY_CONTROLS,
            controls(IA32_VMX_TRUE_PROCBASED_CTLS,
                     HLT_EXITING | UNCONDITIONAL_IO_EXITING | USE_MSR_BITMAPS | ACTIVATE_SECONDARY_CONTROLS));
    vmwrite(SECONDARY_CONTROLS,
            controls(IA32_VMX_PROCBASED_CTLS2, ENABLE_EPT | ENABLE_VPID | UNRESTRICTED_GUEST));
    vmwrite(EXIT_CONTROLS, controls(IA32_VMX_TRUE_EXIT_CTLS,
                                    HOST_ADDRESS_SPACE_SIZE | SAVE_IA32_EFER | EXIT_LOAD_IA32_EFER));
    vmwrite(ENTRY_CONTROLS, controls(IA32_VMX_TRUE_ENTRY_CTLS, ENTRY_LOAD_IA32_EFER | entry_controls));
    vmwrite(VIRTUAL_PROCESSOR_IDENTIFIER, ++vpids); /* 0 is the hypervisor's own */
    vmwrite(EPT_POINTER, ept_pointer(vcpu->vm->ept));
    vmwrite(ADDRESS_OF_MSR_BITMAPS, (uint64_t)msr_bitmap);
    vmwrite(VMCS_LINK_POINTER, -1ul); /* there is no shadow VMCS */
}

/* Where a VM exit leads: to `vm_exit`, in the state that we are in now. entry.S adds RSP. */
static void write_host_state(void)
{
    vmwrite(HOST_CR0, read_cr0());
    vmwrite(HOST_CR3, read_cr3());
    vmwrite(HOST_CR4, read_cr4());
    vmwrite(HOST_IA32_EFER, rdmsr(IA32_EFER));
    vmwrite(HOST_CS_SELECTOR, KERNEL_CODE);
    vmwrite(HOST_SS_SELECTOR, KERNEL_DATA);
    vmwrite(HOST_DS_SELECTOR, KERNEL_DATA);
    vmwrite(HOST_ES_SELECTOR, KERNEL_DATA);
    vmwrite(HOST_TR_SELECTOR, KERNEL_TSS);
    vmwrite(HOST_TR_BASE, (uint64_t)host_tss);
    vmwrite(HOST_GDTR_BASE, (uint64_t)host_gdt);
    vmwrite(HOST_RIP, (uint64_t)vm_exit);
}

static void write_segment(enum segment segment, uint16_t selector, uint32_t limit, uint32_t rights)
{
    vmwrite(GUEST_ES_SELECTOR + 2 * segment, selector);
    vmwrite(GUEST_ES_BASE + 2 * segment, 0);
    vmwrite(GUEST_ES_LIMIT + 2 * segment, limit);
    vmwrite(GUEST_ES_ACCESS_RIGHTS + 2 * segment, rights);
}

/*
 * The guest sees CR0 and CR4 as it wrote them, but for the bits that VMX operation demands: these are the host's, and
 * read as in the shadows.
 */
static void write_control_registers(uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
    uint64_t demanded = rdmsr(IA32_VMX_CR0_FIXED0) & ~CR0_PE_PG; /* an unrestricted guest may do without these two */

    vmwrite(GUEST_CR0, cr0 | demanded);
    vmwrite(GUEST_CR3, cr3);
    vmwrite(GUEST_CR4, cr4 | CR4_VMXE);
    vmwrite(CR0_GUEST_HOST_MASK, demanded);
    vmwrite(CR0_READ_SHADOW, cr0);
    vmwrite(CR4_GUEST_HOST_MASK, CR4_VMXE);
    vmwrite(CR4_READ_SHADOW, cr4);
}

/* What is not used, or begins at zero. VMCLEAR does not promise what a field holds that was never written. */
static void write_zeros(void)
{
    static const uint16_t fields[] = {
        EXCEPTION_BITMAP, CR3_TARGET_COUNT, EXIT_MSR_STORE_COUNT, EXIT_MSR_LOAD_COUNT, ENTRY_MSR_LOAD_COUNT,
        ENTRY_INTERRUPTION_INFORMATION, GUEST_IA32_EFER, GUEST_IA32_DEBUGCTL, GUEST_ACTIVITY_STATE,
        GUEST_INTERRUPTIBILITY_STATE, GUEST_PENDING_DEBUG_EXCEPTIONS, GUEST_GDTR_BASE, GUEST_GDTR_LIMIT,
        GUEST_IDTR_BASE, GUEST_IDTR_LIMIT, GUEST_RSP, GUEST_IA32_SYSENTER_CS, GUEST_IA32_SYSENTER_ESP,
        GUEST_IA32_SYSENTER_EIP, HOST_FS_SELECTOR, HOST_GS_SELECTOR, HOST_FS_BASE, HOST_GS_BASE, HOST_IDTR_BASE,
        HOST_IA32_SYSENTER_CS, HOST_IA32_SYSENTER_ESP, HOST_IA32_SYSENTER_EIP,
    };

    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        vmwrite(fields[i], 0);
}

static void make_vmcs(struct vcpu *vcpu, uint32_t entry_controls)
{
    uint32_t *vmcs = allocate_page();

    *vmcs = revision();
    vcpu->vmcs = (uint64_t)vmcs;
    vmclear(vcpu->vmcs);
    vmptrld(vcpu->vmcs);
    write_zeros();
    write_controls(vcpu, entry_controls);
    write_host_state();
    write_segment(LDTR, 0, 0, RIGHTS_UNUSABLE);
    write_segment(TR, 0, TSS_LIMIT, RIGHTS_BUSY_TSS); /* TR may not be unusable */
    vmwrite(GUEST_DR7, DR7_RESERVED);
    vmwrite(GUEST_RFLAGS, RFLAGS_RESERVED);
}

void vcpu_start_in_real_mode(struct vcpu *vcpu, uint16_t ip)
{
    make_vmcs(vcpu, 0);
    write_control_registers(CR0_ET, 0, 0);
    write_segment(CS, 0, 0xFFFF, RIGHTS_CODE_16);
    for (enum segment segment = ES; segment <= GS; segment++)
        if (segment != CS)
            write_segment(segment, 0, 0xFFFF, RIGHTS_DATA_16);
    vmwrite(GUEST_IDTR_LIMIT, 0x3FF); /* the interrupt vector table, at address 0 */
    vmwrite(GUEST_RIP, ip);
}

void vcpu_start_in_64_bit_mode(struct vcpu *vcpu, uint64_t cr3, uint64_t rip, uint64_t rsp)
{
    make_vmcs(vcpu, IA_32E_MODE_GUEST);
    write_control_registers(CR0_PE_PG | CR0_ET | CR0_NE, cr3, CR4_PAE);
    vmwrite(GUEST_IA32_EFER, EFER_LME | EFER_LMA);
    write_segment(CS, KERNEL_CODE, 0xFFFFFFFF, RIGHTS_CODE_64);
    for (enum segment segment = ES; segment <= GS; segment++)
        if (segment != CS)
            write_segment(segment, KERNEL_DATA, 0xFFFFFFFF, RIGHTS_DATA);
    vmwrite(GUEST_RIP, rip);
    vmwrite(GUEST_RSP, rsp);
    vcpu->registers.rdi = vcpu->number; /* the first argument of a C function */
}

void vcpu_load(struct vcpu *vcpu, uint64_t slice)
{
    vmptrld(vcpu->vmcs);
    /* The timer counts down by one each time that bit 4:0 of IA32_VMX_MISC of the TSC changes. */
    vmwrite(PREEMPTION_TIMER_VALUE, slice >> (rdmsr(IA32_VMX_MISC) & 31));
}

static bool can_take_interrupt(void)
{
    return vmread(GUEST_RFLAGS) & RFLAGS_IF &&
           !(vmread(GUEST_INTERRUPTIBILITY_STATE) & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

/* A pending tick goes in with this VM entry if the guest can take it; else we ask for an exit as soon as it can. */
static void inject_tick(struct vcpu *vcpu)
{
    uint32_t primary = vmread(PRIMARY_CONTROLS) & ~INTERRUPT_WINDOW_EXITING;
    bool is_free = !(vmread(ENTRY_INTERRUPTION_INFORMATION) & INTERRUPTION_VALID);

    if (vcpu->tick_pending && is_free && can_take_interrupt()) {
        vmwrite(ENTRY_INTERRUPTION_INFORMATION, INTERRUPTION_VALID | EXTERNAL_INTERRUPT | TIMER_VECTOR);
        vcpu->tick_pending = false;
    } else if (vcpu->tick_pending) {
        primary |= INTERRUPT_WINDOW_EXITING;
    }
    vmwrite(PRIMARY_CONTROLS, primary);
}

/* An event whose delivery the exit has interrupted is lost, unless it is injected again. */
static void inject_interrupted_event(void)
{
    uint32_t event = vmread(IDT_VECTORING_INFORMATION);

    if (!(event & INTERRUPTION_VALID))
        return;
    vmwrite(ENTRY_INTERRUPTION_INFORMATION, event);
    vmwrite(ENTRY_EXCEPTION_ERROR_CODE, vmread(IDT_VECTORING_ERROR_CODE));
    vmwrite(ENTRY_INSTRUCTION_LENGTH, vmread(EXIT_INSTRUCTION_LENGTH));
}

enum exit_reason vcpu_run(struct vcpu *vcpu)
{
    uint32_t reason;

    if (vcpu->has_timer)
        inject_tick(vcpu);
    if (!vcpu_enter(&vcpu->registers, vcpu->launched)) /* STOP HERE, and step over: the guest runs to its next exit */
        vmx_failed(vcpu->launched ? "VMRESUME" : "VMLAUNCH");
    vcpu->launched = true;
    reason = vmread(EXIT_REASON);
    if (reason >= EXIT_REASONS) /* bit 31: the guest state was refused */
        panic("VM entry failed");
    vcpu->exits[reason]++;
    inject_interrupted_event();
    return reason;
}

void skip_instruction(void)
{
    uint64_t blocking = vmread(GUEST_INTERRUPTIBILITY_STATE);

    vmwrite(GUEST_RIP, vmread(GUEST_RIP) + vmread(EXIT_INSTRUCTION_LENGTH));
    vmwrite(GUEST_INTERRUPTIBILITY_STATE, blocking & ~(uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

void inject_general_protection(void)
{
    vmwrite(ENTRY_INTERRUPTION_INFORMATION,
            INTERRUPTION_VALID | INTERRUPTION_ERROR_CODE | HARDWARE_EXCEPTION | GENERAL_PROTECTION);
    vmwrite(ENTRY_EXCEPTION_ERROR_CODE, 0);
}
