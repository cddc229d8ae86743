package imagebuild_test

import (
	"strings"
	"testing"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/imagebuild"
	"outrigger.dev/outrigger/internal/machine"
)

func recipe(change ...func(*imagebuild.Recipe)) imagebuild.Recipe {
	r := imagebuild.Recipe{
		Base: "base", Script: []byte("true\n"),
		Files: []imagebuild.File{{Path: "/a", Mode: 0o644, Content: []byte("x")}, {Path: "/b", Mode: 0o755, Content: []byte("y")}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func TestAnImageIsNamedByAllThatGoesIn(t *testing.T) {
	name := recipe().Name("tools")
	if got := recipe(func(r *imagebuild.Recipe) { r.Files[0], r.Files[1] = r.Files[1], r.Files[0] }).Name("tools"); got != name {
		t.Errorf("the order of files makes another image: %s and %s", got, name)
	}
	seen := map[string]string{name: "the first"}
	for what, change := range map[string]func(*imagebuild.Recipe){
		"base":                            func(r *imagebuild.Recipe) { r.Base = "other" },
		"base that was made anew":         func(r *imagebuild.Recipe) { r.BaseID = "2026" },
		"script":                          func(r *imagebuild.Recipe) { r.Script = []byte("true\n\n") },
		"shell":                           func(r *imagebuild.Recipe) { r.Shell = "zsh" },
		"path":                            func(r *imagebuild.Recipe) { r.Files[0].Path = "/c" },
		"mode":                            func(r *imagebuild.Recipe) { r.Files[0].Mode = 0o755 },
		"content":                         func(r *imagebuild.Recipe) { r.Files[0].Content = []byte("z") },
		"no files":                        func(r *imagebuild.Recipe) { r.Files = nil },
		"texts that are parted elsewhere": func(r *imagebuild.Recipe) { r.Base, r.BaseID = "bas", "e" },
	} {
		got := recipe(change).Name("tools")
		if before, taken := seen[got]; taken {
			t.Errorf("%s: the image of %s", what, before)
		}
		seen[got] = what
	}
}

func TestNamesThatEveryProviderTakes(t *testing.T) {
	for _, prefix := range []string{"tools", "", "Xcode 16.2", "9lives", "--", strings.Repeat("x", 200), "a." + strings.Repeat("-", 60), "größe"} {
		name := recipe().Name(prefix)
		if _, err := machine.ParseName(name); err != nil || name[0] < 'a' || name[0] > 'z' {
			t.Errorf("%q: %q, %v", prefix, name, err)
		}
	}
	for _, good := range []string{"a", "xcode-16", strings.Repeat("x", 50)} {
		if err := imagebuild.CheckPrefix(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "Xcode", "a_b", "9a", "a-", "a/b", strings.Repeat("x", 51)} {
		if err := imagebuild.CheckPrefix(bad); !fault.Is(err, fault.Usage) {
			t.Errorf("%q: got %v, want Usage", bad, err)
		}
	}
}

func TestWhatIsWrongWithARecipe(t *testing.T) {
	file := func(path string) func(*imagebuild.Recipe) {
		return func(r *imagebuild.Recipe) { r.Files[0].Path = path }
	}
	for _, ok := range []string{"/usr/local/bin/x", "~/x", "~/a/b", "C:/x"} {
		if err := recipe(file(ok)).Check(); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "x", "./x", "/", "~/", "~", "~/../x", "/a/../b", "/a//b", "/a/", `/a\b`, "/a\x00", "/b", "C:x", "/a\nb"} {
		if err := recipe(file(bad)).Check(); !fault.Is(err, fault.Usage) {
			t.Errorf("%q: got %v, want Usage", bad, err)
		}
	}
	for _, bad := range []string{"", " \n\t", "a\x00b", strings.Repeat("#", imagebuild.MaxScript+1)} {
		if err := recipe(func(r *imagebuild.Recipe) { r.Script = []byte(bad) }).Check(); !fault.Is(err, fault.BadScript) {
			t.Errorf("script %.10q: got %v, want BadScript", bad, err)
		}
	}
}
