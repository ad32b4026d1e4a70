/*
 * Records 64-, 32- and 16-bit code on the CPU this runs on, from an ordinary 64-bit Linux process.
 *
 * IRETQ loads RIP, CS, RFLAGS, RSP and SS at once after all other registers, so the case starts with exactly the
 * state asked for. The code page is full of INT3: wherever the instruction goes on to, a trap follows, and
 * the signal handler finds the complete state in its context. A fault arrives by the same way with its vector.
 *
 * 32-bit code runs through the kernel's compatibility-mode code segment. 16-bit code runs in segments of the local
 * descriptor table whose base is the selector times 16 and whose limit is 64 KiB, which is what they would be in
 * real-address mode. IRETQ cannot load all of ESP together with a 16-bit SS, so a piece of 32-bit code, LAST_STEP,
 * loads the segments without touching flags or registers.
 *
 * XRSTOR loads the x87, SSE and AVX state before IRETQ; what they hold afterwards stands in the signal's frame, where
 * the kernel puts it by XSAVE (for a CPU without AVX: FXRSTOR and FXSAVE).
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { USER_CS32 = 0x23, USER_DS = 0x2b, USER_CS64 = 0x33 };

enum { ES, CS, SS, DS, FS, GS };

/* Below 4 GiB and away from every region: the far pointers and selectors of LAST_STEP, and its code. */
enum { LAST_STEP_DATA = 0x900000, LAST_STEP_CODE = 0x900100, LAST_STEP_BYTES = 0x1000 };
struct __attribute__((packed)) last_step_data {
  uint32_t esp; /* +0 */
  uint16_t ss;
  uint32_t eip; /* +6 */
  uint16_t cs, es, fs, gs, ds; /* es at +12 */
};
static const uint8_t LAST_STEP[] = {
    0x2e, 0x0f, 0xb2, 0x25, 0x00, 0x00, 0x90, 0x00, /* lss esp, cs:[LAST_STEP_DATA] */
    0x2e, 0x8e, 0x05, 0x0c, 0x00, 0x90, 0x00,       /* mov es, cs:[LAST_STEP_DATA + 12] */
    0x2e, 0x8e, 0x25, 0x0e, 0x00, 0x90, 0x00,       /* mov fs, cs:[LAST_STEP_DATA + 14] */
    0x2e, 0x8e, 0x2d, 0x10, 0x00, 0x90, 0x00,       /* mov gs, cs:[LAST_STEP_DATA + 16] */
    0x2e, 0x8e, 0x1d, 0x12, 0x00, 0x90, 0x00,       /* mov ds, cs:[LAST_STEP_DATA + 18] */
    0x2e, 0xff, 0x2d, 0x06, 0x00, 0x90, 0x00,       /* jmp far cs:[LAST_STEP_DATA + 6] */
};

struct launch {
  uint64_t gpr[16], rip, cs, flags, rsp, ss;
};

/* The standard form of an XSAVE area with x87, SSE and AVX state. */
struct xsave_area {
  uint8_t legacy[512];
  uint64_t xstate_bv, zero[7];
  uint8_t ymm_high[256];
} __attribute__((aligned(64)));
enum { X87 = 1, SSE = 2, AVX = 4 };
struct xsave_area initial_extended;
uint32_t restored_components; /* 0: there is no AVX, so FXRSTOR has to do */

uint64_t host_rsp;
void run(struct launch *launch);
extern char resume[];

__asm__(
    ".text\n"
    "run:\n"
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  mov %rsp, host_rsp(%rip)\n"
    "  mov %rdi, %rsp\n"
    "  xor %edx, %edx\n"
    "  mov restored_components(%rip), %eax\n"
    "  test %eax, %eax\n"
    "  jz 1f\n"
    "  xrstor64 initial_extended(%rip)\n"
    "  jmp 2f\n"
    "1:\n"
    "  fxrstor64 initial_extended(%rip)\n"
    "2:\n"
    "  pop %rax; pop %rcx; pop %rdx; pop %rbx; lea 8(%rsp), %rsp; pop %rbp; pop %rsi; pop %rdi\n"
    "  pop %r8; pop %r9; pop %r10; pop %r11; pop %r12; pop %r13; pop %r14; pop %r15\n"
    "  iretq\n"
    "resume:\n"
    "  pushq $0x202\n" /* also clears NT, AC and ID, which a signal return would keep */
    "  popfq\n"
    "  fninit\n" /* the signal's return restored the case's control words, and exceptions that are pending */
    "  pushq $0x1f80\n"
    "  ldmxcsr (%rsp)\n"
    "  lea 8(%rsp), %rsp\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n");

