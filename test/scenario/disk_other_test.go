//go:build unix && !linux

package scenario

import "github.com/rogpeppe/go-internal/testscript"

func disk(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("disk: only on Linux") }
