//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// toolsImage is the image with what tests and Tekton's examples call: the same files
// as those of the machines, so that a program is the same here and there.
const toolsImage = "registry.local/tools:1"

// toolPackages are the Debian packages in it. Without the last line it would be
// a computer without a way in.
var toolPackages = []string{
	"bash", "busybox", "ca-certificates", "coreutils", "curl", "file", "findutils", "git", "jq", "netcat-openbsd", "nodejs", "perl-base", "procps",
	"python3", "rsync", "xxd",
	"iproute2", "openssh-client", "openssh-server", "sudo",
}

// customize makes of the packages what images of the examples are: Alpine's shell
// is called ash, and its sh, like that of the image bash, knows "==". Besides root there is a user as on a Mac: one who may become root.
const customize = `ln -s /bin/busybox "$1/bin/ash"; ln -sf bash "$1/bin/sh"; rm -f "$1"/etc/ssh/ssh_host_*
chroot "$1" useradd --create-home --shell /bin/bash --uid 1000 --password "*" runner
echo "runner ALL=(ALL) NOPASSWD: ALL" > "$1/etc/sudoers.d/runner"`

// toolFiles returns a tar of the file system, made once: a minute.
func (b *bed) toolFiles(ctx context.Context) (string, error) {
	recipe := strings.Join(toolPackages, ",") + customize
	file := filepath.Join(b.cache, fmt.Sprintf("tools-%.6x.tar", sha256.Sum256([]byte(recipe))))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	b.say("making the file system of machines and tools with mmdebstrap, a minute, once")
	draft := file + ".draft"
	args := []string{"--variant=minbase", "--mode=root", "--format=tar", "--quiet", "--include=" + strings.Join(toolPackages, ","),
		"--dpkgopt=force-unsafe-io", "--aptopt=Apt::Install-Recommends \"false\"", "--customize-hook=" + customize}
	for _, dir := range []string{"doc", "man", "locale", "info"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+dir+"/*")
	}
	if _, err := command(ctx, "mmdebstrap", append(args, "bookworm", draft)...); err != nil {
		return "", errors.Join(err, os.RemoveAll(draft))
	}
	return file, os.Rename(draft, file)
}
