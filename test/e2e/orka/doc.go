// Package orka tests on the test bed what users of an Orka cluster rely on: annotated Tasks and
// the Tasks of deploy/tekton on its VMs, with nothing configured but endpoint and token;
// directly, and through an outpost from a network that Pods cannot reach.
//
// The cluster is the program that users start, outrigger dev orka, beside the bed. Its VMs share
// this computer's root folder, so one is in use at a time, and the tests do not run at once. The
// second one gives the controller a hub, and takes it away again.
//
// Variables are those of package e2e.
package orka
