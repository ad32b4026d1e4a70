/* Pages for the hypervisor, and the memory that it gives to virtual machines. */

#ifndef MEMORY_H
#define MEMORY_H

#include <stdint.h>

#define PAGE_SIZE 4096ul
#define LARGE_PAGE_SIZE (512 * PAGE_SIZE)

/* A page of zeros; memory is mapped to itself, so that the pointer is also its physical address. */
void *allocate_page(void);

enum ept_page { EPT_PAGE, EPT_LARGE_PAGE };

/* Maps a page, readable, writable and executable, in the EPT tables whose PML4 table is `root`. */
void ept_map(uint64_t *root, uint64_t guest_physical, uint64_t host_physical, enum ept_page size);

/* What the VMCS field "EPT pointer" wants to have of these tables. */
uint64_t ept_pointer(uint64_t *root);

#endif
