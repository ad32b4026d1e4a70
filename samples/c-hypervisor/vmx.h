/* VT-x: its instructions, and the names of the Intel SDM, volume 3, for what this hypervisor uses. */

#ifndef VMX_H
#define VMX_H

#include <stdbool.h>
#include <stdint.h>

/* Fields of the VMCS (appendix "Field Encoding in VMCS"). */
enum vmcs_field {
    VIRTUAL_PROCESSOR_IDENTIFIER = 0x0000,
    GUEST_ES_SELECTOR = 0x0800, /* and CS, SS, DS, FS, GS, LDTR, TR, two further each: see `enum segment` */
    HOST_ES_SELECTOR = 0x0C00,
    HOST_CS_SELECTOR = 0x0C02,
    HOST_SS_SELECTOR = 0x0C04,
    HOST_DS_SELECTOR = 0x0C06,
    HOST_FS_SELECTOR = 0x0C08,
    HOST_GS_SELECTOR = 0x0C0A,
    HOST_TR_SELECTOR = 0x0C0C,
    ADDRESS_OF_MSR_BITMAPS = 0x2004,
    EPT_POINTER = 0x201A,
    GUEST_PHYSICAL_ADDRESS = 0x2400,
    VMCS_LINK_POINTER = 0x2800,
    GUEST_IA32_DEBUGCTL = 0x2802,
    GUEST_IA32_EFER = 0x2806,
    HOST_IA32_EFER = 0x2C02,
    PIN_BASED_CONTROLS = 0x4000,
    PRIMARY_CONTROLS = 0x4002,
    EXCEPTION_BITMAP = 0x4004,
    CR3_TARGET_COUNT = 0x400A,
    EXIT_CONTROLS = 0x400C,
    EXIT_MSR_STORE_COUNT = 0x400E,
    EXIT_MSR_LOAD_COUNT = 0x4010,
    ENTRY_CONTROLS = 0x4012,
    ENTRY_MSR_LOAD_COUNT = 0x4014,
    ENTRY_INTERRUPTION_INFORMATION = 0x4016,
    ENTRY_EXCEPTION_ERROR_CODE = 0x4018,
    ENTRY_INSTRUCTION_LENGTH = 0x401A,
    SECONDARY_CONTROLS = 0x401E,
    VM_INSTRUCTION_ERROR = 0x4400,
    EXIT_REASON = 0x4402,
    IDT_VECTORING_INFORMATION = 0x4408,
    IDT_VECTORING_ERROR_CODE = 0x440A,
    EXIT_INSTRUCTION_LENGTH = 0x440C,
    GUEST_ES_LIMIT = 0x4800,
    GUEST_GDTR_LIMIT = 0x4810,
    GUEST_IDTR_LIMIT = 0x4812,
    GUEST_ES_ACCESS_RIGHTS = 0x4814,
    GUEST_INTERRUPTIBILITY_STATE = 0x4824,
    GUEST_ACTIVITY_STATE = 0x4826,
    GUEST_IA32_SYSENTER_CS = 0x482A,
    PREEMPTION_TIMER_VALUE = 0x482E,
    HOST_IA32_SYSENTER_CS = 0x4C00,
    CR0_GUEST_HOST_MASK = 0x6000,
    CR4_GUEST_HOST_MASK = 0x6002,
    CR0_READ_SHADOW = 0x6004,
    CR4_READ_SHADOW = 0x6006,
    EXIT_QUALIFICATION = 0x6400,
    GUEST_CR0 = 0x6800,
    GUEST_CR3 = 0x6802,
    GUEST_CR4 = 0x6804,
    GUEST_ES_BASE = 0x6806,
    GUEST_GDTR_BASE = 0x6816,
    GUEST_IDTR_BASE = 0x6818,
    GUEST_DR7 = 0x681A,
    GUEST_RSP = 0x681C,
    GUEST_RIP = 0x681E,
    GUEST_RFLAGS = 0x6820,
    GUEST_PENDING_DEBUG_EXCEPTIONS = 0x6822,
    GUEST_IA32_SYSENTER_ESP = 0x6824,
    GUEST_IA32_SYSENTER_EIP = 0x6826,
    HOST_CR0 = 0x6C00,
    HOST_CR3 = 0x6C02,
    HOST_CR4 = 0x6C04,
    HOST_FS_BASE = 0x6C06,
    HOST_GS_BASE = 0x6C08,
    HOST_TR_BASE = 0x6C0A,
    HOST_GDTR_BASE = 0x6C0C,
    HOST_IDTR_BASE = 0x6C0E,
    HOST_IA32_SYSENTER_ESP = 0x6C10,
    HOST_IA32_SYSENTER_EIP = 0x6C12,
    HOST_RIP = 0x6C16, /* Host RSP (6C14h) is written by entry.S */
};

