/*
 * The recorder's input and output: reading cases from standard input, writing results to standard output,
 * and the memory a case starts from. The TypeScript side is harness.ts; both are little-endian.
 *
 *   input   := u32 regionCount, region*, case*
 *   region  := u64 address, u32 length, u32 fill
 *   case    := u8 mode, u8 codeLength, u8 patchCount, u8 zero, u8 code[16], u64 gpr[16],
 *              u64 flags, u64 rip, u16 segment[6], u32 zero, extended, patch*
 *   patch   := u64 address, u32 length, u8 bytes[length]
 *   result  := u64 gpr[16], u64 flags, u64 rip, u16 segment[6], u16 exception, u16 zero,
 *              u64 errorCode, u64 faultAddress, extended, u32 changeCount, change*
 *                                                                                (change is laid out as patch)
 *   extended := u8 fxsave64[416], u8 ymmHigh[256]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILL_TRAP = 0, FILL_PATTERN = 1 };
enum { NO_EXCEPTION = 0xffff, TRAP_BYTE = 0xcc };

struct region {
  uint64_t address;
  uint32_t length, fill;
};

/* The image of FXSAVE64 as far as XMM15, and the upper halves of the YMM registers. */
struct __attribute__((packed)) extended {
  uint8_t legacy[416], ymm_high[256];
};

struct __attribute__((packed)) request {
  uint8_t mode, code_length, patch_count, zero8, code[16];
  uint64_t gpr[16], flags, rip;
  uint16_t segment[6];
  uint32_t zero;
  struct extended extended;
};

struct __attribute__((packed)) result {
  uint64_t gpr[16], flags, rip;
  uint16_t segment[6], exception, zero;
  uint64_t error_code, fault_address;
  struct extended extended;
};

enum { MAX_REGIONS = 16 };
static struct region regions[MAX_REGIONS];
static uint8_t *initial[MAX_REGIONS], *expected[MAX_REGIONS], *actual[MAX_REGIONS];
static uint32_t region_count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int read_exactly(void *into, size_t length) { return length == 0 || fread(into, length, 1, stdin) == 1; }

static void write_exactly(const void *from, size_t length) {
  if (length != 0 && fwrite(from, length, 1, stdout) != 1) fail("write a result");
}

/* The byte every data address holds before a case patches it; layout.ts computes the same. */
static uint8_t pattern(uint64_t address) { return (uint8_t)(((uint32_t)address * 0x9e3779b1u) >> 24); }

/* `map` returns where the recorder sees the region's memory. */
static void read_regions(uint8_t *(*map)(struct region *)) {
  if (!read_exactly(&region_count, 4) || region_count > MAX_REGIONS) fail("read the regions");
  for (uint32_t r = 0; r < region_count; r++) {
    if (!read_exactly(&regions[r], sizeof regions[r])) fail("read a region");
    initial[r] = malloc(regions[r].length);
    expected[r] = malloc(regions[r].length);
    actual[r] = map(&regions[r]);
    for (uint32_t i = 0; i < regions[r].length; i++)
      initial[r][i] = regions[r].fill == FILL_TRAP ? TRAP_BYTE : pattern(regions[r].address + i);
  }
}

static void patch(uint64_t address, const uint8_t *bytes, uint32_t length) {
  for (uint32_t r = 0; r < region_count; r++) {
    if (address < regions[r].address || address + length > regions[r].address + regions[r].length) continue;
    memcpy(expected[r] + (address - regions[r].address), bytes, length);
    return;
  }
  fprintf(stderr, "a patch of %u bytes at %llx is in no region\n", length, (unsigned long long)address);
  exit(1);
}

/* Put the case's memory in place: the fills, the patches, the instruction. */
static void prepare_memory(const struct request *request, uint64_t code_address) {
  static uint8_t bytes[65536];
  for (uint32_t r = 0; r < region_count; r++) memcpy(expected[r], initial[r], regions[r].length);
  for (int p = 0; p < request->patch_count; p++) {
    uint64_t address;
    uint32_t length;
    if (!read_exactly(&address, 8) || !read_exactly(&length, 4) || length > sizeof bytes || !read_exactly(bytes, length))
      fail("read a patch");
    patch(address, bytes, length);
  }
  patch(code_address, request->code, request->code_length);
  for (uint32_t r = 0; r < region_count; r++) memcpy(actual[r], expected[r], regions[r].length);
}

/* Report every run of bytes that differs from what the case started with. With `emit` 0 it only counts. */
static uint32_t memory_changes(int emit) {
  uint32_t count = 0;
  for (uint32_t r = 0; r < region_count; r++) {
    if (memcmp(actual[r], expected[r], regions[r].length) == 0) continue;
    for (uint32_t i = 0; i < regions[r].length; i++) {
      if (actual[r][i] == expected[r][i]) continue;
      uint32_t start = i;
      while (i < regions[r].length && actual[r][i] != expected[r][i]) i++;
      uint32_t length = i - start;
      uint64_t address = regions[r].address + start;
      count++;
      if (!emit) continue;
      write_exactly(&address, 8);
      write_exactly(&length, 4);
      write_exactly(actual[r] + start, length);
    }
  }
  return count;
}

static void write_result(const struct result *result) {
  uint32_t count = memory_changes(0);
  write_exactly(result, sizeof *result);
  write_exactly(&count, 4);
  memory_changes(1);
  fflush(stdout); /* so that the case a recorder dies of can be told */
}
