/**
 * Which function is the semantics of which vector instruction (see instruction-set.ts). A mnemonic stands for all its
 * encodings: MMX, SSE, and with a V before it, AVX.
 */
import { Mnemonic } from 'iced-x86';
import { vector } from '../expr/expr.ts';
import { floatingPointInstructions, vexFloatingPointInstructions } from './floating-point-instructions.ts';
import * as avx from './semantics/avx-permutes.ts';
import * as crypto from './semantics/cryptography.ts';
import { EMMS } from './semantics/mmx-state.ts';
import { CRC32, PCMPSTR } from './semantics/string-comparison.ts';
import * as arithmetic from './semantics/vector-arithmetic.ts';
import * as move from './semantics/vector-moves.ts';
import { combineHalves, lanewise } from './semantics/vector-operands.ts';
import { shift, shiftVariable } from './semantics/vector-shifts.ts';
import * as lanes from './semantics/vector-shuffles.ts';

const and = combineHalves((a, b) => a.and(b));
const andNot = combineHalves((a, b) => vector('v128.andnot', [b, a]));
const or = combineHalves((a, b) => a.or(b));
const xor = combineHalves((a, b) => a.xor(b));

const moves = {
  Movaps: move.MOVAPS,
  Movapd: move.MOVAPS,
  Movdqa: move.MOVAPS,
  Movntps: move.MOVAPS,
  Movntpd: move.MOVAPS,
  Movntdq: move.MOVAPS,
  Movntdqa: move.MOVAPS,
  Movups: move.MOVUPS,
  Movupd: move.MOVUPS,
  Movdqu: move.MOVUPS,
  Lddqu: move.MOVUPS,
  Movd: move.MOVD,
  Movq: move.MOVQ,
  Movntq: move.MOVQ,
  Movq2dq: lanes.MOVQ2DQ,
  Movdq2q: lanes.MOVQ2DQ,
  Movss: move.MOVSS,
  'Movsd xmm': move.MOVSD,
  Movlps: move.MOVLPS,
  Movlpd: move.MOVLPS,
  Movhps: move.MOVHPS,
  Movhpd: move.MOVHPS,
  Movlhps: move.MOVLHPS,
  Movhlps: move.MOVHLPS,
  Movddup: move.MOVDDUP,
  Movsldup: move.MOVSLDUP,
  Movshdup: move.MOVSHDUP,
  Movmskps: move.MOVMSK(32),
  Movmskpd: move.MOVMSK(64),
  Pmovmskb: move.MOVMSK(8),
};

const logic = {
  Pand: and,
  Pandn: andNot,
  Por: or,
  Pxor: xor,
  Andps: and,
  Andpd: and,
  Andnps: andNot,
  Andnpd: andNot,
  Orps: or,
  Orpd: or,
  Xorps: xor,
  Xorpd: xor,
  Ptest: avx.PTEST,
};

const laneArithmetic = {
  Paddb: lanewise('i8x16.add'),
  Paddw: lanewise('i16x8.add'),
  Paddd: lanewise('i32x4.add'),
  Paddq: lanewise('i64x2.add'),
  Paddsb: lanewise('i8x16.add_sat_s'),
  Paddsw: lanewise('i16x8.add_sat_s'),
  Paddusb: lanewise('i8x16.add_sat_u'),
  Paddusw: lanewise('i16x8.add_sat_u'),
  Psubb: lanewise('i8x16.sub'),
  Psubw: lanewise('i16x8.sub'),
  Psubd: lanewise('i32x4.sub'),
  Psubq: lanewise('i64x2.sub'),
  Psubsb: lanewise('i8x16.sub_sat_s'),
  Psubsw: lanewise('i16x8.sub_sat_s'),
  Psubusb: lanewise('i8x16.sub_sat_u'),
  Psubusw: lanewise('i16x8.sub_sat_u'),
  Pmullw: lanewise('i16x8.mul'),
  Pmulld: lanewise('i32x4.mul'),
  Pmaddwd: lanewise('i32x4.dot_i16x8_s'),
  Pavgb: lanewise('i8x16.avgr_u'),
  Pavgw: lanewise('i16x8.avgr_u'),
  Pminsb: lanewise('i8x16.min_s'),
  Pminub: lanewise('i8x16.min_u'),
  Pminsw: lanewise('i16x8.min_s'),
  Pminuw: lanewise('i16x8.min_u'),
  Pminsd: lanewise('i32x4.min_s'),
  Pminud: lanewise('i32x4.min_u'),
  Pmaxsb: lanewise('i8x16.max_s'),
  Pmaxub: lanewise('i8x16.max_u'),
  Pmaxsw: lanewise('i16x8.max_s'),
  Pmaxuw: lanewise('i16x8.max_u'),
  Pmaxsd: lanewise('i32x4.max_s'),
  Pmaxud: lanewise('i32x4.max_u'),
  Pcmpeqb: lanewise('i8x16.eq'),
  Pcmpeqw: lanewise('i16x8.eq'),
  Pcmpeqd: lanewise('i32x4.eq'),
  Pcmpeqq: lanewise('i64x2.eq'),
  Pcmpgtb: lanewise('i8x16.gt_s'),
  Pcmpgtw: lanewise('i16x8.gt_s'),
  Pcmpgtd: lanewise('i32x4.gt_s'),
  Pcmpgtq: lanewise('i64x2.gt_s'),
};

