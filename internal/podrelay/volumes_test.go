//go:build linux

package podrelay_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outrigger.dev/outrigger/internal/handoff"
)

func TestNestedMountsOfOtherViews(t *testing.T) {
	p := newPod(t)
	ws, cache, deep := p.at("workspace"), p.at("workspace/cache"), p.at("workspace/cache/a/b")
	c := p.container("main", view("v0", ws), view("v1", cache), view("v2", deep))
	outer, inner, innermost := c.mount("ws", ws), c.mount("cache", cache), c.mount("deep", deep)
	p.write(filepath.Join(outer, "f"), "outer")
	p.write(filepath.Join(inner, "f"), "inner")
	p.write(filepath.Join(innermost, "f"), "innermost")
	c.want("cd "+ws+"; cat f cache/f cache/a/b/f; echo 1 > new; echo 2 > cache/new; echo 3 > cache/a/b/new", "outerinnerinnermost")
	for dir, want := range map[string]string{outer: "1\n", inner: "2\n", innermost: "3\n"} {
		if got := p.read(filepath.Join(dir, "new")); got != want {
			t.Errorf("%s/new is %q, want %q", dir, got, want)
		}
	}
	if files, err := os.ReadDir(filepath.Join(outer, "cache")); err != nil || len(files) != 0 {
		t.Errorf("below the inner mount: %v, %v, want nothing", files, err)
	}
	// Again, with the links in place.
	c.want("cd "+ws+"; cat new cache/new cache/a/b/new; rm cache/new", "1\n2\n3\n")
	if _, err := os.Stat(filepath.Join(inner, "new")); !os.IsNotExist(err) {
		t.Errorf("cache/new: %v, want it to be gone", err)
	}
}

func TestAMountOfAFileIsWrittenInPlace(t *testing.T) {
	p := newPod(t)
	conf, ws := p.at("etc/conf"), p.at("workspace")
	c := p.container("main", view("v0", ws, conf))
	c.mount("ws", ws)
	source := filepath.Join(p.mkdir("files"), "conf")
	p.write(source, "before\n")
	c.file(source, conf)
	before, err := os.Stat(source)
	p.must(err)
	c.want("cat "+conf+"; echo after > "+conf, "before\n")
	after, err := os.Stat(source)
	p.must(err)
	if got := p.read(source); got != "after\n" || !os.SameFile(before, after) {
		t.Errorf("the file is %q, the same: %v", got, os.SameFile(before, after))
	}
	// One that is removed there stays here, and is there again the next time.
	c.want("rm $(readlink -f "+conf+")", "")
	c.want("cat "+conf, "after\n")
}

func TestAMountPointThatIsRemovedStaysAndIsEmptied(t *testing.T) {
	p := newPod(t)
	ws := p.at("a/workspace")
	c := p.container("main", view("v0", ws))
	volume := c.mount("ws", ws)
	p.write(filepath.Join(volume, "d/f"), "x")
	c.want("rm -r $(readlink -f "+ws+")", "")
	if files, err := os.ReadDir(volume); err != nil || len(files) != 0 {
		t.Errorf("in the volume: %v, %v, want nothing", files, err)
	}
	c.want("ls -A "+ws+"; echo x > "+ws+"/f", "")
	if got := p.read(filepath.Join(volume, "f")); got != "x\n" {
		t.Errorf("f is %q", got)
	}
}

func TestTheTerminationLog(t *testing.T) {
	p := newPod(t)
	log := p.at("termination-log")
	c := p.container("main")
	c.plan.TerminationLog = log
	source := filepath.Join(p.mkdir("files"), "log")
	p.write(source, "")
	c.file(source, log)
	if got := c.sh("echo why > " + log + "; exit 4"); got != (result{4, "", ""}) {
		t.Errorf("%+v", got)
	}
	if got := p.read(source); got != "why\n" {
		t.Errorf("the message is %q", got)
	}
	c.plan.TerminationLog = "/dev/termination-log" // the machine's /dev is not ours
	c.file(source, "/dev/termination-log")
	c.want("true", "")
}