static const int GREG[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct request request;
static struct result result;

/* A case may have loaded any segment register. Nothing that uses thread-local storage may run before this. */
static uint64_t host_fs_base;

static void take_segments(uint64_t cs_gs_fs_ss) {
  uint16_t ds, es, fs, gs;
  __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3" : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
  if (request.mode == 16) {
    uint16_t all[6] = {es, (uint16_t)cs_gs_fs_ss, (uint16_t)(cs_gs_fs_ss >> 48), ds, fs, gs};
    memcpy(result.segment, all, sizeof all);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"((uint16_t)USER_DS));
    __asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"((uint16_t)0));
    long failed;
    __asm__ volatile("syscall"
                     : "=a"(failed)
                     : "0"((long)SYS_arch_prctl), "D"((long)ARCH_SET_FS), "S"(host_fs_base)
                     : "rcx", "r11", "memory");
    if (failed) __builtin_trap();
  }
}

/* The frame's image; a component that was in its initial configuration has no valid bytes there. */
static void take_extended(const struct _libc_fpstate *frame) {
  static const uint8_t initial_x87[24] = {0x7f, 0x03};
  const struct xsave_area *area = (const struct xsave_area *)frame;
  struct extended *to = &result.extended;
  uint64_t present = restored_components ? area->xstate_bv : X87 | SSE;
  memset(to, 0, sizeof *to);
  memcpy(to->legacy + 24, area->legacy + 24, 4); /* MXCSR */
  memcpy(to->legacy, present & X87 ? area->legacy : initial_x87, 24);
  if (present & X87) memcpy(to->legacy + 32, area->legacy + 32, 128);
  if (present & SSE) memcpy(to->legacy + 160, area->legacy + 160, 256);
  if (present & AVX) memcpy(to->ymm_high, area->ymm_high, 256);
}

static void on_trap(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  take_segments((uint64_t)g[REG_CSGSFS]);
  for (int i = 0; i < 16; i++) result.gpr[i] = (uint64_t)g[GREG[i]];
  result.flags = (uint64_t)g[REG_EFL];
  result.rip = (uint64_t)g[REG_RIP];
  result.exception = (uint16_t)g[REG_TRAPNO];
  result.error_code = (uint64_t)g[REG_ERR];
  result.fault_address = g[REG_TRAPNO] == 14 ? (uint64_t)g[REG_CR2] : 0;
  int is_int3_itself = request.code[0] == 0xcc && result.rip == request.rip + 1;
  if (result.exception == 3 && !is_int3_itself) {
    result.exception = NO_EXCEPTION;
    result.rip -= 1;
  }
  take_extended(((ucontext_t *)context)->uc_mcontext.fpregs);
  g[REG_RIP] = (greg_t)(uintptr_t)resume;
  g[REG_RSP] = (greg_t)host_rsp;
  g[REG_EFL] = 0x202;
  g[REG_CSGSFS] = (greg_t)(((uint64_t)USER_DS << 48) | USER_CS64);
}

static uint8_t *map_region(struct region *region) {
  void *wanted = (void *)(uintptr_t)region->address;
  void *got = mmap(wanted, region->length, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != wanted) fail("map a region at its fixed address");
  return got;
}

static void install_handlers(void) {
  static uint8_t stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  if (sigaltstack(&alternate, NULL) != 0) fail("sigaltstack");
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], &action, NULL) != 0) fail("sigaction");
}

static void add_segment(uint16_t selector, int is_code) {
  struct user_desc descriptor = {
      .entry_number = selector >> 3, .base_addr = (unsigned)selector << 4, .limit = 0xffff, .seg_32bit = 0,
      .contents = is_code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA};
  if (syscall(SYS_modify_ldt, 0x11, &descriptor, sizeof descriptor) != 0) fail("modify_ldt");
}

/* The selectors that layout.ts names: REAL_MODE_CODE_SELECTORS and REAL_MODE_DATA_SELECTORS. */
static void prepare_16_bit(void) {
  for (int n = 0; n < 64; n++) add_segment((uint16_t)(0x1007 + 8 * n), 1);
  for (int n = 0; n <= 32; n++) add_segment((uint16_t)(0x2007 + 0x200 * n), 0);
  void *page = mmap((void *)LAST_STEP_DATA, LAST_STEP_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (page != (void *)LAST_STEP_DATA) fail("map the last step before 16-bit code");
  memcpy((void *)LAST_STEP_CODE, LAST_STEP, sizeof LAST_STEP);
}

static void set_last_step(void) {
  static int prepared = 0;
  if (!prepared++) prepare_16_bit();
  uint16_t s[6];
  memcpy(s, request.segment, sizeof s);
  struct last_step_data data = {.esp = (uint32_t)request.gpr[4], .ss = s[SS], .eip = (uint32_t)request.rip,
                                .cs = s[CS], .es = s[ES], .fs = s[FS], .gs = s[GS], .ds = s[DS]};
  memcpy((void *)LAST_STEP_DATA, &data, sizeof data);
}

static void execute(void) {
  struct launch launch = {.rip = request.rip, .flags = request.flags, .ss = USER_DS, .cs = USER_CS64};
  launch.rsp = request.gpr[4];
  memcpy(launch.gpr, request.gpr, sizeof launch.gpr);
  if (request.mode != 64) launch.cs = USER_CS32;
  if (request.mode == 16) {
    set_last_step();
    launch.rip = LAST_STEP_CODE;
  }
  memcpy(initial_extended.legacy, request.extended.legacy, sizeof request.extended.legacy);
  memcpy(initial_extended.ymm_high, request.extended.ymm_high, sizeof request.extended.ymm_high);
  initial_extended.xstate_bv = restored_components;
  run(&launch);
}

int main(void) {
  install_handlers();
  __builtin_cpu_init();
  restored_components = __builtin_cpu_supports("avx") ? X87 | SSE | AVX : 0;
  if (syscall(SYS_arch_prctl, ARCH_GET_FS, &host_fs_base) != 0) fail("ARCH_GET_FS");
  read_regions(map_region);
  /* A 64-bit process has null data segments; 32-bit code needs usable ones. */
  __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"((uint16_t)USER_DS));
  while (read_exactly(&request, sizeof request)) {
    uint64_t code_base = request.mode == 16 ? (uint64_t)request.segment[CS] << 4 : 0;
    prepare_memory(&request, code_base + request.rip);
    memset(&result, 0, sizeof result);
    memcpy(result.segment, request.segment, sizeof result.segment);
    alarm(20);
    execute();
    write_result(&result);
  }
  return 0;
}
