//go:build linux

package podrelay_test

import (
	"path/filepath"
	"testing"
)

func TestACommandSeesItsVolumeAndChangesIt(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	c := p.container("main", view("v0", ws))
	c.plan.WorkDir = ws
	volume := c.mount("ws", ws)
	p.write(filepath.Join(volume, "in"), "hello\n")
	c.want("cat in; pwd; echo done > out; mkdir sub; echo x > sub/y", "hello\n"+ws+"\n")
	if got := p.read(filepath.Join(volume, "out")); got != "done\n" {
		t.Errorf("out is %q", got)
	}
	if got := p.read(filepath.Join(volume, "sub/y")); got != "x\n" {
		t.Errorf("sub/y is %q", got)
	}
	if got := c.sh("exit 7"); got != (result{7, "", ""}) {
		t.Errorf("exit 7: %+v", got)
	}
}
