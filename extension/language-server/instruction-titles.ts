/**
 * Names and one-line descriptions of instructions, and the faults that they raise beside those of their kind (memory
 * operands, privileges: instruction-hover.ts). Source: Intel SDM volume 2, the headings and exception lists of each instruction.
 */
import { conditions } from './conditions.ts';

export interface InstructionTitle {
  /** The manual's name: "Add With Carry". */
  readonly title: string;
  readonly does: string;
  readonly faults: readonly string[];
}

/** Mnemonics as iced-x86 names them, in lower case, those of one row separated by blanks. */
type Row = readonly [mnemonics: string, title: string, does: string, ...faults: string[]];

const dataTransfer: readonly Row[] = [
  ['mov', 'Move', 'Copies the source into the destination.'],
  ['movzx', 'Move with Zero-Extend', 'Copies the source, with zeros above.'],
  ['movsx movsxd', 'Move with Sign-Extension', 'Copies the source, with copies of its sign bit above.'],
  ['movbe', 'Move Data After Swapping Bytes', 'Copies the source with its bytes in reverse order.'],
  ['movnti', 'Store Doubleword Using Non-Temporal Hint', 'Stores a register past the caches.'],
  ['xchg', 'Exchange Register/Memory With Register', 'Exchanges both operands; with memory it is atomic, LOCK or not.'],
  ['xadd', 'Exchange and Add', 'Exchanges both operands and puts their sum into the destination.'],
  [
    'cmpxchg',
    'Compare and Exchange',
    'If the destination equals AL/AX/EAX/RAX, replaces it by the source, else loads it there.',
  ],
  [
    'cmpxchg8b',
    'Compare and Exchange Bytes',
    'If the destination equals EDX:EAX, replaces it by ECX:EBX, else loads it into EDX:EAX.',
  ],
  [
    'cmpxchg16b',
    'Compare and Exchange Bytes',
    'If the destination equals RDX:RAX, replaces it by RCX:RBX, else loads it into RDX:RAX.',
    '#GP(0) if the operand is not aligned to 16 bytes',
  ],
  ['bswap', 'Byte Swap', 'Reverses the order of the bytes of a register.'],
  [
    'cbw cwde cdqe',
    'Convert Byte to Word, Word to Doubleword, Doubleword to Quadword',
    'Sign-extends the lower half of AX, EAX or RAX.',
  ],
  [
    'cwd cdq cqo',
    'Convert Word to Doubleword, Doubleword to Quadword',
    'Fills DX, EDX or RDX with the sign of AX, EAX or RAX.',
  ],
  ['xlatb', 'Table Look-up Translation', 'Loads AL from the table at DS:RBX, indexed by AL.'],
  [
    'push',
    'Push Word, Doubleword or Quadword Onto the Stack',
    'Decrements the stack pointer and stores the source there.',
    '#SS(0) if the stack pointer is outside the stack segment or not canonical',
  ],
  [
    'pop',
    'Pop a Value From the Stack',
    'Loads the destination from the top of the stack and increments the stack pointer.',
    '#SS(0) if the stack pointer is outside the stack segment or not canonical',
  ],
  [
    'pusha pushad',
    'Push All General-Purpose Registers',
    'Pushes AX, CX, DX, BX, SP, BP, SI, DI or their 32-bit forms.',
    '#UD in 64-bit mode',
  ],
  [
    'popa popad',
    'Pop All General-Purpose Registers',
    'Pops DI, SI, BP, BX, DX, CX, AX or their 32-bit forms; SP is not loaded.',
    '#UD in 64-bit mode',
  ],
  [
    'enter',
    'Make Stack Frame for Procedure Parameters',
    'Pushes the frame pointer, points it at the stack and reserves space.',
  ],
  ['leave', 'High Level Procedure Exit', 'Copies the frame pointer to the stack pointer and pops the frame pointer.'],
  ['lea', 'Load Effective Address', 'Computes an address without accessing it.', '#UD if the source is a register'],
  [
    'lds les lfs lgs lss',
    'Load Far Pointer',
    'Loads a segment register and a general one from a far pointer.',
    '#GP(selector), #NP(selector), #SS(selector) by the descriptor',
  ],
];

