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

// step makes the container of a Tekton step as the webhook plans it. The
// machine's login may not become root, so paths are replaced.
func (p *pod) step(name string) *container {
	p.t.Helper()
	c := p.container(name, view("v0", "/workspace", "/tekton/results", "/tekton/steps", "/tekton/home"), view("creds-"+name, "/tekton/creds"))
	scripts := view("v1", "/tekton/scripts")
	scripts.Up = true
	c.plan.Views, c.plan.Tekton = append(c.plan.Views, scripts), true
	for volume, path := range map[string]string{"ws": "/workspace", "results": "/tekton/results", "steps": "/tekton/steps", "home": "/tekton/home", "scripts": "/tekton/scripts", "creds-" + name: "/tekton/creds"} {
		c.mount(volume, path)
	}
	return c
}

func (c *container) script(name, text string) string {
	path := filepath.Join(c.dirOf("scripts"), name)
	c.write(path, text)
	c.must(os.Chmod(path, 0o755))
	return "/tekton/scripts/" + name
}

func (c *container) dirOf(volume string) string { return filepath.Join(c.pod.dir, "volume-"+volume) }

func TestTektonsStepsWhereRootIsNotToBeHad(t *testing.T) {
	p := newPod(t)
	one := p.step("step-one")
	got := one.run(one.script("one", "#!/bin/sh\necho -n value > /tekton/results/r; mkdir -p /tekton/steps/step-one/results; echo x > /tekton/steps/step-one/results/s; echo $1 > /workspace/f\n"), "arg")
	if got.code != 0 || got.out != "" || strings.Count(got.errs, "outrigger: ") != 1 || !strings.Contains(got.errs, "replaced") {
		t.Errorf("%+v, want one line that says what is done about the paths", got)
	}
	for name, want := range map[string]string{"results/r": "value", "steps/step-one/results/s": "x\n", "ws/f": "arg\n"} {
		if got := p.read(filepath.Join(p.dir, "volume-"+name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	two := p.step("step-two")
	if got := two.run(two.script("two", "#!/bin/sh\ncat /workspace/f /tekton/results/r; ls /tekton\n")); got != (result{0, "arg\nvaluecreds\nhome\nresults\nscripts\nsteps\n", ""}) {
		t.Errorf("%+v", got)
	}
}

// A step's results and artifacts are behind a link in /tekton/steps; later steps find
// them and its exit code there, read-only.
func TestWhatStepsSayOfThemselves(t *testing.T) {
	p := newPod(t)
	step := func(name string, own int) *container {
		c := p.step(name)
		c.plan.Views[0].Mounts = append(c.plan.Views[0].Mounts,
			handoff.Mount{Path: "/tekton/run/0/status"}, handoff.Mount{Path: "/tekton/run/1/status"})
		for i, step := range []string{"one", "two"} {
			c.mount("run-"+itoa(i), "/tekton/run/"+itoa(i))
			link := filepath.Join(c.dirOf("steps"), "step-"+step)
			if err := os.Symlink("/tekton/run/"+itoa(i)+"/status", link); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
			if i != own {
				p.must(syscall.Mount("", filepath.Join(c.root, "tekton/run", itoa(i)), "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
			}
		}
		// What Tekton's entrypoint does before it executes the step.
		p.mkdir("volume-run-" + itoa(own) + "/status/results")
		p.write(filepath.Join(c.dirOf("run-"+itoa(own)), "out"), "not the step's")
		return c
	}
	one := step("step-one", 0)
	if got := one.run(one.script("one", "#!/bin/sh\necho value > /tekton/steps/step-one/results/r; ls /tekton/run/0\n")); got.code != 0 || got.out != "status\n" {
		t.Errorf("%+v", got)
	}
	if got := p.read(filepath.Join(one.dirOf("run-0"), "status/results/r")); got != "value\n" {
		t.Errorf("the result is %q", got)
	}
	p.write(filepath.Join(one.dirOf("run-0"), "status/exitCode"), "0")
	p.write(filepath.Join(one.dirOf("run-0"), "status/artifacts/provenance.json"),
		`{"outputs":[{"name":"image","values":[{"uri":"pkg:a/b","digest":{"sha256":"0815"}}]}]}`)
	two := step("step-two", 1)
	if got := two.run(two.script("two", "#!/bin/sh\ncat /tekton/steps/step-one/exitCode /tekton/steps/step-one/results/r; echo mine > /tekton/steps/step-two/results/s\n")); got != (result{0, "0value\n", ""}) {
		t.Errorf("%+v", got)
	}
	// Tekton's entrypoint would put an artifact's values there, were the script what it executes.
	got := two.run(two.script("three", "#!/bin/sh\necho '$(steps.one.outputs.image)'\n"))
	if got != (result{0, `[{"digest":{"sha256":"0815"},"uri":"pkg:a/b"}]` + "\n", ""}) {
		t.Errorf("%+v", got)
	}
	if got := two.run(two.script("four", "#!/bin/sh\necho '$(steps.one.inputs.image)'\n")); got.out != "$(steps.one.inputs.image)\n" || !strings.Contains(got.errs, "no artifact") {
		t.Errorf("%+v", got)
	}
	if got := p.read(filepath.Join(two.dirOf("run-1"), "status/results/s")); got != "mine\n" {
		t.Errorf("the second result is %q", got)
	}
}

func TestTektonsCredentialsAreInEffectOnTheMachine(t *testing.T) {
	p := newPod(t)
	p.write(filepath.Join(p.server.Home, ".ssh/known_hosts"), "its own\n")
	p.must(os.Chmod(filepath.Join(p.server.Home, ".ssh"), 0o777)) // the login's, as all of its home
	for _, name := range []string{"step-one", "step-two"} {
		c := p.step(name)
		for file, content := range map[string]string{".gitconfig": "[user]\n\tname = " + name + "\n", ".docker/config.json": "{}", ".ssh/id_rsa": "key", ".ssh/known_hosts": "ours"} {
			p.write(filepath.Join(c.dirOf("creds-"+name), file), content)
		}
		got := c.sh("cat ~/.gitconfig ~/.docker/config.json ~/.ssh/id_rsa ~/.ssh/known_hosts")
		if want := "[user]\n\tname = " + name + "\n{}keyits own\n"; got.code != 0 || got.out != want {
			t.Errorf("%s: %+v, want %q", name, got, want)
		}
		if said := strings.Contains(got.errs, "its own ~/.ssh/known_hosts"); said != (name == "step-one") {
			t.Errorf("%s: %q, want it to be said once", name, got.errs)
		}
	}
	p.release()
	for file, there := range map[string]bool{".gitconfig": false, ".docker": false, ".ssh/id_rsa": false, ".ssh/known_hosts": true} {
		if _, err := os.Lstat(filepath.Join(p.server.Home, file)); (err == nil) != there {
			t.Errorf("~/%s after the release: %v", file, err)
		}
	}
}

func TestTheNextStepEndsWhatAKilledOneLeft(t *testing.T) {
	p := newPod(t)
	one := p.step("step-one")
	run := one.start("/bin/sh", "-c", "echo $$; exec sleep 600")
	run.await("\n")
	out, _ := run.said()
	pid := strings.TrimSpace(out)
	run.signal(syscall.SIGKILL)
	run.end()
	if got := p.step("step-two").sh("true"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	await(t, "the end of the first step's process", func() bool {
		_, err := os.Stat("/proc/" + pid)
		return os.IsNotExist(err)
	})
}
