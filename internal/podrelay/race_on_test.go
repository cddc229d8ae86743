//go:build linux && race

package podrelay_test

// raceFlags builds the agent as these tests are built.
var raceFlags = []string{"-race"}
