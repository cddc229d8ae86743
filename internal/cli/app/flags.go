package app

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"outrigger.dev/outrigger/internal/config/strict"
)

// Flags are those that every command has.
type Flags struct {
	Config  string
	Quiet   bool
	Verbose int
	Output  Format
}

// A Format is how results are printed.
type Format string

// The formats.
const (
	Text Format = "text" // for people
	JSON Format = "json" // for scripts: names of fields stay as they are
)

// Add adds the flags to fs.
func (f *Flags) Add(fs *pflag.FlagSet) {
	fs.StringVar(&f.Config, "config", f.Config, "configuration `file` (default: see outrigger config path)")
	fs.BoolVarP(&f.Quiet, "quiet", "q", f.Quiet, "no progress on standard error")
	fs.CountVarP(&f.Verbose, "verbose", "v", "log to standard error, twice for details")
	fs.VarP(&f.Output, "output", "o", "`format` of results: text or json")
}

// Set implements [pflag.Value].
func (f *Format) Set(s string) error {
	switch Format(s) {
	case Text, JSON:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("want text or json")
}

// String implements [pflag.Value].
func (f *Format) String() string { return string(*f) }

// Type implements [pflag.Value].
func (f *Format) Type() string { return "format" }

// DidYouMean is a suggestion to append to "…: unknown", or what there is, or
// nothing when there is nothing.
func DidYouMean(word string, known []string) string {
	if near, ok := strict.Nearest(word, known); ok {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	const most = 10 // what fits a line
	if len(known) == 0 || len(known) > most {
		return ""
	}
	return ", there are: " + strings.Join(known, ", ")
}