const arithmetic: readonly Row[] = [
  ['add', 'Add', 'DEST := DEST + SRC.'],
  ['adc', 'Add With Carry', 'DEST := DEST + SRC + CF.'],
  ['sub', 'Subtract', 'DEST := DEST − SRC.'],
  ['sbb', 'Integer Subtraction With Borrow', 'DEST := DEST − (SRC + CF).'],
  ['cmp', 'Compare Two Operands', 'Sets the flags as SUB does, without writing the result.'],
  ['inc', 'Increment by 1', 'Adds 1 and leaves CF as it is.'],
  ['dec', 'Decrement by 1', 'Subtracts 1 and leaves CF as it is.'],
  ['neg', "Two's Complement Negation", 'DEST := 0 − DEST; CF tells whether it was not 0.'],
  ['mul', 'Unsigned Multiply', 'Multiplies AL, AX, EAX or RAX; the product is in AX, DX:AX, EDX:EAX or RDX:RAX.'],
  ['imul', 'Signed Multiply', 'Multiplies; CF and OF tell that the product was cut off (or needs its upper half).'],
  [
    'div',
    'Unsigned Divide',
    'Divides AX, DX:AX, EDX:EAX or RDX:RAX: quotient in AL/AX/EAX/RAX, remainder in AH/DX/EDX/RDX.',
    '#DE if the divisor is 0 or the quotient does not fit',
  ],
  [
    'idiv',
    'Signed Divide',
    'Divides AX, DX:AX, EDX:EAX or RDX:RAX: quotient in AL/AX/EAX/RAX, remainder in AH/DX/EDX/RDX.',
    '#DE if the divisor is 0 or the quotient does not fit',
  ],
  ['adcx', 'Unsigned Integer Addition With Carry Flag', 'DEST := DEST + SRC + CF; changes CF alone.'],
  ['adox', 'Unsigned Integer Addition With Overflow Flag', 'DEST := DEST + SRC + OF; changes OF alone.'],
  ['mulx', 'Unsigned Multiply Without Affecting Flags', 'Multiplies by EDX or RDX into two registers.'],
  ['daa', 'Decimal Adjust AL After Addition', 'Makes AL a packed decimal number.', '#UD in 64-bit mode'],
  ['das', 'Decimal Adjust AL After Subtraction', 'Makes AL a packed decimal number.', '#UD in 64-bit mode'],
  ['aaa', 'ASCII Adjust After Addition', 'Makes AL one decimal digit and carries into AH.', '#UD in 64-bit mode'],
  ['aas', 'ASCII Adjust AL After Subtraction', 'Makes AL one decimal digit and borrows from AH.', '#UD in 64-bit mode'],
  [
    'aam',
    'ASCII Adjust AX After Multiply',
    'Divides AL by the base: quotient in AH, remainder in AL.',
    '#DE if the base is 0',
    '#UD in 64-bit mode',
  ],
  ['aad', 'ASCII Adjust AX Before Division', 'AL := AL + AH × base, AH := 0.', '#UD in 64-bit mode'],
];

const logic: readonly Row[] = [
  ['and', 'Logical AND', 'DEST := DEST AND SRC; clears CF and OF.'],
  ['or', 'Logical Inclusive OR', 'DEST := DEST OR SRC; clears CF and OF.'],
  ['xor', 'Logical Exclusive OR', 'DEST := DEST XOR SRC; clears CF and OF.'],
  ['not', "One's Complement Negation", 'Inverts every bit; changes no flags.'],
  ['test', 'Logical Compare', 'Sets the flags as AND does, without writing the result.'],
  ['shl sal', 'Shift Left', 'Shifts towards the upper end; CF is the last bit shifted out.'],
  ['shr', 'Shift Logical Right', 'Shifts zeros in from above; CF is the last bit shifted out.'],
  ['sar', 'Shift Arithmetic Right', 'Shifts copies of the sign in from above; CF is the last bit shifted out.'],
  ['shld', 'Double Precision Shift Left', 'Shifts the destination left, bits of the source coming in.'],
  ['shrd', 'Double Precision Shift Right', 'Shifts the destination right, bits of the source coming in.'],
  ['rol', 'Rotate Left', 'Rotates towards the upper end; CF is the last bit that went round.'],
  ['ror', 'Rotate Right', 'Rotates towards the lower end; CF is the last bit that went round.'],
  ['rcl', 'Rotate Through Carry Left', 'Rotates left, CF being one more bit.'],
  ['rcr', 'Rotate Through Carry Right', 'Rotates right, CF being one more bit.'],
  ['shlx shrx sarx', 'Shift Without Affecting Flags', 'Shifts by a register and changes no flags.'],
  ['rorx', 'Rotate Right Logical Without Affecting Flags', 'Rotates and changes no flags.'],
];

