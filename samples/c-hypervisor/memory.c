#include "memory.h"
#include "panic.h"

#define POOL_PAGES 32

#define EPT_READ_WRITE_EXECUTE 7ul
#define EPT_WRITE_BACK (6ul << 3) /* the memory type, in an entry that maps a page */
#define EPT_LARGE (1ul << 7)
#define EPT_ADDRESS 0x000FFFFFFFFFF000ul

#define EPTP_WRITE_BACK 6ul       /* the memory type of the tables themselves */
#define EPTP_FOUR_LEVELS (3ul << 3) /* the number of levels less one */

static uint8_t pool[POOL_PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static unsigned pages_used;

void *allocate_page(void)
{
    if (pages_used == POOL_PAGES)
        panic("out of pages");
    return pool[pages_used++];
}

/* The table that an entry points to, made if there is none yet. */
static uint64_t *table_of(uint64_t *entry)
{
    if (!*entry)
        *entry = (uint64_t)allocate_page() | EPT_READ_WRITE_EXECUTE;
    return (uint64_t *)(*entry & EPT_ADDRESS);
}

/* The tables are walked as those of ordinary paging: nine bits of the address choose an entry at each of four levels. */
static uint64_t *entry_at(uint64_t *table, uint64_t address, unsigned level)
{
    return &table[address >> (12 + 9 * (level - 1)) & 511];
}

void ept_map(uint64_t *root, uint64_t guest_physical, uint64_t host_physical, enum ept_page size)
{
    uint64_t *pdpt = table_of(entry_at(root, guest_physical, 4));
    uint64_t *directory = table_of(entry_at(pdpt, guest_physical, 3));
    uint64_t *pde = entry_at(directory, guest_physical, 2);
    uint64_t page = host_physical | EPT_WRITE_BACK | EPT_READ_WRITE_EXECUTE;

    /* The entry was not present, so no TLB can have it: no INVEPT. Whoever changes a present entry needs one. */
    if (size == EPT_LARGE_PAGE)
        *pde = page | EPT_LARGE;
    else
        *entry_at(table_of(pde), guest_physical, 1) = page; /* STOP HERE: look at EPT in the Page Tables view */
}

uint64_t ept_pointer(uint64_t *root)
{
    return (uint64_t)root | EPTP_WRITE_BACK | EPTP_FOUR_LEVELS;
}
