/** The virtual machine control block as one table (AMD64 APM volume 2, appendix "Layout of VMCB"). */

export type VmcbGroup = 'Intercepts' | 'Control' | 'Exit information' | 'Event injection' | 'State save area';

export interface VmcbField {
  /** The manual's name. */
  readonly name: string;
  /** Bytes from the start of the VMCB. */
  readonly offset: number;
  readonly bytes: 1 | 2 | 4 | 8;
  readonly group: VmcbGroup;
  readonly doc: string;
}

const of =
  (group: VmcbGroup, base = 0) =>
  <Name extends string>(name: Name, offset: number, bytes: VmcbField['bytes'], doc: string) => ({
    name,
    offset: base + offset,
    bytes,
    group,
    doc,
  });

const intercepts = of('Intercepts');
const control = of('Control');
const exit = of('Exit information');
const event = of('Event injection');
const STATE = 0x400;
const saved = of('State save area', STATE);

const segment = <Name extends 'ES' | 'CS' | 'SS' | 'DS' | 'FS' | 'GS' | 'LDTR' | 'TR'>(name: Name, offset: number) =>
  [
    saved(`${name} selector`, offset, 2, `Selector of ${name}.`),
    saved(`${name} attributes`, offset + 2, 2, `Bits 55:52 and 47:40 of the descriptor of ${name}.`),
    saved(`${name} limit`, offset + 4, 4, `Limit of ${name}, granularity applied.`),
    saved(`${name} base`, offset + 8, 8, `Base address of ${name}.`),
  ] as const;

const table = <Name extends 'GDTR' | 'IDTR'>(name: Name, offset: number) =>
  [
    saved(`${name} limit`, offset + 4, 4, `Limit of ${name}.`),
    saved(`${name} base`, offset + 8, 8, `Base address of ${name}.`),
  ] as const;