const bits: readonly Row[] = [
  ['bt', 'Bit Test', 'Copies a bit to CF.'],
  ['bts', 'Bit Test and Set', 'Copies a bit to CF and sets it.'],
  ['btr', 'Bit Test and Reset', 'Copies a bit to CF and clears it.'],
  ['btc', 'Bit Test and Complement', 'Copies a bit to CF and inverts it.'],
  [
    'bsf',
    'Bit Scan Forward',
    'Finds the lowest 1; ZF tells that there is none (the destination then stays as it was).',
  ],
  [
    'bsr',
    'Bit Scan Reverse',
    'Finds the highest 1; ZF tells that there is none (the destination then stays as it was).',
  ],
  ['lzcnt', 'Count the Number of Leading Zero Bits', 'Counts the zeros above the highest 1.'],
  ['tzcnt', 'Count the Number of Trailing Zero Bits', 'Counts the zeros below the lowest 1.'],
  ['popcnt', 'Return the Count of Number of Bits Set to 1', 'Counts the ones.'],
  ['andn', 'Logical AND NOT', 'DEST := NOT SRC1 AND SRC2.'],
  ['bextr', 'Bit Field Extract', 'Extracts the bits that start and length select.'],
  ['blsi', 'Extract Lowest Set Isolated Bit', 'Keeps the lowest 1 alone.'],
  ['blsmsk', 'Get Mask Up to Lowest Set Bit', 'Sets the bits up to the lowest 1.'],
  ['blsr', 'Reset Lowest Set Bit', 'Clears the lowest 1.'],
  ['bzhi', 'Zero High Bits Starting With Specified Bit Position', 'Clears the bits from a position on.'],
  ['pdep', 'Parallel Bits Deposit', 'Spreads low bits to the ones of a mask.'],
  ['pext', 'Parallel Bits Extract', 'Collects the bits at the ones of a mask.'],
  ['crc32', 'Accumulate CRC32 Value', 'Continues a CRC-32C.'],
];

