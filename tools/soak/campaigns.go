package main

import (
	"fmt"
	"slices"
	"strings"
)

// A campaign is one test and how many seeds make a full soak of it.
type campaign struct {
	name, pkg, test string
	total, chunk    int
	// inside: what is tried runs in the test's own process, so that the race detector sees it. Elsewhere it would only
	// slow the test down.
	inside bool
}

// campaigns are what there is to try; docs/howto/soak.md says what each asserts.
var campaigns = []campaign{
	{"edits", "./internal/worksync/transfer", "TestRandomEditsAgainstModel", 1_000, 50, true},
	{"trees", "./internal/worksync/transfer", "TestRandomTrees", 1_000, 50, true},
	{"users", "./internal/worksync/transfer", "TestRandomTreesOfAUser", 1_000, 50, true},
	{"machines", "./internal/worksync/transfer", "TestRandomMachines", 5_000, 500, true},
	{"archives", "./internal/parcel", "TestRandomArchives", 5_000, 500, true},
	{"answers", "./test/answers", "TestRandomAnswers", 2_000, 100, false},
	{"cuts", "./internal/worksync/transfer", "TestCutAnywhere", 2_000, 50, true},
	{"pods", "./internal/admit", "TestRandomHostilePods", 1_000, 100, true},
	{"links", "./test/chaos", "TestBrokenConnections", 2_000, 24, false},
	{"kills", "./test/chaos", "TestKills", 8_000, 48, false},
	{"vms", "./test/chaos", "TestKilledVMs", 500, 4, false},
	{"relays", "./internal/podrelay", "TestKilledRelays", 500, 24, false},
	{"controllers", "./test/controlchaos", "TestKills", 20, 1, true},
}

func choose(only string) ([]campaign, error) {
	if only == "" {
		return campaigns, nil
	}
	var chosen []campaign
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(campaigns, func(c campaign) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no campaign %q: want some of %s", name, names())
		}
		chosen = append(chosen, campaigns[i])
	}
	return chosen, nil
}

func names() string {
	var all []string
	for _, c := range campaigns {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}