const otherArithmetic = {
  Pmulhw: arithmetic.PMULHW,
  Pmulhuw: arithmetic.PMULHUW,
  Pmulhrsw: arithmetic.PMULHRSW,
  Pmuludq: arithmetic.PMULUDQ,
  Pmuldq: arithmetic.PMULDQ,
  Pmaddubsw: arithmetic.PMADDUBSW,
  Psadbw: arithmetic.PSADBW,
  Mpsadbw: arithmetic.MPSADBW,
  Psignb: arithmetic.PSIGN(8),
  Psignw: arithmetic.PSIGN(16),
  Psignd: arithmetic.PSIGN(32),
  Pabsb: arithmetic.PABS(8),
  Pabsw: arithmetic.PABS(16),
  Pabsd: arithmetic.PABS(32),
  Phaddw: arithmetic.horizontal('i16x8.add'),
  Phaddd: arithmetic.horizontal('i32x4.add'),
  Phaddsw: arithmetic.horizontal('i16x8.add_sat_s'),
  Phsubw: arithmetic.horizontal('i16x8.sub'),
  Phsubd: arithmetic.horizontal('i32x4.sub'),
  Phsubsw: arithmetic.horizontal('i16x8.sub_sat_s'),
  Phminposuw: arithmetic.PHMINPOSUW,
};

const shifts = {
  Psllw: shift(16, 'left'),
  Pslld: shift(32, 'left'),
  Psllq: shift(64, 'left'),
  Psrlw: shift(16, 'right'),
  Psrld: shift(32, 'right'),
  Psrlq: shift(64, 'right'),
  Psraw: shift(16, 'right-signed'),
  Psrad: shift(32, 'right-signed'),
  Pslldq: lanes.PSLLDQ,
  Psrldq: lanes.PSRLDQ,
  Palignr: lanes.PALIGNR,
};

const shuffles = {
  Punpcklbw: lanes.unpack(8, 'low'),
  Punpcklwd: lanes.unpack(16, 'low'),
  Punpckldq: lanes.unpack(32, 'low'),
  Punpcklqdq: lanes.unpack(64, 'low'),
  Punpckhbw: lanes.unpack(8, 'high'),
  Punpckhwd: lanes.unpack(16, 'high'),
  Punpckhdq: lanes.unpack(32, 'high'),
  Punpckhqdq: lanes.unpack(64, 'high'),
  Unpcklps: lanes.unpack(32, 'low'),
  Unpcklpd: lanes.unpack(64, 'low'),
  Unpckhps: lanes.unpack(32, 'high'),
  Unpckhpd: lanes.unpack(64, 'high'),
  Packsswb: lanes.pack('i8x16.narrow_i16x8_s'),
  Packuswb: lanes.pack('i8x16.narrow_i16x8_u'),
  Packssdw: lanes.pack('i16x8.narrow_i32x4_s'),
  Packusdw: lanes.pack('i16x8.narrow_i32x4_u'),
  Pshufd: lanes.PSHUFD,
  Pshuflw: lanes.PSHUFLW,
  Pshufhw: lanes.PSHUFHW,
  Pshufw: lanes.PSHUFLW,
  Pshufb: lanes.PSHUFB,
  Shufps: lanes.SHUFPS,
  Shufpd: lanes.SHUFPD,
  Blendps: lanes.blend(32),
  Blendpd: lanes.blend(64),
  Pblendw: lanes.blend(16),
  Blendvps: lanes.blendVariable(32),
  Blendvpd: lanes.blendVariable(64),
  Pblendvb: lanes.blendVariable(8),
  Pinsrb: lanes.insert(8),
  Pinsrw: lanes.insert(16),
  Pinsrd: lanes.insert(32),
  Pinsrq: lanes.insert(64),
  Pextrb: lanes.extract(8),
  Pextrw: lanes.extract(16),
  Pextrd: lanes.extract(32),
  Pextrq: lanes.extract(64),
  Extractps: lanes.extract(32),
  Insertps: lanes.INSERTPS,
};