const control: readonly Row[] = [
  [
    'jmp',
    'Jump',
    'Continues at the target; a far jump loads CS too.',
    '#GP(0) if the target is outside the code segment or not canonical',
  ],
  [
    'jcxz jecxz jrcxz',
    'Jump if CX, ECX or RCX is 0',
    'Jumps if the count register is 0.',
    '#GP(0) if the target is outside the code segment or not canonical',
  ],
  [
    'loop',
    'Loop According to RCX Counter',
    'Decrements the count register and jumps unless it is 0.',
    '#GP(0) if the target is outside the code segment',
  ],
  [
    'loope',
    'Loop According to RCX Counter',
    'Decrements the count register and jumps unless it is 0 or ZF = 0.',
    '#GP(0) if the target is outside the code segment',
  ],
  [
    'loopne',
    'Loop According to RCX Counter',
    'Decrements the count register and jumps unless it is 0 or ZF = 1.',
    '#GP(0) if the target is outside the code segment',
  ],
  [
    'call',
    'Call Procedure',
    'Pushes the address of the next instruction and continues at the target; a far call pushes and loads CS too.',
    '#GP(0) if the target is outside the code segment or not canonical',
    '#SS(0) if the stack has no room',
  ],
  [
    'ret',
    'Return From Procedure',
    'Pops the address to continue at, and as many bytes as the operand says.',
    '#GP(0) if the target is outside the code segment or not canonical',
    '#SS(0) outside the stack segment',
  ],
  [
    'retf',
    'Far Return From Procedure',
    'Pops the address and CS to continue at, and on a change of ring SS and RSP.',
    '#GP(selector), #NP(selector), #SS(selector) by the descriptors',
  ],
  [
    'int',
    'Call to Interrupt Procedure',
    'Calls the handler of a vector through the interrupt table.',
    '#GP(vector × 8 + 2) if CPL > the gate’s DPL, or the gate is none',
    '#NP, #SS, #TS by the descriptors',
  ],
  ['int3', 'Breakpoint', 'Raises #BP (vector 3), a trap.', '#GP(3 × 8 + 2) if CPL > the gate’s DPL'],
  ['int1', 'Debug Trap', 'Raises #DB (vector 1).'],
  ['into', 'Call to Interrupt Procedure If Overflow', 'Raises #OF (vector 4) if OF = 1.', '#UD in 64-bit mode'],
  [
    'iret iretd iretq',
    'Interrupt Return',
    'Pops RIP, CS and RFLAGS, on a change of ring and in 64-bit mode RSP and SS too.',
    '#GP(selector), #NP(selector), #SS(selector) by the descriptors',
    '#GP(0) if the target is outside the code segment or not canonical',
  ],
  [
    'bound',
    'Check Array Index Against Bounds',
    'Raises #BR if an index is outside two bounds in memory.',
    '#BR if the index is outside',
    '#UD in 64-bit mode',
  ],
  [
    'syscall',
    'Fast System Call',
    'RCX := RIP, R11 := RFLAGS, and continues in ring 0 at IA32_LSTAR with RFLAGS masked by IA32_FMASK.',
    '#UD if IA32_EFER.SCE = 0 or outside 64-bit mode',
  ],
  [
    'sysret sysretq',
    'Return From Fast System Call',
    'Continues in ring 3 at RCX with RFLAGS from R11.',
    '#UD if IA32_EFER.SCE = 0 or outside 64-bit mode',
    '#GP(0) if RCX is not canonical',
  ],
  [
    'sysenter',
    'Fast System Call',
    'Continues in ring 0 at IA32_SYSENTER_EIP on the stack IA32_SYSENTER_ESP.',
    '#GP(0) if IA32_SYSENTER_CS is null or in real mode',
  ],
  [
    'sysexit sysexitq',
    'Fast Return from Fast System Call',
    'Continues in ring 3 at RDX with RSP from RCX.',
    '#GP(0) if IA32_SYSENTER_CS is null',
  ],
  ['ud0 ud1 ud2', 'Undefined Instruction', 'Raises #UD.', '#UD always'],
  ['nop', 'No Operation', 'Does nothing.'],
  ['pause', 'Spin Loop Hint', 'Hints that the code is a loop that waits.'],
  [
    'endbr32 endbr64',
    'Terminate an Indirect Branch',
    'Marks a valid target of indirect branches (CET); else does nothing.',
  ],
  ['wait', 'Wait', 'Checks for pending x87 exceptions.', '#NM if CR0.MP = CR0.TS = 1', '#MF if one is pending'],
  ['xabort xbegin xend xtest', 'Transactional Memory', 'Restricted transactional memory.'],
];

const strings: readonly Row[] = [
  [
    'movsb movsw movsd movsq',
    'Move Data From String to String',
    'Copies DS:RSI to ES:RDI and moves both pointers on, by DF backwards.',
  ],
  ['cmpsb cmpsw cmpsd cmpsq', 'Compare String Operands', 'Compares DS:RSI with ES:RDI and moves both pointers on.'],
  ['scasb scasw scasd scasq', 'Scan String', 'Compares AL/AX/EAX/RAX with ES:RDI and moves the pointer on.'],
  ['lodsb lodsw lodsd lodsq', 'Load String', 'Loads AL/AX/EAX/RAX from DS:RSI and moves the pointer on.'],
  ['stosb stosw stosd stosq', 'Store String', 'Stores AL/AX/EAX/RAX at ES:RDI and moves the pointer on.'],
  ['insb insw insd', 'Input from Port to String', 'Reads port DX into ES:RDI and moves the pointer on.'],
  ['outsb outsw outsd', 'Output String to Port', 'Writes DS:RSI to port DX and moves the pointer on.'],
];

