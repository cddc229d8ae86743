package docs

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"outrigger.dev/outrigger/internal/cli"
	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/term"
)

// shown finds command lines of ours: behind a prompt, alone in a block, or as
// an inline span.
var shown = regexp.MustCompile("(?m)^(?:\\$ |.*\\| )?(outrigger [^\n]*)$|`(outrigger [^`\n]*)`")

// TestShownCommandsExist: whoever copies a command from the documentation must not
// hear that there is no such flag.
func TestShownCommandsExist(t *testing.T) {
	seen := 0
	for _, file := range markdown(t) {
		for _, m := range shown.FindAllStringSubmatch(read(t, file), -1) {
			line := m[1] + m[2]
			words := shellWords(line)
			if len(words) < 2 || strings.HasPrefix(words[1], "…") {
				continue
			}
			seen++
			if err := parses(words[1:]); err != nil {
				t.Errorf("%s: %s: %v", file, line, err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands found in the documentation: the test looks at the wrong places", seen)
	}
}

// parses finds the command and reads its flags, and does nothing.
func parses(args []string) error {
	root := cli.New(app.New(&term.IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Now: time.Now}))
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0 {
		return unknown(cmd, cmd.Flags().Arg(0))
	}
	return nil
}

type unknownError string

func (e unknownError) Error() string { return string(e) }

func unknown(cmd *cobra.Command, name string) error {
	return unknownError(cmd.CommandPath() + " has no command " + name)
}

// shellWords splits as a shell does, as far as the documentation goes: quotes, and
// an end at a comment, a pipe, a redirection or the next command.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	inWord := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(";|<>&", r), r == '#' && !inWord:
			if inWord {
				words = append(words, word.String())
			}
			return words
		case r == ' ':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