export const vmcbFields = [
  intercepts('Intercept CR reads and writes', 0x000, 4, 'Bits 15:0: reads of CR0 to CR15; 31:16: writes.'),
  intercepts('Intercept DR reads and writes', 0x004, 4, 'Bits 15:0: reads of DR0 to DR15; 31:16: writes.'),
  intercepts('Intercept exception vectors', 0x008, 4, 'A bit for each of the exception vectors 0 to 31.'),
  intercepts('Intercept vector 3', 0x00c, 4, 'Interrupts and instructions from INTR to shutdown.'),
  intercepts('Intercept vector 4', 0x010, 4, 'The instructions of SVM, and others from RDTSCP on.'),
  intercepts('Intercept vector 5', 0x014, 4, 'INVLPGB, INVPCID and others.'),
  control('PAUSE filter threshold', 0x03c, 2, 'Cycles between two PAUSEs that make the count begin anew.'),
  control('PAUSE filter count', 0x03e, 2, 'PAUSEs that are not intercepted before one is.'),
  control('IOPM_BASE_PA', 0x040, 8, 'Physical base address of the I/O permissions map.'),
  control('MSRPM_BASE_PA', 0x048, 8, 'Physical base address of the MSR permissions map.'),
  control('TSC_OFFSET', 0x050, 8, 'Added to the TSC that the guest reads.'),
  control('Guest ASID', 0x058, 4, 'Address-space identifier of the guest: tags its translations.'),
  control('TLB_CONTROL', 0x05c, 1, 'What VMRUN does to the TLB.'),
  control('Virtual interrupt control', 0x060, 8, 'V_TPR, V_IRQ and how virtual interrupts are masked.'),
  control('INTERRUPT_SHADOW', 0x068, 8, 'Whether the guest is in an interrupt shadow.'),
  exit('EXITCODE', 0x070, 8, 'Why the guest was left.'),
  exit('EXITINFO1', 0x078, 8, 'More about it, by EXITCODE.'),
  exit('EXITINFO2', 0x080, 8, 'More about it, by EXITCODE.'),
  exit('EXITINTINFO', 0x088, 8, 'The event whose delivery the exit interrupted.'),
  control('NP_ENABLE', 0x090, 8, 'Bit 0: nested paging.'),
  event('EVENTINJ', 0x0a8, 8, 'The event that VMRUN delivers to the guest.'),
  control('N_CR3', 0x0b0, 8, 'The host CR3 that nested paging uses.'),
  control('LBR_VIRTUALIZATION_ENABLE', 0x0b8, 8, 'Bit 0: LBR virtualization; bit 1: virtualized VMLOAD and VMSAVE.'),
  control(
    'VMCB clean bits',
    0x0c0,
    4,
    'What software has not changed since the last #VMEXIT; the processor may ignore it.',
  ),
  exit('nRIP', 0x0c8, 8, 'Next sequential instruction pointer, after exits of instructions.'),
  exit('Number of bytes fetched', 0x0d0, 1, 'How many instruction bytes follow.'),
  exit('Guest instruction bytes 6:0', 0x0d1, 8, 'Bytes at the guest RIP, after page faults and nested page faults.'),
  exit('Guest instruction bytes 14:8', 0x0d8, 8, 'More of them; bits 63:56 are the last.'),
  ...segment('ES', 0x00),
  ...segment('CS', 0x10),
  ...segment('SS', 0x20),
  ...segment('DS', 0x30),
  ...segment('FS', 0x40),
  ...segment('GS', 0x50),
  ...table('GDTR', 0x60),
  ...segment('LDTR', 0x70),
  ...table('IDTR', 0x80),
  ...segment('TR', 0x90),
  saved('CPL', 0x0cb, 1, 'Current privilege level.'),
  saved('EFER', 0x0d0, 8, 'EFER.'),
  saved('CR4', 0x148, 8, 'CR4.'),
  saved('CR3', 0x150, 8, 'CR3.'),
  saved('CR0', 0x158, 8, 'CR0.'),
  saved('DR7', 0x160, 8, 'DR7.'),
  saved('DR6', 0x168, 8, 'DR6.'),
  saved('RFLAGS', 0x170, 8, 'RFLAGS.'),
  saved('RIP', 0x178, 8, 'RIP.'),
  saved('RSP', 0x1d8, 8, 'RSP.'),
  saved('RAX', 0x1f8, 8, 'RAX.'),
  saved('STAR', 0x200, 8, 'STAR; moved by VMLOAD and VMSAVE.'),
  saved('LSTAR', 0x208, 8, 'LSTAR; moved by VMLOAD and VMSAVE.'),
  saved('CSTAR', 0x210, 8, 'CSTAR; moved by VMLOAD and VMSAVE.'),
  saved('SFMASK', 0x218, 8, 'SFMASK; moved by VMLOAD and VMSAVE.'),
  saved('KernelGsBase', 0x220, 8, 'KernelGsBase; moved by VMLOAD and VMSAVE.'),
  saved('SYSENTER_CS', 0x228, 8, 'SYSENTER_CS; moved by VMLOAD and VMSAVE.'),
  saved('SYSENTER_ESP', 0x230, 8, 'SYSENTER_ESP; moved by VMLOAD and VMSAVE.'),
  saved('SYSENTER_EIP', 0x238, 8, 'SYSENTER_EIP; moved by VMLOAD and VMSAVE.'),
  saved('CR2', 0x240, 8, 'CR2.'),
  saved('G_PAT', 0x268, 8, 'The guest PAT, with nested paging.'),
] as const satisfies readonly VmcbField[];

export type VmcbFieldName = (typeof vmcbFields)[number]['name'];
export const VMCB_BYTES = 0x1000;

const byName = new Map<string, VmcbField>(vmcbFields.map((field) => [field.name, field]));

export function vmcbField(name: VmcbFieldName): VmcbField {
  return byName.get(name) as VmcbField;
}
export const vmcbOffset = (name: VmcbFieldName): number => vmcbField(name).offset;