const flags: readonly Row[] = [
  ['clc', 'Clear Carry Flag', 'CF := 0.'],
  ['stc', 'Set Carry Flag', 'CF := 1.'],
  ['cmc', 'Complement Carry Flag', 'CF := NOT CF.'],
  ['cld', 'Clear Direction Flag', 'DF := 0: string instructions go upwards.'],
  ['std', 'Set Direction Flag', 'DF := 1: string instructions go downwards.'],
  ['cli', 'Clear Interrupt Flag', 'IF := 0: maskable interrupts wait.'],
  ['sti', 'Set Interrupt Flag', 'IF := 1; interrupts are recognised after the next instruction.'],
  ['clac', 'Clear AC Flag in RFLAGS Register', 'AC := 0: with SMAP, the supervisor may not access user pages.'],
  ['stac', 'Set AC Flag in RFLAGS Register', 'AC := 1: with SMAP, the supervisor may access user pages.'],
  ['lahf', 'Load Status Flags Into AH Register', 'Copies SF, ZF, AF, PF, CF to AH.'],
  ['sahf', 'Store AH Into Flags', 'Copies AH to SF, ZF, AF, PF, CF.'],
  [
    'pushf pushfd pushfq',
    'Push RFLAGS Register Onto the Stack',
    'Pushes the flags, VM and RF as 0.',
    '#SS(0) if the stack has no room',
  ],
  [
    'popf popfd popfq',
    'Pop Stack Into RFLAGS Register',
    'Pops the flags; which ones change depends on CPL and IOPL.',
    '#SS(0) outside the stack segment',
  ],
  ['salc', 'Set AL If Carry', 'AL := CF ? FFH : 0 (undocumented).', '#UD in 64-bit mode'],
];

