package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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

// addSynthetic adds an entry and has it made. What apfs.util answers says nothing:
// it ends with an error although it has made the links (seen by several installers
// on macOS 11 and later). So the link itself is looked at.
func addSynthetic(ctx context.Context, name, target string, asSudo bool) error {
	const script = `umask 022; printf "%s\t%s\n" "$1" "$2" >>"$3" || exit 1; "$4" -t; exit 0`
	argv := []string{"/bin/sh", "-c", script, "sh", name, strings.TrimPrefix(target, "/"), synthesisFile, apfsUtil}
	var err error
	if asSudo {
		err = sudo(ctx, argv...)
	} else {
		err = exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
	}
	if err != nil {
		return err
	}
	if _, err := os.Lstat("/" + name); err != nil {
		return fmt.Errorf("%s names /%s now, and %s did not make it: a restart does: %w", synthesisFile, name, apfsUtil, err)
	}
	return nil
}
