/** Cases written by hand: faults, and the state they leave behind. */
import { DATA_ADDRESS, DATA_BYTES, FIXED_FLAGS, type Mode } from '../layout.ts';
import { initialState, type MachineState } from '../read-vectors.ts';

export interface FaultCase {
  name: string;
  bytes: Uint8Array;
  input: MachineState;
}

const GPR = 'ax cx dx bx sp bp si di r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const UNMAPPED = 0x25_0010n;
const END = BigInt(DATA_ADDRESS + DATA_BYTES);
const NON_CANONICAL = 0x0000_8000_0000_0000n;

type Registers = Record<string, bigint>;
type Row = [name: string, hexBytes: string, registers?: Registers];

function toCase(mode: Mode, [name, hexBytes, registers = {}]: Row): FaultCase {
  const input = { ...initialState(mode), flags: FIXED_FLAGS | 0x8d5 };
  for (const [register, value] of Object.entries(registers)) input.gpr[GPR.indexOf(register)] = value;
  return {
    name,
    bytes: Uint8Array.from(Buffer.from(hexBytes.replaceAll(' ', ''), 'hex')),
    input,
  };
}

/** Rows that hold in 32- and in 64-bit mode. */
const FLAT_ROWS: Row[] = [
  ['PageFault_read', '8b 03', { bx: UNMAPPED }],
  ['PageFault_write', '89 03', { bx: UNMAPPED }],
  ['PageFault_read_modify_write', '01 03', { bx: UNMAPPED }],
  ['PageFault_compare_only_reads', '39 03', { bx: UNMAPPED }],
  ['PageFault_exchange_writes', '87 03', { bx: UNMAPPED }],
  ['PageFault_compare_exchange_writes', '0f b1 0b', { bx: UNMAPPED }],
  ['PageFault_exchange_add', '0f c1 0b', { bx: UNMAPPED }],
  ['PageFault_bit_test_reads', '0f a3 0b', { bx: UNMAPPED, cx: 5n }],
  ['PageFault_bit_set_writes', '0f ab 0b', { bx: UNMAPPED, cx: 5n }],
  ['PageFault_set_byte', '0f 94 03', { bx: UNMAPPED }],
  ['PageFault_conditional_move_reads_though_false', '0f 45 03', { bx: UNMAPPED }],
  ['PageFault_divide_reads_first', 'f7 33', { bx: UNMAPPED }],
  ['PageFault_read_across_the_last_page', '8b 03', { bx: END - 2n }],
  ['PageFault_write_across_the_last_page_writes_nothing', '89 03', { bx: END - 1n }],
  ['PageFault_push_from_unmapped', 'ff 33', { bx: UNMAPPED }],
  ['PageFault_push_to_unmapped', '50', { sp: UNMAPPED }],
  ['PageFault_push_flags', '9c', { sp: UNMAPPED }],
  ['PageFault_pop_to_unmapped_keeps_the_stack_pointer', '8f 03', { bx: UNMAPPED }],
  ['PageFault_pop_from_unmapped', '58', { sp: UNMAPPED }],
  ['PageFault_call_pushes_to_unmapped', 'e8 20 00 00 00', { sp: UNMAPPED }],
  ['PageFault_return_from_unmapped', 'c3', { sp: UNMAPPED }],
  ['PageFault_leave', 'c9', { bp: UNMAPPED }],
  ['PageFault_enter', 'c8 10 00 00', { sp: UNMAPPED }],
  ['PageFault_translate', 'd7', { bx: UNMAPPED }],
  ['PageFault_rep_movsb_destination_ends', 'f3 a4', { si: BigInt(DATA_ADDRESS + 0x100), di: END - 5n, cx: 9n }],
  ['PageFault_rep_movsb_source_ends', 'f3 a4', { si: END - 3n, di: BigInt(DATA_ADDRESS + 0x100), cx: 9n }],
  ['PageFault_rep_movsd_element_crosses', 'f3 a5', { si: BigInt(DATA_ADDRESS + 0x100), di: END - 10n, cx: 9n }],
  ['PageFault_rep_stosd_element_crosses', 'f3 ab', { di: END - 14n, cx: 9n }],
  ['PageFault_rep_lodsb_source_ends', 'f3 ac', { si: END - 3n, cx: 9n }],
  ['PageFault_movsb_writes', 'a4', { si: BigInt(DATA_ADDRESS), di: UNMAPPED }],
  ['PageFault_movsb_reads', 'a4', { si: UNMAPPED, di: BigInt(DATA_ADDRESS) }],
  ['NoFault_rep_movsb_of_nothing', 'f3 a4', { si: UNMAPPED, di: UNMAPPED, cx: 0n }],
  ['NoFault_lea_of_unmapped', '8d 03', { bx: UNMAPPED }],
  ['NoFault_nop_of_unmapped', '0f 1f 03', { bx: UNMAPPED }],
  ['PageFault_clflush_reads', '0f ae 3b', { bx: UNMAPPED }],
  ['PageFault_clflushopt_reads', '66 0f ae 3b', { bx: UNMAPPED }],
  ['PageFault_clwb_reads', '66 0f ae 33', { bx: UNMAPPED }],
  ['PageFault_movnti_writes', '0f c3 0b', { bx: UNMAPPED }],
  ['NoFault_prefetcht0_of_unmapped', '0f 18 0b', { bx: UNMAPPED }],
  ['NoFault_prefetchw_of_unmapped', '0f 0d 0b', { bx: UNMAPPED }],
  ['NoFault_cldemote_of_unmapped', '0f 1c 03', { bx: UNMAPPED }],
  ['InvalidOpcode_ud2', '0f 0b'],
  ['InvalidOpcode_lea_of_a_register', '8d c0'],
  ['InvalidOpcode_lock_on_a_register', 'f0 01 c8'],
  ['InvalidOpcode_lock_on_mov', 'f0 89 03', { bx: BigInt(DATA_ADDRESS) }],
  ['InvalidOpcode_lock_on_cmp', 'f0 39 03', { bx: BigInt(DATA_ADDRESS) }],
  ['InvalidOpcode_lock_on_nop', 'f0 90'],
  ['InvalidOpcode_mov_to_cs', '8e c8'],
  ['InvalidOpcode_mov_to_segment_6', '8e f0'],
  ['InvalidOpcode_cmpxchg8b_of_a_register', '0f c7 c8'],
  ['InvalidOpcode_fe_2', 'fe d0'],
  ['InvalidOpcode_ff_7', 'ff f8'],
  ['InvalidOpcode_bt_group_0', '0f ba c0 01'],
  ['GeneralProtection_16_bytes_long', '66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90'],
  ['DivideError_by_zero', 'f7 f1', { cx: 0n }],
  ['DivideError_most_negative_by_minus_1', 'f7 f9', { ax: 0x8000_0000n, dx: 0xffff_ffffn, cx: 0xffff_ffffn }],
];

