#pragma once

namespace warpgauge {

// c[i] = a[i] + b[i] over n doubles; parameters (u64 a, u64 b, u64 c, u64 n), device addresses. A
// 64-bit grid-stride loop: any grid computes all of it.
//
// Written by hand and kept at the oldest version and target that every supported driver accepts: a
// newer .version is error 222 on an older driver, a newer .target is refused by older devices, and
// nvcc 13 emits .version 9.0, which only drivers of 13.x load. ptx_test assembles it for every
// target its ptxas knows.
inline constexpr char kVectorAddName[] = "warpgauge_vector_add";
inline constexpr char kVectorAddPtx[] = R"ptx(
.version 6.0
.target sm_50
.address_size 64

.visible .entry warpgauge_vector_add(
    .param .u64 param_a,
    .param .u64 param_b,
    .param .u64 param_c,
    .param .u64 param_n
)
{
    .reg .pred  %done, %more;
    .reg .b32   %cta, %ctas, %threads, %thread;
    .reg .b64   %a, %b, %c, %n, %i, %step, %offset, %at_a, %at_b, %at_c, %wide;
    .reg .f64   %x, %y, %sum;

    ld.param.u64        %a, [param_a];
    ld.param.u64        %b, [param_b];
    ld.param.u64        %c, [param_c];
    ld.param.u64        %n, [param_n];
    cvta.to.global.u64  %a, %a;
    cvta.to.global.u64  %b, %b;
    cvta.to.global.u64  %c, %c;

    mov.u32             %cta, %ctaid.x;
    mov.u32             %ctas, %nctaid.x;
    mov.u32             %threads, %ntid.x;
    mov.u32             %thread, %tid.x;
    mul.wide.u32        %i, %cta, %threads;
    cvt.u64.u32         %wide, %thread;
    add.u64             %i, %i, %wide;
    mul.wide.u32        %step, %ctas, %threads;

    setp.ge.u64         %done, %i, %n;
    @%done bra          finish;
again:
    shl.b64             %offset, %i, 3;
    add.u64             %at_a, %a, %offset;
    add.u64             %at_b, %b, %offset;
    add.u64             %at_c, %c, %offset;
    ld.global.f64       %x, [%at_a];
    ld.global.f64       %y, [%at_b];
    add.rn.f64          %sum, %x, %y;
    st.global.f64       [%at_c], %sum;
    add.u64             %i, %i, %step;
    setp.lt.u64         %more, %i, %n;
    @%more bra          again;
finish:
    ret;
}
)ptx";

}  // namespace warpgauge
