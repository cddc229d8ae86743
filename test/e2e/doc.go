// Package e2e tests on the test bed what users of the cluster rely on: Pods, Jobs
// and Tekton's runs that have the annotation outrigger.dev/pool, and those that
// have none. Each test works in a namespace of its own and leaves nothing behind:
// no claim, no bound machine, no process on a machine.
//
//	KUBECONFIG             the test bed, with Outrigger installed
//	OUTRIGGER_E2E_KUBECTL  the program (default kubectl)
//	OUTRIGGER_E2E_POOL     a pool of Linux machines that are processes of this computer (default hosts)
package e2e
