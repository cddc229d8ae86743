package progress

import (
	"fmt"
	"strings"
	"time"
)

// headings are the phases as people read them.
var headings = map[Phase]string{
	Create:   "create machine",
	Boot:     "boot",
	Deliver:  "deliver agent",
	SyncUp:   "sync up",
	Run:      "run",
	SyncBack: "sync back",
	Release:  "release machine",
	Build:    "build image",
	Clean:    "clean",
	Save:     "save image",
	Pull:     "pull image",
	Copy:     "copy",
	Collect:  "collect",
}

func heading(p Phase, subject string) string {
	h, ok := headings[p]
	if !ok {
		h = string(p)
	}
	if subject == "" {
		return h
	}
	return h + " " + subject
}

// finished is what stands behind a phase that is done.
func finished(summary string, start, now time.Time) string {
	took := since(start, now).String()
	if summary == "" {
		return took
	}
	return summary + ", " + took
}

// amount says how far, how fast and how long still: "12/214 files, 1.0/3.1 MB, 2.0 MB/s, 1s left".
func amount(a Amount, start, now time.Time) string {
	var parts []string
	switch {
	case a.FilesTotal > 0:
		parts = append(parts, fmt.Sprintf("%d/%d files", a.Files, a.FilesTotal))
	case a.Files > 0:
		parts = append(parts, fmt.Sprintf("%d files", a.Files))
	}
	switch {
	case a.BytesTotal > 0:
		parts = append(parts, Bytes(a.Bytes)+" of "+Bytes(a.BytesTotal))
	case a.Bytes > 0:
		parts = append(parts, Bytes(a.Bytes))
	}
	took := now.Sub(start)
	// A rate over less than half a second says more about buffers than about the link.
	if a.Bytes > 0 && took > time.Second/2 {
		rate := float64(a.Bytes) / took.Seconds()
		parts = append(parts, Bytes(int64(rate))+"/s")
		if left := a.BytesTotal - a.Bytes; left > 0 {
			eta := time.Duration(float64(left) / rate * float64(time.Second))
			parts = append(parts, max(eta.Round(time.Second), time.Second).String()+" left")
		}
	}
	if len(parts) == 0 {
		return since(start, now).String()
	}
	return strings.Join(parts, ", ")
}

// Bytes is n in decimal units, as disks and links are sold: "3.1 MB".
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 999.95 && unit < len(units)-1 {
		f /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %s", f, units[unit])
}

var units = [...]string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// Count is "1 file" or "3 files".
func Count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