/* The order of the segment registers in the VMCS: the fields of each are two above those of the one before. */
enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR };

/* Basic exit reasons (appendix "VMX Basic Exit Reasons"). */
enum exit_reason {
    EXIT_TRIPLE_FAULT = 2,
    EXIT_INTERRUPT_WINDOW = 7,
    EXIT_CPUID = 10,
    EXIT_HLT = 12,
    EXIT_VMCALL = 18,
    EXIT_IO_INSTRUCTION = 30,
    EXIT_RDMSR = 31,
    EXIT_WRMSR = 32,
    EXIT_EPT_VIOLATION = 48,
    EXIT_PREEMPTION_TIMER = 52,
    EXIT_REASONS = 64,
};

/* Pin-based controls */
#define ACTIVATE_PREEMPTION_TIMER (1u << 6)
/* Primary processor-based controls */
#define INTERRUPT_WINDOW_EXITING (1u << 2)
#define HLT_EXITING (1u << 7)
#define UNCONDITIONAL_IO_EXITING (1u << 24)
#define USE_MSR_BITMAPS (1u << 28)
#define ACTIVATE_SECONDARY_CONTROLS (1u << 31)
/* Secondary processor-based controls */
#define ENABLE_EPT (1u << 1)
#define ENABLE_VPID (1u << 5)
#define UNRESTRICTED_GUEST (1u << 7)
/* VM-exit controls */
#define HOST_ADDRESS_SPACE_SIZE (1u << 9)
#define SAVE_IA32_EFER (1u << 20)
#define EXIT_LOAD_IA32_EFER (1u << 21)
/* VM-entry controls */
#define IA_32E_MODE_GUEST (1u << 9)
#define ENTRY_LOAD_IA32_EFER (1u << 15)

/* Interruption information: bit 31 valid, bit 11 with an error code, bits 10:8 the type, bits 7:0 the vector */
#define INTERRUPTION_VALID (1u << 31)
#define INTERRUPTION_ERROR_CODE (1u << 11)
#define EXTERNAL_INTERRUPT (0u << 8)
#define HARDWARE_EXCEPTION (3u << 8)

/* Guest interruptibility state */
#define BLOCKING_BY_STI (1u << 0)
#define BLOCKING_BY_MOV_SS (1u << 1)

/* Access rights of segments, as the VMCS has them */
#define RIGHTS_CODE_64 0xA09B
#define RIGHTS_CODE_16 0x009B
#define RIGHTS_DATA 0xC093
#define RIGHTS_DATA_16 0x0093
#define RIGHTS_BUSY_TSS 0x008B
#define RIGHTS_UNUSABLE 0x10000

/* Ends the run: a VMX instruction has failed. */
__attribute__((noreturn)) void vmx_failed(const char *instruction);

/* VMX instructions fail with CF (there is no VMCS that could name the error) or ZF (it does): "na", not above. */

static inline void vmxon(uint64_t region)
{
    bool failed;

    __asm__ volatile("vmxon %1" : "=@ccna"(failed) : "m"(region) : "memory");
    if (failed)
        vmx_failed("VMXON");
}

static inline void vmclear(uint64_t vmcs)
{
    bool failed;

    __asm__ volatile("vmclear %1" : "=@ccna"(failed) : "m"(vmcs) : "memory");
    if (failed)
        vmx_failed("VMCLEAR");
}

static inline void vmptrld(uint64_t vmcs)
{
    bool failed;

    __asm__ volatile("vmptrld %1" : "=@ccna"(failed) : "m"(vmcs) : "memory");
    if (failed)
        vmx_failed("VMPTRLD");
}

static inline uint64_t vmread(enum vmcs_field field)
{
    uint64_t value;
    bool failed;

    __asm__ volatile("vmread %2, %1" : "=@ccna"(failed), "=r"(value) : "r"((uint64_t)field));
    if (failed)
        vmx_failed("VMREAD");
    return value;
}

/* The number that VT-x has for the failure; zero if there is no current VMCS, which would have it. */
static inline uint64_t vm_instruction_error(void)
{
    uint64_t number = 0;

    __asm__ volatile("vmread %1, %0" : "+r"(number) : "r"((uint64_t)VM_INSTRUCTION_ERROR) : "cc");
    return number;
}

static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
    bool failed;

    __asm__ volatile("vmwrite %2, %1" : "=@ccna"(failed) : "r"((uint64_t)field), "r"(value));
    if (failed)
        vmx_failed("VMWRITE");
}

#endif
