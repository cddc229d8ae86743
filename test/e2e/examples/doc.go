// Package examples runs Tekton's own examples twice, on the node and on a
// machine, and compares what a user can see of them: status, results, artifacts
// and the log of each step.
//
// The examples are those of the Tekton module that the test bed runs (test/kube).
// On the node their images are replaced by one with the tools that they call, as
// no registry is at hand. For the machine they get the annotation outrigger.dev/pool
// and nothing else, but that the images of sidecars, which stay on the node, are
// replaced as well. Objects with a generateName get a name, the same on both
// sides, so that names within logs and results compare without guesswork.
//
// expected.txt says of each example what is to come: same, different or cannot
// (run here). The test fails when the truth is another, either way.
package examples