func TestAReadOnlyMountOnlyGoesUp(t *testing.T) {
	p := newPod(t)
	data := p.at("data")
	v := view("v0", data)
	v.Up = true
	c := p.container("main", v)
	volume := c.mount("data", data)
	p.write(filepath.Join(volume, "f"), "x")
	p.must(syscall.Mount("", filepath.Join(c.root, data), "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	c.want("cat "+data+"/f; echo y > "+data+"/g", "x")
	if _, err := os.Stat(filepath.Join(volume, "g")); !os.IsNotExist(err) {
		t.Errorf("g: %v, want it not to come back", err)
	}
}

// swap changes a ConfigMap's files as the kubelet does.
func (p *pod) swap(dir, version, content string) {
	p.t.Helper()
	p.write(filepath.Join(dir, ".."+version, "key"), content)
	p.must(os.Symlink(".."+version, filepath.Join(dir, "..data_tmp")))
	p.must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	if _, err := os.Lstat(filepath.Join(dir, "key")); err != nil {
		p.must(os.Symlink("..data/key", filepath.Join(dir, "key")))
	}
}

func TestAConfigMapThatChangesDuringTheRun(t *testing.T) {
	p := newPod(t)
	conf := p.at("conf")
	v := view("v0", conf)
	v.Up, v.Live = true, true
	c := p.container("main", v)
	volume := c.mount("conf", conf)
	p.swap(volume, "1", "one")
	run := c.start("/bin/sh", "-c", "cd "+conf+"; cat key; echo; while [ \"$(cat key 2>/dev/null)\" != two ]; do sleep 0.1; done; cat key")
	run.await("one\n")
	p.swap(volume, "2", "two")
	p.must(os.RemoveAll(filepath.Join(volume, "..1")))
	if got := run.end(); got != (result{0, "one\ntwo", ""}) {
		t.Errorf("%+v", got)
	}
}

func TestContainersThatRunAtOnceShareAView(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	one, two := p.container("one", view("v0", ws)), p.container("two", view("v0", ws))
	volume := one.mount("ws", ws)
	two.mount("ws", ws)
	p.write(filepath.Join(volume, "f"), "x")
	cd := "cd " + ws + "; "
	a := one.start("/bin/sh", "-c", cd+"echo a > a; echo ready; while [ ! -e go ]; do sleep 0.05; done; cat f b; echo; rm f")
	a.await("ready")
	b := two.start("/bin/sh", "-c", cd+"cat f a; echo b > b; touch go")
	if got := b.end(); got != (result{0, "xa\n", ""}) {
		t.Errorf("two: %+v", got)
	}
	if got := a.end(); got != (result{0, "ready\nxb\n\n", ""}) {
		t.Errorf("one: %+v", got)
	}
	names, err := filepath.Glob(filepath.Join(volume, "*"))
	p.must(err)
	if got := strings.ReplaceAll(strings.Join(names, " "), volume+"/", ""); got != "a b go" {
		t.Errorf("in the volume: %s", got)
	}
}

func TestWhatIsLeftOutStaysHere(t *testing.T) {
	p := newPod(t)
	ws := p.at("workspace")
	v := view("v0", ws)
	v.Exclude = []string{"/" + strings.TrimPrefix(ws, "/") + "/big"}
	c := p.container("main", v)
	volume := c.mount("ws", ws)
	p.write(filepath.Join(volume, "big/f"), "x")
	c.want("ls "+ws+"; mkdir "+ws+"/big; echo y > "+ws+"/big/g", "")
	if _, err := os.Stat(filepath.Join(volume, "big/g")); !os.IsNotExist(err) {
		t.Errorf("big/g: %v, want it not to come back", err)
	}
}

func TestAPathThatTheMachineHas(t *testing.T) {
	p := newPod(t)
	c := p.container("main", view("v0", "/usr/lib"))
	c.mount("lib", "/usr/lib")
	got := c.sh("true")
	if got.code != 125 || !strings.Contains(got.errs, "/usr/lib") || !strings.Contains(got.errs, "outrigger.dev/sync.") {
		t.Errorf("%+v, want a fault that names the path and what to do", got)
	}
	tmp := p.container("tmp", view("v1", "/tmp"))
	tmp.mount("tmp", "/tmp")
	tmp.want("true", "")
}

// One volume that is mounted more than once is one set of files on the machine too.
func TestAVolumeThatIsMountedTwice(t *testing.T) {
	p := newPod(t)
	source, cache, shared, inner := p.at("source"), p.at("cache"), p.at("shared"), p.at("source/inner")
	c := p.container("main", view("v0", source))
	c.env = []string{"KIND=cache"}
	c.plan.Views[0].Exclude = []string{inner} // as all mount paths inside of another one
	c.plan.Same = []handoff.Same{
		{Path: cache, To: source + "/$(KIND)", Expr: true}, {Path: inner, To: source + "/deep/er"}, {Path: shared, To: source},
	}
	volume := c.mount("claim", source)
	c.mkdir("volume-claim/cache")
	c.mkdir("volume-claim/deep/er")
	p.write(filepath.Join(volume, "cache/old"), "old")
	for at, part := range map[string]string{cache: "cache", shared: "", inner: "deep/er"} {
		c.bind(filepath.Join(volume, part), at)
	}
	script := "cat " + cache + "/old; echo 1 > " + shared + "/a; cat " + source + "/a; echo 2 > " + source + "/cache/b; cat " + cache + "/b; " +
		"echo 3 > " + inner + "/c; cat " + shared + "/deep/er/c; cd " + cache + " && pwd -L"
	c.want(script, "old1\n2\n3\n"+cache+"\n")
	for name, want := range map[string]string{"a": "1\n", "cache/b": "2\n", "deep/er/c": "3\n"} {
		if got := p.read(filepath.Join(volume, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// Again, with what is there by now.
	c.plan.WorkDir = cache
	c.want("rm b; ls "+shared+"/cache; ls "+inner, "old\nc\n")
	if _, err := os.Stat(filepath.Join(volume, "cache/b")); !os.IsNotExist(err) {
		t.Errorf("cache/b: %v, want it to be gone", err)
	}
}

// What cannot come back is told to the claim, by the termination message, and in the log's last lines.
func TestResultsThatDoNotComeBack(t *testing.T) {
	p := newPod(t)
	ws, log := p.at("workspace"), p.at("termination-log")
	c := p.container("main", view("v0", ws))
	volume := c.mount("ws", ws)
	c.plan.TerminationLog = log
	source := filepath.Join(p.mkdir("files"), "log")
	p.write(source, "")
	c.file(source, log)
	run := c.start("/bin/sh", "-c", "cd "+ws+"; echo ready; while [ ! -e stop ]; do sleep 0.05; done; echo out > out; echo mine > "+log)
	run.await("ready")
	// Nothing can be written here any more.
	p.must(syscall.Mount("", filepath.Join(c.root, ws), "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	c.machine("touch " + ws + "/stop")
	got := run.end()
	if got.code != 125 || !strings.Contains(got.errs, "the command ended with exit code 0, but ") {
		t.Errorf("%+v", got)
	}
	if strings.Count(got.errs, "outrigger fetch --claim claim -n ns") != 1 {
		t.Errorf("the log says %q", got.errs)
	}
	if got := p.read(source); !strings.HasPrefix(got, "mine\n") || !strings.Contains(got, "\n"+handoff.ResultsLeft+": ") {
		t.Errorf("the termination message is %q", got)
	}
	if _, err := os.Stat(filepath.Join(volume, "out")); err == nil {
		t.Error("out came back")
	}
}