const ROWS_64: Row[] = [
  ['GeneralProtection_non_canonical_read', '48 8b 03', { bx: NON_CANONICAL }],
  ['GeneralProtection_non_canonical_write', '48 89 03', { bx: 0xffff_7fff_ffff_fff8n }],
  ['GeneralProtection_end_is_non_canonical', '48 8b 03', { bx: NON_CANONICAL }],
  ['GeneralProtection_clflush_of_non_canonical', '0f ae 3b', { bx: NON_CANONICAL }],
  ['NoFault_prefetcht0_of_non_canonical', '0f 18 0b', { bx: NON_CANONICAL }],
  ['StackFault_non_canonical_through_rbp', '48 8b 45 00', { bp: NON_CANONICAL }],
  ['StackFault_non_canonical_through_rsp', '48 8b 04 24', { sp: NON_CANONICAL }],
  ['StackFault_push_non_canonical', '50', { sp: NON_CANONICAL + 0x100n }],
  ['StackFault_pop_non_canonical', '58', { sp: NON_CANONICAL + 0x100n }],
  ['StackFault_pop_to_memory_from_non_canonical', '8f 03', { bx: BigInt(DATA_ADDRESS), sp: NON_CANONICAL + 0x100n }],
  ['StackFault_push_memory_to_non_canonical', 'ff 33', { bx: BigInt(DATA_ADDRESS), sp: NON_CANONICAL + 0x100n }],
  ['GeneralProtection_push_non_canonical_memory', 'ff 33', { bx: NON_CANONICAL }],
  ['GeneralProtection_call_to_non_canonical', 'ff d3', { bx: NON_CANONICAL }],
  ['PageFault_call_to_non_canonical_pushes_first', 'ff d3', { bx: NON_CANONICAL, sp: UNMAPPED }],
  ['StackFault_call_to_non_canonical_pushes_first', 'ff d3', { bx: NON_CANONICAL, sp: NON_CANONICAL + 0x100n }],
  ['GeneralProtection_32_bytes_end_non_canonical', 'c5 fd d4 03', { bx: NON_CANONICAL - 28n }],
  ['GeneralProtection_32_bytes_written_end_non_canonical', 'c5 fc 11 03', { bx: NON_CANONICAL - 28n }],
  ['GeneralProtection_cmpxchg16b_not_aligned', '48 0f c7 0b', { bx: BigInt(DATA_ADDRESS + 8) }],
  ['InvalidOpcode_cmpxchg16b_of_a_register', '48 0f c7 c9'],
  ...'06 07 0e 16 17 1e 1f 27 2f 37 3f 60 61 ce d6'
    .split(' ')
    .map((opcode): Row => [`InvalidOpcode_${opcode}_in_64_bit_mode`, opcode]),
  ['InvalidOpcode_aam_in_64_bit_mode', 'd4 0a'],
  ['InvalidOpcode_aad_in_64_bit_mode', 'd5 0a'],
  ['InvalidOpcode_far_call_in_64_bit_mode', '9a 00 00 10 00 33 00'],
  ['InvalidOpcode_far_jump_in_64_bit_mode', 'ea 00 00 10 00 33 00'],
  ['InvalidOpcode_82_in_64_bit_mode', '82 c0 01'],
  ['NoFault_rex_before_a_prefix_is_ignored', '48 66 01 c8'],
  ['NoFault_repeated_rex', '48 40 01 c8'],
  ['NoFault_address_size_truncates', '67 8b 03', { bx: 0xdead_beef_0000_0000n + BigInt(DATA_ADDRESS) }],
];

