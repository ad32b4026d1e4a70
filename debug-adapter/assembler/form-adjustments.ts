import { Code } from 'iced-x86';

/** Where NASM 2.16 departs from iced-x86's description of a form. */
export interface FormAdjustment {
  /** NASM has no such form, or uses another name for it. */
  readonly absent?: true;
  /** Overrides the rank of its encoding: 0 legacy, 2 VEX, 4 XOP, 6 EVEX; a form of a lower rank is preferred. */
  readonly rank?: number;
  readonly operandSize?: number;
  readonly noRexW?: true;
}

const ABSENT: FormAdjustment = { absent: true };
/** The operand is 16 bits whatever its register is called, so NASM writes no prefix. */
const UNSIZED: FormAdjustment = { operandSize: 0 };
const AFTER_VEX: FormAdjustment = { rank: 3 };
const AFTER_XOP: FormAdjustment = { rank: 5 };
const AFTER_EVEX: FormAdjustment = { rank: 7 };

const ADJUSTMENTS: ReadonlyMap<Code, FormAdjustment> = new Map([
  [Code.Movzx_r16_rm16, ABSENT],
  [Code.Movsx_r16_rm16, ABSENT],
  [Code.Movsxd_r16_rm16, ABSENT],
  [Code.Cmpxchg486_rm8_r8, ABSENT],
  [Code.Cmpxchg486_rm16_r16, ABSENT],
  [Code.Cmpxchg486_rm32_r32, ABSENT],
  [Code.Loadall286, ABSENT],
  [Code.Popw_CS, ABSENT],
  [Code.Lldt_rm16, UNSIZED],
  [Code.Ltr_rm16, UNSIZED],
  [Code.Verr_rm16, UNSIZED],
  [Code.Verw_rm16, UNSIZED],
  [Code.Lmsw_rm16, UNSIZED],
  [Code.Arpl_rm16_r16, UNSIZED],
  [Code.Sldt_r64m16, { noRexW: true }],
  [Code.Incsspd_r32, { operandSize: 32 }],
  [Code.Rdsspd_r32, { operandSize: 32 }],
  [Code.Wrssd_m32_r32, { operandSize: 32 }],
  [Code.Wrussd_m32_r32, { operandSize: 32 }],
  [Code.Rdshr_rm32, { operandSize: 32 }],
  [Code.Wrshr_rm32, { operandSize: 32 }],
  [Code.Invpcid_r64_m128, { operandSize: 64 }],
  [Code.XOP_Vpperm_xmm_xmm_xmmm128_xmm, AFTER_XOP],
  [Code.VEX_Vmovq_xmm_rm64, AFTER_VEX],
  [Code.VEX_Vmovq_rm64_xmm, AFTER_VEX],
  // Without {vex} NASM takes the EVEX forms of these.
  ...lateVexForms(),
]);

function lateVexForms(): [Code, FormAdjustment][] {
  return [
    Code.VEX_Vpdpbusd_xmm_xmm_xmmm128,
    Code.VEX_Vpdpbusd_ymm_ymm_ymmm256,
    Code.VEX_Vpdpbusds_xmm_xmm_xmmm128,
    Code.VEX_Vpdpbusds_ymm_ymm_ymmm256,
    Code.VEX_Vpdpwssd_xmm_xmm_xmmm128,
    Code.VEX_Vpdpwssd_ymm_ymm_ymmm256,
    Code.VEX_Vpdpwssds_xmm_xmm_xmmm128,
    Code.VEX_Vpdpwssds_ymm_ymm_ymmm256,
    Code.VEX_Vpmadd52luq_xmm_xmm_xmmm128,
    Code.VEX_Vpmadd52luq_ymm_ymm_ymmm256,
    Code.VEX_Vpmadd52huq_xmm_xmm_xmmm128,
    Code.VEX_Vpmadd52huq_ymm_ymm_ymmm256,
  ].map((code) => [code, AFTER_EVEX]);
}

export function adjustmentOf(code: Code): FormAdjustment | undefined {
  return ADJUSTMENTS.get(code);
}
