/*
 * Steps a bare guest under KVM: one vCPU, RAM from physical address 0, no devices. Reads the guest from standard input and
 * writes the state after each step, and what the step changed in memory, to standard output. The TypeScript side is
 * ../kvm.ts; both are little-endian.
 *
 *   input   := u32 ramBytes, u32 stepLimit, state, u8 ram[ramBytes]
 *   output  := (u32 kind, u32 detail, state, u32 changeCount, change*)*
 *   change  := u32 address, u32 length, u8 bytes[length]
 *
 * What a step is, and how the marks of the debugger are kept from the guest, tells ../README.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

enum { STEP = 0, HALTED = 1, SHUT_DOWN = 2, LEFT_RAM = 3, NOT_EMULATED = 4, STUCK = 5, OTHER_EXIT = 6 };
enum { TF = 0x100, RESERVED_1 = 2, ARRIVAL_PORT = 0xe0, PAGE = 4096 };
enum { SEGMENTS = 8, UNUSABLE = 0x10000 };

struct __attribute__((packed)) segment {
  uint64_t base;
  uint32_t limit, attributes, selector;
};
struct __attribute__((packed)) state {
  uint64_t gpr[16], rip, rflags;
  struct segment segment[SEGMENTS]; /* ES CS SS DS FS GS LDTR TR */
  uint64_t gdt_base, idt_base;
  uint32_t gdt_limit, idt_limit;
  uint64_t cr0, cr2, cr3, cr4, cr8, efer;
  uint8_t fpr[8][16], xmm[16][16];
  uint32_t fcw, fsw, ftw, mxcsr;
};

static struct state before, now;
static struct kvm_sregs sregs;
static struct kvm_run *run;
static uint8_t *ram, *shadow;
static uint32_t ram_bytes;
static int vcpu;

static void fail(const char *what) {
  perror(what);
  exit(1);
}
static void read_exactly(void *into, size_t length) {
  if (length != 0 && fread(into, length, 1, stdin) != 1) fail("read the guest");
}
static void write_exactly(const void *from, size_t length) {
  if (length != 0 && fwrite(from, length, 1, stdout) != 1) fail("write a step");
}
static int call(int fd, unsigned long request, void *argument, const char *what) {
  int result = ioctl(fd, request, argument);
  if (result < 0) fail(what);
  return result;
}

/* KVM's order of the general-purpose registers is the encoding's except that RBX comes first. */
static void copy_registers(struct kvm_regs *k, struct state *s, int to_kvm) {
  __u64 *const place[16] = {&k->rax, &k->rcx, &k->rdx, &k->rbx, &k->rsp, &k->rbp, &k->rsi, &k->rdi,
                            &k->r8,  &k->r9,  &k->r10, &k->r11, &k->r12, &k->r13, &k->r14, &k->r15};
  for (int n = 0; n < 16; n++) {
    if (to_kvm) *place[n] = s->gpr[n];
    else s->gpr[n] = *place[n];
  }
  if (to_kvm) k->rip = s->rip, k->rflags = s->rflags;
  else s->rip = k->rip, s->rflags = k->rflags & ~(uint64_t)TF;
}

static struct kvm_segment *kvm_segment(int n) {
  struct kvm_segment *const all[SEGMENTS] = {&sregs.es, &sregs.cs, &sregs.ss,  &sregs.ds,
                                             &sregs.fs, &sregs.gs, &sregs.ldt, &sregs.tr};
  return all[n];
}
static void take_segment(struct segment *s, const struct kvm_segment *k) {
  s->base = k->base, s->limit = k->limit, s->selector = k->selector;
  s->attributes = (uint32_t)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 12 | k->l << 13 |
                             k->db << 14 | k->g << 15) |
                  (k->unusable ? UNUSABLE : 0);
}
static void give_segment(struct kvm_segment *k, const struct segment *s) {
  uint32_t a = s->attributes;
  *k = (struct kvm_segment){.base = s->base, .limit = s->limit, .selector = (uint16_t)s->selector, .type = a & 15,
                            .s = a >> 4 & 1, .dpl = a >> 5 & 3, .present = a >> 7 & 1, .avl = a >> 12 & 1,
                            .l = a >> 13 & 1, .db = a >> 14 & 1, .g = a >> 15 & 1, .unusable = a >> 16 & 1};
}