const ROWS_32: Row[] = [
  ['GeneralProtection_32_bytes_end_beyond_the_limit', 'c5 fd d4 03', { bx: 0xffff_ffe4n }],
  ['GeneralProtection_32_bytes_written_end_beyond_the_limit', 'c5 fc 11 03', { bx: 0xffff_ffe4n }],
];

const PRIVILEGED: Row[] = [
  ['Hlt', 'f4'],
  ['Cli', 'fa'],
  ['Sti', 'fb'],
  ['In_AL_imm8', 'e4 10'],
  ['In_EAX_imm8', 'e5 10'],
  ['Out_imm8_AL', 'e6 10'],
  ['Out_imm8_EAX', 'e7 10'],
  ['In_AL_DX', 'ec'],
  ['In_EAX_DX', 'ed'],
  ['Out_DX_AL', 'ee'],
  ['Out_DX_EAX', 'ef'],
  ['Insb_m8_DX', '6c'],
  ['Insd_m32_DX', '6d'],
  ['Outsb_DX_m8', '6e'],
  ['Outsd_DX_m32', '6f'],
  ['Mov_r64_cr', '0f 20 c0'],
  ['Mov_cr_r64', '0f 22 c0'],
  ['Mov_r64_dr', '0f 21 c0'],
  ['Mov_dr_r64', '0f 23 c0'],
  ['Lgdt_m1664', '0f 01 13'],
  ['Lidt_m1664', '0f 01 1b'],
  ['Lldt_rm16', '0f 00 d0'],
  ['Ltr_rm16', '0f 00 d8'],
  ['Lmsw_rm16', '0f 01 f0'],
  ['Clts', '0f 06'],
  ['Invd', '0f 08'],
  ['Wbinvd', '0f 09'],
  ['Invlpg_m', '0f 01 3b'],
  ['Rdmsr', '0f 32'],
  ['Wrmsr', '0f 30'],
  ['Swapgs', '0f 01 f8'],
];

/** Offset 0xFFFF and beyond the limit: #GP, through SS #SS. */
const ROWS_16: Row[] = [
  ['GeneralProtection_word_at_ffff', '8b 07', { bx: 0xffffn }],
  ['GeneralProtection_word_write_at_ffff', '89 07', { bx: 0xffffn }],
  ['GeneralProtection_dword_at_fffd', '66 8b 07', { bx: 0xfffdn }],
  ['NoFault_byte_at_ffff', '8a 07', { bx: 0xffffn }],
  ['NoFault_dword_at_fffc', '66 8b 07', { bx: 0xfffcn }],
  ['StackFault_word_at_ffff_through_bp', '8b 46 00', { bp: 0xffffn }],
  ['GeneralProtection_word_at_ffff_through_bp_and_es', '26 8b 46 00', { bp: 0xffffn }],
  ['GeneralProtection_offset_above_64_KiB', '67 8b 03', { bx: 0x1_0000n }],
  ['StackFault_offset_above_64_KiB_through_ebp', '67 8b 45 00', { bp: 0x1_0000n }],
  ['GeneralProtection_jump_above_64_KiB', '66 ff e0', { ax: 0x1_0000n }],
  ['GeneralProtection_movsw_source_at_ffff', 'a5', { si: 0xffffn, di: 0x100n }],
  ['GeneralProtection_rep_stosw_reaches_ffff', 'f3 ab', { di: 0xfffbn, cx: 9n }],
  ['NoFault_rep_movsb_wraps', 'f3 a4', { si: 0xfffdn, di: 0x100n, cx: 9n }],
  ['NoFault_effective_address_wraps', '8b 40 20', { bx: 0xfff0n, si: 0xfff0n }],
  ['DivideError_by_zero', 'f7 f1', { cx: 0n }],
  ['InvalidOpcode_ud2', '0f 0b'],
  ['InvalidOpcode_lock_on_mov', 'f0 89 07', { bx: 0x100n }],
  ['InvalidOpcode_lea_of_a_register', '8d c0'],
  ['InvalidOpcode_mov_to_cs', '8e c8'],
  ['GeneralProtection_16_bytes_long', '66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90'],
];

/** Groups of hand-written cases of a mode. */
export function faultGroups(mode: Mode): Map<string, FaultCase[]> {
  const cases = (rows: Row[]) => rows.map((row) => toCase(mode, row));
  if (mode === 16) return new Map([['faults', cases(ROWS_16)]]);
  if (mode === 32) return new Map([['faults', cases([...FLAT_ROWS, ...ROWS_32])]]);
  return new Map([
    ['faults', cases([...FLAT_ROWS, ...ROWS_64])],
    ['privileged', cases(PRIVILEGED)],
  ]);
}
