package qemu

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
)

// An origin is where this computer gets its Debian packages from. Images are
// made of the same release from the same places.
type origin struct {
	release string   // "bookworm"
	sources []string // lines of sources.list(5)
	options []string // of apt, such as its proxy
}

const (
	osRelease     = "/etc/os-release"
	debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// targetFormat makes apt list its sources, one a line.
	targetFormat = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
)

// thisOrigin asks apt.
func thisOrigin(ctx context.Context) (origin, error) {
	b, err := os.ReadFile(osRelease)
	if err != nil {
		return origin{}, localFile(err)
	}
	o := origin{release: debianRelease(b)}
	if o.release == "" {
		return o, fault.New(fault.ProviderRefused, "qemu: the image is built from Debian packages, this computer runs something else").
			WithRemedy("Build it on a Debian computer.")
	}
	targets, err := ask(ctx, "apt-get", "indextargets", "--format", targetFormat, "Created-By: Packages")
	if err != nil {
		return o, err
	}
	keyring := ""
	if _, err := os.Stat(debianKeyring); err == nil {
		keyring = debianKeyring
	}
	o.sources = sourceLines(targets, o.release, keyring)
	if len(o.sources) == 0 {
		return o, fault.New(fault.ProviderRefused, "qemu: apt knows no source of Debian %s main", o.release).
			WithRemedy("Add one to /etc/apt/sources.list, then: apt-get update")
	}
	settings, err := ask(ctx, "apt-config", "dump", "Acquire")
	if err != nil {
		return o, err
	}
	o.options = transportOptions(settings)
	return o, nil
}

// debianRelease returns the code name in os-release(5) of a Debian system, else "".
func debianRelease(osRelease []byte) string {
	is, name := false, ""
	for line := range strings.Lines(string(osRelease)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			is = value == "debian"
		case "VERSION_CODENAME":
			name = value
		}
	}
	if !is {
		return ""
	}
	return name
}

// sourceLines picks from apt's list what is Debian's own. A source that apt
// has not looked at yet has no origin; it counts by its names.
func sourceLines(targets []byte, release, keyring string) []string {
	var lines []string
	for line := range strings.Lines(string(targets)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 4 || (f[0] != "Debian" && f[0] != "$(ORIGIN)") || f[2] != "main" {
			continue
		}
		if suite := strings.TrimPrefix(f[1], release); suite != "" && suite != "-updates" && suite != "-security" {
			continue
		}
		option := ""
		if keyring != "" {
			option = `[signed-by="` + keyring + `"] `
		}
		source := "deb " + option + f[3] + " " + f[1] + " " + f[2]
		if !slices.Contains(lines, source) {
			lines = append(lines, source)
		}
	}
	return lines
}

// transport matches the settings that say how this computer reaches its sources.
var transport = regexp.MustCompile(`^Acquire::((https?|ftp)::Proxy|Check-(Valid-Until|Date)|Retries)\b.* ".+";$`)

func transportOptions(settings []byte) []string {
	var options []string
	s := bufio.NewScanner(bytes.NewReader(settings))
	for s.Scan() {
		if transport.MatchString(s.Text()) {
			options = append(options, s.Text())
		}
	}
	return options
}

// ask runs a program for what it prints.
func ask(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fault.New(fault.ProviderRefused, "qemu: %s: %w", name, err).WithDetail(lastLines(said.Bytes(), maxTail))
	}
	return out, nil
}
