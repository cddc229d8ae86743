// Package version tells which build of Outrigger this is.
package version

import "runtime/debug"

// Version is set by the linker (-X) for releases; a build without it says "dev".
var Version = "dev"

// Revision is the VCS commit the binary was built from, or "" when the build did not record it.
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
