# ProcessPrng(buffer, length) for Wine 8, by what advapi32 calls SystemFunction036
# (RtlGenRandom), which takes the same arguments. The stack has room for the
# callee's four arguments and is aligned, as the calling convention wants.
	.text
	.globl ProcessPrng
ProcessPrng:
	subq	$40, %rsp
	call	SystemFunction036
	addq	$40, %rsp
	movl	$1, %eax
	ret
	.globl DllMain
DllMain:
	movl	$1, %eax
	ret