const system: readonly Row[] = [
  ['in', 'Input From Port', 'Reads an I/O port into AL, AX or EAX.'],
  ['out', 'Output to Port', 'Writes AL, AX or EAX to an I/O port.'],
  ['cpuid', 'CPU Identification', 'Describes the processor: leaf EAX, subleaf ECX, into EAX, EBX, ECX, EDX.'],
  ['rdtsc', 'Read Time-Stamp Counter', 'EDX:EAX := time-stamp counter.'],
  ['rdtscp', 'Read Time-Stamp Counter and Processor ID', 'EDX:EAX := time-stamp counter, ECX := IA32_TSC_AUX.'],
  [
    'rdpmc',
    'Read Performance-Monitoring Counters',
    'EDX:EAX := the counter ECX.',
    '#GP(0) if there is no such counter',
  ],
  ['rdpid', 'Read Processor ID', 'DEST := IA32_TSC_AUX.'],
  ['rdmsr', 'Read From Model Specific Register', 'EDX:EAX := MSR[ECX].', '#GP(0) if there is no such MSR'],
  [
    'wrmsr wrmsrns',
    'Write to Model Specific Register',
    'MSR[ECX] := EDX:EAX.',
    '#GP(0) if there is no such MSR or a reserved bit is set',
  ],
  ['rdrand', 'Read Random Number', 'DEST := a random number; CF tells whether there was one.'],
  ['rdseed', 'Read Random SEED', 'DEST := a random seed; CF tells whether there was one.'],
  [
    'rdfsbase rdgsbase',
    'Read FS/GS Segment Base',
    'DEST := the base of FS or GS.',
    '#UD if CR4.FSGSBASE = 0 or outside 64-bit mode',
  ],
  [
    'wrfsbase wrgsbase',
    'Write FS/GS Segment Base',
    'The base of FS or GS := SRC.',
    '#UD if CR4.FSGSBASE = 0 or outside 64-bit mode',
    '#GP(0) if the address is not canonical',
  ],
  ['swapgs', 'Swap GS Base Register', 'Exchanges GS.base and IA32_KERNEL_GS_BASE.', '#UD outside 64-bit mode'],
  [
    'lgdt',
    'Load Global Descriptor Table Register',
    'GDTR := limit and base from memory.',
    '#GP(0) if the base is not canonical',
  ],
  [
    'lidt',
    'Load Interrupt Descriptor Table Register',
    'IDTR := limit and base from memory.',
    '#GP(0) if the base is not canonical',
  ],
  ['sgdt', 'Store Global Descriptor Table Register', 'Stores GDTR: limit (2 bytes), then base.'],
  ['sidt', 'Store Interrupt Descriptor Table Register', 'Stores IDTR: limit (2 bytes), then base.'],
  [
    'lldt',
    'Load Local Descriptor Table Register',
    'LDTR := the descriptor of a selector.',
    '#GP(selector) if it is no LDT in the GDT',
    '#NP(selector) if it is not present',
  ],
  ['sldt', 'Store Local Descriptor Table Register', 'DEST := the selector in LDTR.'],
  [
    'ltr',
    'Load Task Register',
    'TR := the descriptor of a selector, which becomes busy.',
    '#GP(selector) if it is no available TSS in the GDT',
    '#NP(selector) if it is not present',
  ],
  ['str', 'Store Task Register', 'DEST := the selector in TR.'],
  [
    'lar',
    'Load Access Rights Byte',
    'DEST := the access rights of a descriptor; ZF tells whether it may be seen.',
    '#UD in real mode',
  ],
  ['lsl', 'Load Segment Limit', 'DEST := the limit of a segment; ZF tells whether it may be seen.', '#UD in real mode'],
  ['verr', 'Verify a Segment for Reading', 'ZF := the segment can be read from CPL and RPL.', '#UD in real mode'],
  ['verw', 'Verify a Segment for Writing', 'ZF := the segment can be written from CPL and RPL.', '#UD in real mode'],
  [
    'arpl',
    'Adjust RPL Field of Segment Selector',
    'Raises the RPL of the destination to that of the source; ZF tells whether it did.',
    '#UD in real mode',
  ],
  ['clts', 'Clear Task-Switched Flag in CR0', 'CR0.TS := 0.'],
  ['lmsw', 'Load Machine Status Word', 'Bits 3:0 of CR0 := SRC (PE cannot be cleared).'],
  ['smsw', 'Store Machine Status Word', 'DEST := the low bits of CR0.'],
  ['hlt', 'Halt', 'Stops until an interrupt comes.'],
  [
    'invlpg',
    'Invalidate TLB Entries',
    'Drops the translations of the page that an address lies in.',
    '#UD if the operand is a register',
  ],
  [
    'invpcid',
    'Invalidate Process-Context Identifier',
    'Drops translations by type and PCID.',
    '#GP(0) if the type or the descriptor is not valid',
  ],
  ['invd', 'Invalidate Internal Caches', 'Empties the caches without writing them back.'],
  ['wbinvd wbnoinvd', 'Write Back and Invalidate Cache', 'Writes the caches back; WBINVD empties them too.'],
  [
    'clflush clflushopt clwb cldemote',
    'Flush Cache Line',
    'Writes a cache line back; CLFLUSH and CLFLUSHOPT drop it too.',
  ],
  ['lfence', 'Load Fence', 'Completes earlier instructions before later ones start.'],
  ['mfence', 'Memory Fence', 'Orders all loads and stores before it with those after it.'],
  ['sfence', 'Store Fence', 'Orders all stores before it with those after it.'],
  ['serialize', 'Serialize Instruction Execution', 'Completes everything before it.'],
  ['monitor', 'Set Up Monitor Address', 'Arms the monitor of the address in RAX.', '#GP(0) if ECX ≠ 0'],
  [
    'mwait',
    'Monitor Wait',
    'Waits for a write to the monitored address or an interrupt.',
    '#GP(0) if ECX has a bit that is not supported',
  ],
  ['umonitor', 'User Level Set Up Monitor Address', 'Arms the monitor of an address.'],
  ['umwait', 'User Level Monitor Wait', 'Waits for a write to the monitored address, until a time.'],
  ['tpause', 'Timed PAUSE', 'Waits until a time.'],
  ['xgetbv', 'Get Value of Extended Control Register', 'EDX:EAX := XCR[ECX].', '#GP(0) if there is no such register'],
  ['xsetbv', 'Set Extended Control Register', 'XCR[ECX] := EDX:EAX.', '#GP(0) if the value is not valid'],
  [
    'xsave xsave64 xsaveopt xsaveopt64 xsavec xsavec64 xsaves xsaves64',
    'Save Processor Extended States',
    'Stores the states that XCR0 (or IA32_XSS) and EDX:EAX select.',
    '#GP(0) if the area is not aligned to 64 bytes',
    '#NM if CR0.TS = 1',
  ],
  [
    'xrstor xrstor64 xrstors xrstors64',
    'Restore Processor Extended States',
    'Loads the states that XCR0 (or IA32_XSS) and EDX:EAX select.',
    '#GP(0) if the area is not aligned or not valid',
    '#NM if CR0.TS = 1',
  ],
  [
    'fxsave fxsave64',
    'Save x87 FPU, MMX Technology, and SSE State',
    'Stores 512 bytes of state.',
    '#GP(0) if the area is not aligned to 16 bytes',
    '#NM if CR0.TS = 1 or CR0.EM = 1',
  ],
  [
    'fxrstor fxrstor64',
    'Restore x87 FPU, MMX, XMM, and MXCSR State',
    'Loads 512 bytes of state.',
    '#GP(0) if the area is not aligned to 16 bytes',
    '#NM if CR0.TS = 1 or CR0.EM = 1',
  ],
  [
    'fninit',
    'Initialize Floating-Point Unit',
    'Sets the x87 FPU to its initial state.',
    '#NM if CR0.TS = 1 or CR0.EM = 1',
  ],
  ['rdpkru', 'Read Protection Key Rights for User Pages', 'EAX := PKRU.', '#UD if CR4.PKE = 0', '#GP(0) if ECX ≠ 0'],
  [
    'wrpkru',
    'Write Data to User Page Key Register',
    'PKRU := EAX.',
    '#UD if CR4.PKE = 0',
    '#GP(0) if ECX ≠ 0 or EDX ≠ 0',
  ],
  [
    'rsm',
    'Resume From System Management Mode',
    'Returns from system-management mode.',
    '#UD outside system-management mode',
  ],
  ['getsec', 'Safer Mode Extensions', 'Executes the safer-mode function EAX.', '#UD if CR4.SMXE = 0'],
  ['encls', 'Execute an Enclave System Function', 'Executes the supervisor function EAX of SGX.'],
  ['enclu', 'Execute an Enclave User Function', 'Executes the user function EAX of SGX.'],
  [
    'prefetcht0 prefetcht1 prefetcht2 prefetchnta prefetchw',
    'Prefetch Data Into Caches',
    'Hints that memory will be used; never faults.',
  ],
];

