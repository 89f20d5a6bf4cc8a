"""Innermost loops in the text of a disassembler."""

from __future__ import annotations

from benchmarks import instructions

NESTED = """\
   10:\txor    %eax,%eax
   12:\tvmovdqu64 (%rsi),%zmm1
   18:\tvpdpbusd %zmm1,%zmm2,%zmm3
   1e:\tadd    $0x40,%rsi
   22:\tcmp    %rsi,%rdx
   25:\tjne    12 <f+0x2>
   27:\tadd    $0x1,%eax
   2a:\tjne    12 <f+0x2>
   2c:\tret
"""


def test_the_innermost_loop_and_its_products() -> None:
    (loop,) = instructions.innermost_loops(NESTED.splitlines())
    assert [line.split("\t")[1].split()[0] for line in loop] == ["vmovdqu64", "vpdpbusd", "add", "cmp", "jne"]
    vnni = next(target for target in instructions.X86 if target.kernel_set == "avx512vnni")
    assert instructions.products(loop, vnni) == 64
    assert instructions.products(loop, instructions.X86[0]) == 0


def test_conditional_jumps_of_arm() -> None:
    text = ["  0:\tsdot\tv0.4s, v1.16b, v2.16b", "  4:\tsubs\tx0, x0, #0x1", "  8:\tb.ne\t0 <f>  // b.any", "  c:\tret"]
    (loop,) = instructions.innermost_loops(text)
    assert len(loop) == 3
    dotprod = next(target for target in instructions.ARM if target.kernel_set == "neon-dotprod")
    assert instructions.products(loop, dotprod) == 16
