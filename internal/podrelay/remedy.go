package podrelay

import (
	"regexp"

	"outrigger.dev/outrigger/internal/fault"
)

// remedies are what the author of a Pod can do, where the table's advice is for the command line.
var remedies = map[fault.Kind]string{
	fault.Usage:       "Change the container's command.",
	fault.Config:      "Run it again; if it stays so, the controller and the relay's image are to be of one version.",
	fault.DiskFull:    "Free some space in the volume or on the machine, or leave out what need not be copied, with the annotation outrigger.dev/exclude.",
	fault.LocalFile:   "Mend the file's permissions in the volume, or leave it out with the annotation outrigger.dev/exclude.",
	fault.RemoteFile:  "Mend the file's permissions in the command, or leave it out with the annotation outrigger.dev/exclude.",
	fault.FileChanged: "Leave out what another container writes all the time, with the annotation outrigger.dev/exclude.",
	fault.BadName:     "Rename the files, or leave them out with the annotation outrigger.dev/exclude.",
	fault.Conflict:    "Let only one Pod at a time write these files, or leave them out with the annotation outrigger.dev/exclude.",
	fault.PathTaken:   "Mount the volume at a path that does not exist on the machine, or leave it out with the annotation outrigger.dev/sync.VOLUME: none",
	fault.PathsLeft:   "Mend the named paths, or leave them out with the annotation outrigger.dev/exclude.",
	fault.Unreachable: "Run it again: it gets another machine.",
	fault.BootTimeout: "Run it again: it gets another machine.",
	fault.MachineLost: "Run it again: it gets another machine.",
	fault.RunLost:     "Run it again: it gets another machine.",
	fault.HostKey:     "Run it again; if it stays so, ask who runs the pool whether the machine's host key has changed.",
	fault.AuthRefused: "Run it again; if it stays so, ask who runs the pool.",
	fault.AgentUnfit:  "Ask who runs the pool: the relay's image and the machines are to be of one version.",
	fault.TimedOut:    "Give it more time where the Task or the Pod limits it.",
	fault.Busy:        "Run it again.",
}

// ofCommandLine tells of words that only somebody at a command line can follow.
var ofCommandLine = regexp.MustCompile(`(^|\s)--[a-z]|\boutrigger [a-z]`)

// remedy is what can be done about an error, by somebody who has a Pod.
func remedy(err error) string {
	text := fault.Remedy(err)
	if better, ok := remedies[fault.Of(err)]; ok && (ofCommandLine.MatchString(text) || text == fault.Lookup(fault.Of(err)).Remedy) {
		return better
	}
	if ofCommandLine.MatchString(text) {
		return ""
	}
	return text
}
