package scenario

import (
	"os"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// disk mounts a small file system in memory.
func disk(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, len(args) == 2 || len(args) == 3 && args[2] == "noexec", "disk DIR SIZE [noexec]")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	var flags uintptr
	if len(args) == 3 {
		flags = syscall.MS_NOEXEC
	}
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", flags, "mode=0777,size="+args[1]))
	s := of(ts)
	// After the look for what is left, which must see what lies on it.
	s.tb.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.tb.Errorf("unmount %s: %v", dir, err)
		}
	})
}
