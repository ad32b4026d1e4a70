/**
 * Which function is the semantics of which SIMD floating-point instruction (see instruction-set.ts). A mnemonic stands for
 * its SSE encoding, and with a V before it, for those of AVX.
 */

import { LDMXCSR, STMXCSR } from './semantics/mxcsr.ts';
import * as approximation from './semantics/simd-float-approximation.ts';
import * as arithmetic from './semantics/simd-float-arithmetic.ts';
import * as comparison from './semantics/simd-float-compare.ts';
import * as conversion from './semantics/simd-float-conversion.ts';
import { fusedMultiplyAdd } from './semantics/simd-float-fma.ts';

const arithmeticInstructions = {
  Addps: arithmetic.ADDPS,
  Addpd: arithmetic.ADDPD,
  Addss: arithmetic.ADDSS,
  Addsd: arithmetic.ADDSD,
  Subps: arithmetic.SUBPS,
  Subpd: arithmetic.SUBPD,
  Subss: arithmetic.SUBSS,
  Subsd: arithmetic.SUBSD,
  Mulps: arithmetic.MULPS,
  Mulpd: arithmetic.MULPD,
  Mulss: arithmetic.MULSS,
  Mulsd: arithmetic.MULSD,
  Divps: arithmetic.DIVPS,
  Divpd: arithmetic.DIVPD,
  Divss: arithmetic.DIVSS,
  Divsd: arithmetic.DIVSD,
  Sqrtps: arithmetic.SQRTPS,
  Sqrtpd: arithmetic.SQRTPD,
  Sqrtss: arithmetic.SQRTSS,
  Sqrtsd: arithmetic.SQRTSD,
  Minps: arithmetic.MINPS,
  Minpd: arithmetic.MINPD,
  Minss: arithmetic.MINSS,
  Minsd: arithmetic.MINSD,
  Maxps: arithmetic.MAXPS,
  Maxpd: arithmetic.MAXPD,
  Maxss: arithmetic.MAXSS,
  Maxsd: arithmetic.MAXSD,
  Addsubps: arithmetic.ADDSUBPS,
  Addsubpd: arithmetic.ADDSUBPD,
  Haddps: arithmetic.HADDPS,
  Haddpd: arithmetic.HADDPD,
  Hsubps: arithmetic.HSUBPS,
  Hsubpd: arithmetic.HSUBPD,
  Dpps: arithmetic.DPPS,
  Dppd: arithmetic.DPPD,
  Rcpps: approximation.RCPPS,
  Rcpss: approximation.RCPSS,
  Rsqrtps: approximation.RSQRTPS,
  Rsqrtss: approximation.RSQRTSS,
};

const comparisons = {
  Cmpps: comparison.CMPPS,
  Cmppd: comparison.CMPPD,
  Cmpss: comparison.CMPSS,
  'Cmpsd xmm': comparison.CMPSD,
  Comiss: comparison.COMISS,
  Comisd: comparison.COMISD,
  Ucomiss: comparison.UCOMISS,
  Ucomisd: comparison.UCOMISD,
};

const conversions = {
  Cvtdq2ps: conversion.CVTDQ2PS,
  Cvtps2dq: conversion.CVTPS2DQ,
  Cvttps2dq: conversion.CVTTPS2DQ,
  Cvtdq2pd: conversion.CVTDQ2PD,
  Cvtpd2dq: conversion.CVTPD2DQ,
  Cvttpd2dq: conversion.CVTTPD2DQ,
  Cvtps2pd: conversion.CVTPS2PD,
  Cvtpd2ps: conversion.CVTPD2PS,
  Cvtpi2ps: conversion.CVTPI2PS,
  Cvtpi2pd: conversion.CVTPI2PD,
  Cvtps2pi: conversion.CVTPS2PI,
  Cvttps2pi: conversion.CVTTPS2PI,
  Cvtpd2pi: conversion.CVTPD2PI,
  Cvttpd2pi: conversion.CVTTPD2PI,
  Cvtsi2ss: conversion.CVTSI2SS,
  Cvtsi2sd: conversion.CVTSI2SD,
  Cvtss2si: conversion.CVTSS2SI,
  Cvtsd2si: conversion.CVTSD2SI,
  Cvttss2si: conversion.CVTTSS2SI,
  Cvttsd2si: conversion.CVTTSD2SI,
  Cvtss2sd: conversion.CVTSS2SD,
  Cvtsd2ss: conversion.CVTSD2SS,
  Roundps: conversion.ROUNDPS,
  Roundpd: conversion.ROUNDPD,
  Roundss: conversion.ROUNDSS,
  Roundsd: conversion.ROUNDSD,
};

/** Instructions of SSE to SSE4.1 that AVX has, too. */
export const floatingPointInstructions = {
  ...arithmeticInstructions,
  ...comparisons,
  ...conversions,
  Ldmxcsr: LDMXCSR,
  Stmxcsr: STMXCSR,
};

/** F16C and FMA, which have VEX encodings only. */
export const vexFloatingPointInstructions = {
  Vcvtph2ps: conversion.VCVTPH2PS,
  Vcvtps2ph: conversion.VCVTPS2PH,
  ...fusedMultiplyAdd,
};
