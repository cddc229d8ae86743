package imagebuild

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"outrigger.dev/outrigger/internal/sanitize"
)

// maxTrace bounds what is read of a trace, from its end.
const maxTrace = 64 << 10

// A record is one thing that a helper has written down: a command that failed, or an exit.
type record struct {
	exit    bool // the script called exit
	code    int
	depth   int  // of subshells
	fatal   bool // -e was on
	command string
	way     []place // innermost first; the last is the helper's own
}

// A place is a line of a file.
type place struct {
	file string
	line int
}

const (
	recordEnd = "\x1e"
	fieldEnd  = "\x1f"
)

// parseTrace reads what the helpers have written; what is no record is left out, since a script
// may write there too.
func parseTrace(b []byte) []record {
	var all []record
	for text := range strings.SplitSeq(string(b), recordEnd) {
		f := strings.Split(text, fieldEnd)
		if len(f) < 6 || f[0] != "fail" && f[0] != "exit" {
			continue
		}
		code, cerr := strconv.Atoi(f[1])
		depth, derr := strconv.Atoi(f[2])
		if cerr != nil || derr != nil {
			continue
		}
		r := record{exit: f[0] == "exit", code: code & 0xff, depth: depth, fatal: strings.Contains(f[3], "e"), command: f[4]}
		for _, w := range f[5:] {
			if at := strings.LastIndexByte(w, ':'); at >= 0 {
				line, _ := strconv.Atoi(w[at+1:]) // a shell that knows no lines says none
				r.way = append(r.way, place{slashed(w[:at]), line})
			}
		}
		all = append(all, r)
	}
	return all
}

// slashed is a path with a drive in the form that we name it in.
func slashed(p string) string {
	if len(p) > 1 && p[1] == ':' {
		return strings.ReplaceAll(p, `\`, "/")
	}
	return p
}

// in returns the places of a record that are in the script or in files that it reads,
// innermost first. Helpers are at the end of the way, and between a call of exit and its place.
func (r record) in(script string) []place {
	if len(r.way) == 0 {
		return nil
	}
	var in []place
	for _, p := range r.way[:len(r.way)-1] {
		if p.line > 0 && (p.file == script || path.Dir(p.file) != path.Dir(script)) {
			in = append(in, p)
		}
	}
	return in
}

// decide finds the record of what ended the script with this code.
func decide(all []record, script string, code int) (record, bool) {
	at := -1
	for i, r := range all {
		if r.code != code {
			continue
		}
		if r.fatal && r.depth == 0 && !r.exit {
			at = i
			break // here it ended; what follows is of its trap for the end
		}
		if len(r.in(script)) > 0 {
			at = i
		}
	}
	if at < 0 {
		return record{}, false
	}
	// What ended a subshell ended the command that the subshell was of: the inner line says more.
	if r := all[at]; len(r.in(script)) == 0 || hasSubshell(r.command) || r.command == "" {
		for at > 0 && all[at-1].depth > all[at].depth && all[at-1].code == code && (all[at-1].exit || all[at-1].fatal) {
			at--
		}
	}
	return all[at], len(all[at].in(script)) > 0
}

func hasSubshell(command string) bool { return strings.ContainsAny(command, "(`") }

// blame says which line of the script it was that ended with this code. script is the
// script's path on the machine, as its interpreter names it.
func blame(trace []byte, script string, source []byte, code int, tail string) *ScriptError {
	e := &ScriptError{ExitCode: code, Tail: tail}
	lines := strings.Split(string(source), "\n")
	r, ok := decide(parseTrace(trace), script, code)
	if !ok {
		e.Line = lineInOutput(tail, script, len(lines))
		e.Command = textAt(lines, e.Line)
		return e
	}
	in := r.in(script)
	e.Command = oneLine(r.command)
	for i, p := range in {
		if p.file != script || p.line > len(lines) {
			continue
		}
		e.Line = refine(lines, p.line, r.command)
		if i > 0 { // in a file that this line reads
			e.Inside = path.Base(in[0].file) + ":" + strconv.Itoa(in[0].line)
			if e.Command != "" {
				e.Inside += ": " + e.Command
			}
			e.Line, e.Command = p.line, textAt(lines, p.line)
		} else if callers := in[1:]; len(callers) > 0 && callers[0].file == script {
			e.Inside = "called from line " + strconv.Itoa(callers[len(callers)-1].line)
		}
		break
	}
	if e.Command == "" {
		e.Command = textAt(lines, e.Line)
	}
	return e
}

// refine corrects a line that a shell has told nearly right. Of a command over several lines
// some tell the last; bash 3.2, which macOS has, tells where the function begins that
// it is in.
func refine(lines []string, line int, command string) int {
	text, _, _ := strings.Cut(command, "\n")
	text = strings.TrimSpace(text)
	word, _, _ := strings.Cut(text, " ")
	if word == "" || strings.Contains(lines[line-1], word) {
		return begin(lines, line)
	}
	if first := begin(lines, line); strings.Contains(lines[first-1], word) {
		return first
	}
	for _, want := range []string{text, word} {
		for i := line; i < len(lines); i++ {
			if strings.HasPrefix(strings.TrimSpace(lines[i]), want) {
				return i + 1
			}
		}
	}
	return line
}

// begin goes up to where the command of a line begins that is continued with backslashes.
func begin(lines []string, line int) int {
	for line > 1 && strings.HasSuffix(lines[line-2], `\`) {
		line--
	}
	return line
}

// Shown of a command, in characters.
const maxCommand = 120

// textAt is the text of a line, 0 for none.
func textAt(lines []string, line int) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	return oneLine(lines[line-1])
}

// oneLine makes a command fit a message.
func oneLine(s string) string {
	return sanitize.Words(s, maxCommand)
}

// lineInOutput finds what interpreters themselves say of a line: bash "FILE: line 3: …", dash
// "FILE: 3: …", zsh "FILE:3: …", Python `File "FILE", line 3`, Perl "at FILE line 3.". The last counts.
func lineInOutput(tail, script string, lines int) int {
	says := regexp.MustCompile(regexp.QuoteMeta(script) + `(?:", line |: line |:| line |: )(\d+)`)
	all := says.FindAllStringSubmatch(tail, -1)
	if len(all) == 0 {
		return 0
	}
	line, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil || line > lines {
		return 0
	}
	return line
}
