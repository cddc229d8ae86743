// Command bed is the test bed: a real Kubernetes of one node with a real Tekton on
// this computer, and machines beside it, from Go modules and Debian packages only.
//
//	bed up         bring it up; what is up already is left alone
//	bed hosts      the machines: Linux with an SSH server, and the pool of them
//	bed install    Outrigger, from bin/images
//	bed demo       a Pipeline one Task of which is on a virtual machine of QEMU
//	bed undemo     what demo made goes
//	bed status     what is there
//	bed down       stop everything; what the cluster knows is kept
//	bed wipe       down, and forget everything but what was built
//	bed capture    write Pods that Tekton made to internal/admit/testdata/tekton
//	bed env        print the variables by which a shell and the tests find it
//
// Every command may be interrupted at any moment and repeated. Nothing is written
// down about what runs: processes are found by a variable in their environment,
// links and mounts by their names, so a command that was killed leaves nothing
// that the next one does not see. docs/howto/test-bed.md is for its users.
package main
