//go:build linux

package ready_test

import (
	"slices"
	"testing"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/prepare"
)

// The conditions of the API are the steps of the plans: nobody translates between them.
func TestConditionsAreTheSteps(t *testing.T) {
	api := []string{
		v1alpha1.MachineSlotUser, v1alpha1.MachineKeyLogin, v1alpha1.MachineRootAccess, v1alpha1.MachinePasswordOff, v1alpha1.MachineDisk, v1alpha1.MachineClock,
		v1alpha1.MachineRootLinker, v1alpha1.MachineKeepAwake, v1alpha1.MachineConsoleUser, v1alpha1.MachineAquaSession, v1alpha1.MachineBuildKeychain,
	}
	var steps []string
	for _, os := range []string{"darwin", "linux", "windows"} {
		for _, s := range prepare.Plan(os) {
			if !slices.Contains(steps, string(s.Condition)) {
				steps = append(steps, string(s.Condition))
			}
		}
	}
	slices.Sort(api)
	slices.Sort(steps)
	if !slices.Equal(api, steps) {
		t.Errorf("the API has %v, the plans have %v", api, steps)
	}
}
