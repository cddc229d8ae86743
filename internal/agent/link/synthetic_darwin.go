package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// synthetic.conf(5): a line is a name of the root folder, a tab, and where it leads, without its first slash.
const synthesisFile = "/etc/synthetic.conf"

// apfsUtil makes new entries without a restart.
const apfsUtil = "/System/Library/Filesystems/apfs.fs/Contents/Resources/apfs.util"

func synthetic() (map[string]string, error) {
	b, err := os.ReadFile(synthesisFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if name, target, ok := strings.Cut(lines.Text(), "\t"); ok && !strings.HasPrefix(name, "#") {
			entries[name] = "/" + strings.TrimPrefix(target, "/")
		}
	}
	return entries, nil
}

func addSynthetic(ctx context.Context, name, target string, asSudo bool) error {
	const script = `umask 022; printf "%s\t%s\n" "$1" "$2" >>"$3" && "$4" -t`
	argv := []string{"/bin/sh", "-c", script, "sh", name, strings.TrimPrefix(target, "/"), synthesisFile, apfsUtil}
	if asSudo {
		return sudo(ctx, argv...)
	}
	return exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
}
