#include "rt.h"
/* Checks REP MOVSB, forwards and backwards, overlapping or not, against a byte loop; the checksum is the number of
   cases that differ. d= and len= thin the cases out: the step from one distance, or short length, to the next. */
static u8 a[8192] __attribute__((aligned(4096))), b[8192] __attribute__((aligned(4096)));
static void fill(u8*p){ u32 r=1; for(int i=0;i<8192;i++){ r=r*1664525u+1013904223u; p[i]=r>>24; } }
void bench_main(void){ ulong bad=0, n=0; int ds=arg("d",1), ls=arg("len",1);
 mark_begin("repmov");
 for(int len=1;len<300;len+= (len<70?ls:17*ls)) for(int d=-80;d<=80;d+=ds) for(int base=1900;base<2300;base+=133) for(int dir=0;dir<2;dir++){
  fill(a); fill(b); u8*s=a+2048+base, *t=s+d; u8*s2=b+2048+base,*t2=s2+d; 
  if(!dir){ void*D=t; const void*S=s; ulong c=len; __asm__ volatile("cld; rep movsb":"+D"(D),"+S"(S),"+c"(c)::"memory"); for(int i=0;i<len;i++){ t2[i]=s2[i]; __asm__ volatile("":::"memory"); } }
  else { void*D=t+len-1; const void*S=s+len-1; ulong c=len; __asm__ volatile("std; rep movsb; cld":"+D"(D),"+S"(S),"+c"(c)::"memory"); for(int i=len-1;i>=0;i--){ t2[i]=s2[i]; __asm__ volatile("":::"memory"); } }
  n++; for(int i=0;i<8192;i++) if(a[i]!=b[i]){ bad++; break; } }
 mark_end("repmov",n,bad); }
