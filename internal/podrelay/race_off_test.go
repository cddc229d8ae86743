//go:build linux && !race

package podrelay_test

// raceFlags builds the agent as these tests are built: as it is delivered.
var raceFlags []string