const extensions = {
  Pmovsxbw: lanes.extend(8, 16, 's'),
  Pmovsxbd: lanes.extend(8, 32, 's'),
  Pmovsxbq: lanes.extend(8, 64, 's'),
  Pmovsxwd: lanes.extend(16, 32, 's'),
  Pmovsxwq: lanes.extend(16, 64, 's'),
  Pmovsxdq: lanes.extend(32, 64, 's'),
  Pmovzxbw: lanes.extend(8, 16, 'u'),
  Pmovzxbd: lanes.extend(8, 32, 'u'),
  Pmovzxbq: lanes.extend(8, 64, 'u'),
  Pmovzxwd: lanes.extend(16, 32, 'u'),
  Pmovzxwq: lanes.extend(16, 64, 'u'),
  Pmovzxdq: lanes.extend(32, 64, 'u'),
};

const strings = {
  Pcmpistri: PCMPSTR('implicit', 'index'),
  Pcmpistrm: PCMPSTR('implicit', 'mask'),
  Pcmpestri: PCMPSTR(32, 'index'),
  Pcmpestrm: PCMPSTR(32, 'mask'),
  Pcmpestri64: PCMPSTR(64, 'index'),
  Pcmpestrm64: PCMPSTR(64, 'mask'),
  Crc32: CRC32,
};

const cryptography = {
  Aesenc: crypto.AESENC,
  Aesenclast: crypto.AESENCLAST,
  Aesdec: crypto.AESDEC,
  Aesdeclast: crypto.AESDECLAST,
  Aesimc: crypto.AESIMC,
  Aeskeygenassist: crypto.AESKEYGENASSIST,
  Pclmulqdq: crypto.PCLMULQDQ,
  Sha1rnds4: crypto.SHA1RNDS4,
  Sha1nexte: crypto.SHA1NEXTE,
  Sha1msg1: crypto.SHA1MSG1,
  Sha1msg2: crypto.SHA1MSG2,
  Sha256rnds2: crypto.SHA256RNDS2,
  Sha256msg1: crypto.SHA256MSG1,
  Sha256msg2: crypto.SHA256MSG2,
};

const onlyAvx = {
  Vperm2f128: avx.VPERM2F128,
  Vperm2i128: avx.VPERM2F128,
  Vinsertf128: avx.VINSERTF128,
  Vinserti128: avx.VINSERTF128,
  Vextractf128: avx.VEXTRACTF128,
  Vextracti128: avx.VEXTRACTF128,
  Vpermq: avx.VPERMQ,
  Vpermpd: avx.VPERMQ,
  Vpermd: avx.VPERMD,
  Vpermps: avx.VPERMD,
  Vpermilps: avx.VPERMILPS,
  'Vpermilps immediate': lanes.PSHUFD,
  Vpermilpd: avx.VPERMILPD,
  'Vpermilpd immediate': avx.VPERMILPD_IMMEDIATE,
  Vpblendd: lanes.blend(32),
  Vbroadcastss: avx.broadcast(32),
  Vbroadcastsd: avx.broadcast(64),
  Vbroadcastf128: avx.broadcast(128),
  Vbroadcasti128: avx.broadcast(128),
  Vpbroadcastb: avx.broadcast(8),
  Vpbroadcastw: avx.broadcast(16),
  Vpbroadcastd: avx.broadcast(32),
  Vpbroadcastq: avx.broadcast(64),
  Vpsllvd: shiftVariable(32, 'left'),
  Vpsllvq: shiftVariable(64, 'left'),
  Vpsrlvd: shiftVariable(32, 'right'),
  Vpsrlvq: shiftVariable(64, 'right'),
  Vpsravd: shiftVariable(32, 'right-signed'),
  Vtestps: avx.VTESTPS,
  Vtestpd: avx.VTESTPD,
  Vzeroupper: avx.VZEROUPPER,
  Vzeroall: avx.VZEROALL,
};

/** Without the V of AVX, which most of them exist with, too. */
const instructions: Readonly<Record<string, unknown>> = {
  ...moves,
  ...logic,
  ...laneArithmetic,
  ...otherArithmetic,
  ...shifts,
  ...shuffles,
  ...extensions,
  ...strings,
  ...cryptography,
  Emms: EMMS,
  ...floatingPointInstructions,
};

const withV = (mnemonic: string): string => `V${mnemonic.replace(' xmm', '').toLowerCase()}`;

/** By mnemonic, with and without V. */
export const vectorInstructions: Readonly<Record<string, unknown>> = {
  ...instructions,
  ...Object.fromEntries(
    Object.entries(instructions).flatMap(([mnemonic, semantics]) =>
      withV(mnemonic) in Mnemonic ? [[withV(mnemonic), semantics]] : [],
    ),
  ),
  ...onlyAvx,
  ...vexFloatingPointInstructions,
};
