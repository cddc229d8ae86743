package transfer

import (
	"fmt"
	"slices"
	"time"

	"outrigger.dev/outrigger/internal/worksync/tree"
)

// Progress is how far an operation has come.
type Progress struct {
	Files, Bytes int64 // moved so far
	// TotalFiles and TotalBytes are what there is to move; 0 as long as it is
	// not known, which during a first sync is until the folder has been walked.
	TotalFiles, TotalBytes int64
}

// A Report says what an operation did.
type Report struct {
	Files, Folders, Links int64 // written or made
	Deleted               int64
	Touched               int64 // only mode or modification time set
	Bytes                 int64 // content of the files written
	Sent, Received        int64 // bytes on the connection
	Duration              time.Duration
	Warnings              []string // one line each, to be shown to the user
	// Left are the paths that stayed as they are, for a reason of their own; of
	// more than 10,000 the rest is only counted. See [LeftFault].
	Left      []Left
	LeftCount int
	again     bool // something changed during the operation
}

// add takes in the report of the operation that repeats this one.
func (r *Report) add(o Report) {
	o.Files, o.Folders, o.Links = o.Files+r.Files, o.Folders+r.Folders, o.Links+r.Links
	o.Deleted, o.Touched, o.Bytes = o.Deleted+r.Deleted, o.Touched+r.Touched, o.Bytes+r.Bytes
	o.Sent, o.Received, o.Duration = o.Sent+r.Sent, o.Received+r.Received, o.Duration+r.Duration
	for _, w := range o.Warnings {
		if !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
	o.Warnings = r.Warnings
	*r = o
}

func (r *Report) warn(lines ...string) {
	for _, line := range lines {
		if len(r.Warnings) == maxWarnings {
			r.Warnings = append(r.Warnings, "further warnings are left out")
		}
		if len(r.Warnings) > maxWarnings {
			return
		}
		r.Warnings = append(r.Warnings, line)
	}
}

// passedOver warns of what cannot be carried.
func (r *Report) passedOver(n *tree.Node) {
	r.warn(fmt.Sprintf("%q: is a pipe, socket, device or the like; left out", n.Path))
}