const noSvm = '#UD without EFER.SVME';
const vmFail = 'VMfailInvalid (CF = 1) without a current VMCS, VMfailValid (ZF = 1) with an error number else';

const vmx: readonly Row[] = [
  [
    'vmxon',
    'Enter VMX Operation',
    'Enters VMX root operation with the VMXON region whose physical address is in memory.',
    '#UD if CR4.VMXE = 0',
    '#GP(0) if IA32_FEATURE_CONTROL, CR0 or CR4 do not permit VMX',
    'VMfailInvalid (CF = 1) if the region is misaligned or its revision wrong',
  ],
  ['vmxoff', 'Leave VMX Operation', 'Leaves VMX operation.', '#UD outside VMX operation', vmFail],
  [
    'vmclear',
    'Clear Virtual-Machine Control Structure',
    'Writes the VMCS at a physical address back and sets its launch state to “clear”.',
    '#UD outside VMX operation',
    vmFail,
  ],
  [
    'vmptrld',
    'Load Pointer to Virtual-Machine Control Structure',
    'Makes the VMCS at a physical address current.',
    '#UD outside VMX operation',
    vmFail,
  ],
  [
    'vmptrst',
    'Store Pointer to Virtual-Machine Control Structure',
    'Stores the physical address of the current VMCS; all ones if there is none.',
    '#UD outside VMX operation',
  ],
  [
    'vmread',
    'Read Field from Virtual-Machine Control Structure',
    'DEST := the field of the current VMCS whose encoding is in SRC.',
    '#UD outside VMX operation',
    vmFail,
  ],
  [
    'vmwrite',
    'Write Field to Virtual-Machine Control Structure',
    'The field of the current VMCS whose encoding is in the register := SRC.',
    '#UD outside VMX operation',
    vmFail,
  ],
  [
    'vmlaunch',
    'Launch Virtual Machine',
    'Enters the guest of the current VMCS, whose launch state must be “clear”.',
    '#UD outside VMX operation',
    vmFail,
    'VM exit with reason 33 or 34 if the guest state is not valid',
  ],
  [
    'vmresume',
    'Resume Virtual Machine',
    'Enters the guest of the current VMCS, whose launch state must be “launched”.',
    '#UD outside VMX operation',
    vmFail,
    'VM exit with reason 33 or 34 if the guest state is not valid',
  ],
  [
    'vmcall',
    'Call to VM Monitor',
    'Calls the hypervisor: a VM exit with reason 18.',
    '#UD outside VMX operation',
    vmFail,
  ],
  [
    'vmfunc',
    'Invoke VM Function',
    'Executes the VM function EAX without a VM exit.',
    '#UD outside VMX non-root operation',
  ],
  ['vmrun', 'Run Virtual Machine', 'Enters the guest of the VMCB at RAX; goes on behind it after the #VMEXIT.', noSvm],
  ['vmmcall', 'Call VMM', 'Calls the hypervisor: a #VMEXIT with code 81H, if it is intercepted.', noSvm],
  ['vmload', 'Load State from VMCB', 'Loads FS, GS, TR, LDTR and MSRs of system calls from the VMCB at RAX.', noSvm],
  ['vmsave', 'Save State to VMCB', 'Stores FS, GS, TR, LDTR and MSRs of system calls in the VMCB at RAX.', noSvm],
  ['stgi', 'Set Global Interrupt Flag', 'Lets interrupts through again: GIF := 1.', noSvm],
  ['clgi', 'Clear Global Interrupt Flag', 'Holds all interrupts, NMI and INIT too: GIF := 0.', noSvm],
  ['invlpga', 'Invalidate TLB Entry in a Specified ASID', 'Drops the translation of RAX for the ASID in ECX.', noSvm],
  ['skinit', 'Secure Init and Jump with Attestation', 'Starts a secure loader at EAX.', noSvm],
  [
    'invept',
    'Invalidate Translations Derived from EPT',
    'Drops guest-physical and combined translations, by type and EPT pointer.',
    '#UD outside VMX operation',
    vmFail,
  ],
  [
    'invvpid',
    'Invalidate Translations Based on VPID',
    'Drops linear and combined translations, by type and VPID.',
    '#UD outside VMX operation',
    vmFail,
  ],
];

function build(): Map<string, InstructionTitle> {
  const titles = new Map<string, InstructionTitle>();
  for (const [mnemonics, title, does, ...faults] of [
    dataTransfer,
    arithmetic,
    logic,
    bits,
    control,
    strings,
    flags,
    system,
    vmx,
  ].flat()) {
    for (const mnemonic of mnemonics.split(' ')) titles.set(mnemonic, { title, does, faults });
  }
  const target = ['#GP(0) if the target is outside the code segment or not canonical'];
  for (const { name, means, flags: test } of conditions) {
    titles.set(`j${name}`, { title: `Jump if ${means}`, does: `Continues at the target if ${test}.`, faults: target });
    titles.set(`set${name}`, { title: `Set Byte if ${means}`, does: `DEST := 1 if ${test}, else 0.`, faults: [] });
    titles.set(`cmov${name}`, {
      title: `Conditional Move if ${means}`,
      does: `Copies the source if ${test}; a 32-bit destination is zero-extended in any case.`,
      faults: [],
    });
  }
  return titles;
}

/** By mnemonic as iced-x86 names it, in lower case. */
export const instructionTitles: ReadonlyMap<string, InstructionTitle> = build();
