/** The guests about AMD-V that QEMU judges. */
export const svmGuests = ['instructions', 'intercepts', 'events', 'nested-paging', 'five-level-nested-paging'] as const;
