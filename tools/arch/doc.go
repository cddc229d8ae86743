// Package arch holds what the tree promises of itself, as tests: imports go
// down only (layers.txt), some packages never see some others (walls.go), every
// package says what it is for, and what each binary links and weighs is written
// down (deps, sizes.txt).
//
// After a change that is meant, `go test ./tools/arch -update` rewrites deps;
// the difference is then part of the commit and seen by who reviews it.
package arch