static void take_state(void) {
  struct kvm_regs regs;
  struct kvm_fpu fpu;
  struct kvm_xsave xsave; /* the only one that tells MXCSR */
  call(vcpu, KVM_GET_REGS, &regs, "KVM_GET_REGS");
  call(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
  call(vcpu, KVM_GET_FPU, &fpu, "KVM_GET_FPU");
  call(vcpu, KVM_GET_XSAVE, &xsave, "KVM_GET_XSAVE");
  copy_registers(&regs, &now, 0);
  for (int n = 0; n < SEGMENTS; n++) take_segment(&now.segment[n], kvm_segment(n));
  now.gdt_base = sregs.gdt.base, now.gdt_limit = sregs.gdt.limit;
  now.idt_base = sregs.idt.base, now.idt_limit = sregs.idt.limit;
  now.cr0 = sregs.cr0, now.cr2 = sregs.cr2, now.cr3 = sregs.cr3, now.cr4 = sregs.cr4, now.cr8 = sregs.cr8;
  now.efer = sregs.efer;
  memcpy(now.fpr, fpu.fpr, sizeof now.fpr);
  memcpy(now.xmm, fpu.xmm, sizeof now.xmm);
  now.fcw = fpu.fcw, now.fsw = fpu.fsw, now.ftw = fpu.ftwx, now.mxcsr = xsave.region[6];
}

static void give_state(struct state *s) {
  struct kvm_regs regs;
  struct kvm_fpu fpu = {.fcw = (uint16_t)s->fcw, .fsw = (uint16_t)s->fsw, .ftwx = (uint8_t)s->ftw, .mxcsr = s->mxcsr};
  call(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
  for (int n = 0; n < SEGMENTS; n++) give_segment(kvm_segment(n), &s->segment[n]);
  sregs.gdt.base = s->gdt_base, sregs.gdt.limit = (uint16_t)s->gdt_limit;
  sregs.idt.base = s->idt_base, sregs.idt.limit = (uint16_t)s->idt_limit;
  sregs.cr0 = s->cr0, sregs.cr2 = s->cr2, sregs.cr3 = s->cr3, sregs.cr4 = s->cr4, sregs.cr8 = s->cr8;
  sregs.efer = s->efer;
  copy_registers(&regs, s, 1);
  memcpy(fpu.fpr, s->fpr, sizeof fpu.fpr);
  memcpy(fpu.xmm, s->xmm, sizeof fpu.xmm);
  call(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
  call(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
  call(vcpu, KVM_SET_FPU, &fpu, "KVM_SET_FPU");
}

/* Physical memory without side effects; 0 where there is no RAM. */
static uint64_t peek(uint64_t address, int length) {
  uint64_t value = 0;
  if (address + (uint64_t)length <= ram_bytes) memcpy(&value, ram + address, (size_t)length);
  return value;
}

/* Where a linear address lies in RAM, by the guest's page tables and without setting a bit in them; -1: nowhere. */
static int64_t physical(uint64_t linear) {
  enum { PG = 1u << 31, PSE = 1 << 4, PAE = 1 << 5, LMA = 1 << 10, PRESENT = 1, LARGE = 0x80 };
  const uint64_t address_bits = 0x000ffffffffff000;
  if (!(now.efer & LMA)) linear &= 0xffffffff;
  if (!(now.cr0 & PG)) return (int64_t)linear;
  int is_wide = (now.cr4 & PAE) != 0;
  int levels = now.efer & LMA ? 4 : is_wide ? 3 : 2;
  int index_bits = is_wide ? 9 : 10;
  uint64_t table = levels == 3 ? now.cr3 & 0xffffffe0 : now.cr3 & address_bits;
  for (int level = levels - 1;; level--) {
    int shift = 12 + level * index_bits;
    uint64_t index = linear >> shift & ((levels == 3 && level == 2) ? 3 : (1u << index_bits) - 1);
    uint64_t entry = peek(table + index * (is_wide ? 8 : 4), is_wide ? 8 : 4);
    if (!(entry & PRESENT)) return -1;
    int is_large = level > 0 && (entry & LARGE) && !(levels == 3 && level == 2) && (is_wide || (now.cr4 & PSE));
    uint64_t offset_mask = (1ull << shift) - 1;
    if (level == 0 || is_large) return (int64_t)((entry & address_bits & ~offset_mask) | (linear & offset_mask));
    table = entry & address_bits;
  }
}

static uint8_t *byte_at(uint64_t linear) {
  int64_t at = physical(linear);
  return at >= 0 && at < ram_bytes ? ram + at : NULL;
}

static uint64_t code_base(void) {
  return now.efer & 0x400 && now.segment[1].attributes & 0x2000 ? 0 : now.segment[1].base;
}

/* A handler begins with OUT 0xE0, AL: by that exit the end of an event's delivery is seen. */
static int is_at_arrival(void) {
  const uint8_t *opcode = byte_at(code_base() + now.rip), *port = byte_at(code_base() + now.rip + 1);
  return opcode && port && *opcode == 0xe6 && *port == ARRIVAL_PORT;
}

/* Linear address of a slot of the stack. */
static uint64_t stack_slot(int slot, int size) {
  uint64_t offset = now.gpr[4] + (uint64_t)(slot * size);
  if (now.efer & 0x400 && now.segment[1].attributes & 0x2000) return offset;
  uint64_t mask = now.segment[2].attributes & 0x4000 ? 0xffffffff : 0xffff;
  return now.segment[2].base + (offset & mask);
}
static uint32_t read_slot(int slot, int size) {
  uint32_t value = 0;
  for (int n = 0; n < (size > 4 ? 4 : size); n++) {
    const uint8_t *at = byte_at(stack_slot(slot, size) + (uint64_t)n);
    value |= (uint32_t)(at ? *at : 0) << 8 * n;
  }
  return value;
}
static void clear_trap_flag(int slot, int size) {
  uint8_t *at = byte_at(stack_slot(slot, size) + 1);
  if (at) *at &= (uint8_t) ~(TF >> 8);
}

/* The frame of an event: [error code] IP CS FLAGS, in slots of one size. */
static void clear_frame(void) {
  int sizes[] = {8, 4, 2};
  uint32_t selector = before.segment[1].selector;
  int first = now.efer & 0x400 ? 0 : now.cr0 & 1 ? 1 : 2, last = now.efer & 0x400 ? 0 : 2;
  for (int n = first; n <= last; n++) {
    int size = sizes[n], has_code = 0;
    if ((read_slot(2, size) & 0xffff) == selector)
      has_code = (read_slot(1, size) & 0xffff) == (before.rip & 0xffff) || (read_slot(1, size) & 0xffff) != selector;
    if (!has_code && (read_slot(1, size) & 0xffff) != selector) continue;
    clear_trap_flag(2 + has_code, size);
    return;
  }
}

static uint8_t opcode_of_step[2];

/* The first two bytes after the prefixes of the instruction about to run. */
static void look_at_instruction(void) {
  uint64_t at = code_base() + now.rip;
  int is_long = now.efer & 0x400 && now.segment[1].attributes & 0x2000;
  memset(opcode_of_step, 0, 2);
  for (int n = 0; n < 15; n++, at++) {
    const uint8_t *byte = byte_at(at), *next = byte_at(at + 1);
    if (!byte) return;
    if (strchr("\x66\x67\xf0\xf2\xf3\x2e\x36\x3e\x26\x64\x65", *byte) && *byte) continue;
    if (is_long && (*byte & 0xf0) == 0x40) continue;
    opcode_of_step[0] = *byte;
    opcode_of_step[1] = next ? *next : 0;
    return;
  }
}

/* The guest must not see that it is single-stepped. */
static void hide_trap_flag(int was_delivered) {
  const uint8_t *op = opcode_of_step;
  int is_syscall = op[0] == 0x0f && op[1] == 0x05;
  int is_interrupt = (op[0] >= 0xcc && op[0] <= 0xce) || op[0] == 0xf1;
  if (is_syscall && (now.gpr[11] & TF)) {
    struct kvm_regs regs;
    now.gpr[11] &= ~(uint64_t)TF;
    call(vcpu, KVM_GET_REGS, &regs, "KVM_GET_REGS");
    regs.r11 = now.gpr[11];
    call(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
  } else if (!is_syscall && (was_delivered || is_interrupt)) clear_frame();
  else if (op[0] == 0x9c && now.gpr[4] != before.gpr[4]) clear_trap_flag(0, 2);
}

static uint32_t memory_changes(int emit) {
  uint32_t count = 0;
  for (uint32_t page = 0; page < ram_bytes; page += PAGE) {
    if (memcmp(ram + page, shadow + page, PAGE) == 0) continue;
    for (uint32_t i = page; i < page + PAGE; i++) {
      if (ram[i] == shadow[i]) continue;
      uint32_t start = i;
      while (i < page + PAGE && ram[i] != shadow[i]) i++;
      uint32_t length = i - start;
      count++;
      if (!emit) continue;
      write_exactly(&start, 4);
      write_exactly(&length, 4);
      write_exactly(ram + start, length);
    }
    if (emit) memcpy(shadow + page, ram + page, PAGE);
  }
  return count;
}

static void report(uint32_t kind, uint32_t detail) {
  uint32_t count = memory_changes(0);
  write_exactly(&kind, 4);
  write_exactly(&detail, 4);
  write_exactly(&now, sizeof now);
  write_exactly(&count, 4);
  memory_changes(1);
  fflush(stdout);
}

static void on_alarm(int signal) {
  (void)signal;
  run->immediate_exit = 1;
}

/* KVM's emulator has OUT behind it when it exits, a processor has not: 1 while such an OUT is still to be reported. */
static int out_is_done;

/* Runs to the next exit that is one for us; what it means as `kind`. `arrived`: OUT was met, and not begun. */
static uint32_t step(int *arrived, uint32_t *detail) {
  const struct itimerval limit = {{0, 0}, {0, 500000}}, none = {{0, 0}, {0, 0}};
  struct kvm_guest_debug debug = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
  int was_at_arrival = *arrived;
  *arrived = 0;
  if (out_is_done) {
    out_is_done = 0;
    *detail = 0;
    return STEP;
  }
  call(vcpu, KVM_SET_GUEST_DEBUG, &debug, "KVM_SET_GUEST_DEBUG");
  for (;;) {
    setitimer(ITIMER_REAL, &limit, NULL);
    int result = ioctl(vcpu, KVM_RUN, NULL), error = errno;
    setitimer(ITIMER_REAL, &none, NULL);
    run->immediate_exit = 0;
    if (result < 0) {
      *detail = (uint32_t)error;
      return STUCK;
    }
    *detail = run->exit_reason;
    switch (run->exit_reason) {
      case KVM_EXIT_DEBUG: *detail = 0; return STEP;
      case KVM_EXIT_HLT: return HALTED;
      case KVM_EXIT_SHUTDOWN: return SHUT_DOWN;
      case KVM_EXIT_MMIO: return LEFT_RAM;
      case KVM_EXIT_INTERNAL_ERROR: *detail = run->internal.suberror; return NOT_EMULATED;
      case KVM_EXIT_IO: {
        int is_arrival = run->io.direction == KVM_EXIT_IO_OUT && run->io.port == ARRIVAL_PORT;
        if (is_arrival && !was_at_arrival) {
          *arrived = 1;
          return STEP;
        }
        was_at_arrival = 0;
        if (run->io.direction == KVM_EXIT_IO_IN)
          memset((uint8_t *)run + run->io.data_offset, 0xff, (size_t)run->io.size * run->io.count);
        struct kvm_regs regs;
        call(vcpu, KVM_GET_REGS, &regs, "KVM_GET_REGS");
        if (regs.rip != before.rip) {
          *detail = 0;
          return STEP;
        }
        continue;
      }
      default: return OTHER_EXIT;
    }
  }
}

static void announce_features(int kvm) {
  enum { MAXIMUM = 256 };
  struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + MAXIMUM * sizeof(struct kvm_cpuid_entry2));
  cpuid->nent = MAXIMUM;
  call(kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
  call(vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
  free(cpuid);
}

static void make_machine(void) {
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) fail("/dev/kvm");
  int vm = call(kvm, KVM_CREATE_VM, 0, "KVM_CREATE_VM");
  ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shadow = malloc(ram_bytes);
  if (ram == MAP_FAILED || !shadow) fail("allocate RAM");
  struct kvm_userspace_memory_region region = {.memory_size = ram_bytes, .userspace_addr = (uint64_t)(uintptr_t)ram};
  call(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
  vcpu = call(vm, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU");
  size_t run_bytes = (size_t)call(kvm, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE");
  run = mmap(NULL, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) fail("map kvm_run");
  announce_features(kvm);
}

int main(void) {
  uint32_t limit;
  struct state start;
  struct sigaction action = {.sa_handler = on_alarm};
  read_exactly(&ram_bytes, 4);
  read_exactly(&limit, 4);
  read_exactly(&start, sizeof start);
  make_machine();
  read_exactly(ram, ram_bytes);
  memcpy(shadow, ram, ram_bytes);
  sigaction(SIGALRM, &action, NULL);
  give_state(&start);
  take_state();
  report(STEP, 0);
  int arrived = is_at_arrival();
  for (uint32_t n = 0; n < limit; n++) {
    uint32_t detail;
    before = now;
    look_at_instruction();
    uint32_t kind = step(&arrived, &detail);
    take_state();
    /* Single-stepping comes before waiting. */
    if (kind == STEP && opcode_of_step[0] == 0xf4 && now.rip == before.rip + 1) kind = HALTED;
    if (kind == STEP) {
      if (arrived && !is_at_arrival()) now.rip -= 2, out_is_done = 1;
      hide_trap_flag(arrived);
      arrived = is_at_arrival();
    }
    report(kind, detail);
    if (kind != STEP) break;
  }
  return 0;
}
