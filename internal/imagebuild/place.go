package imagebuild

import (
	"fmt"
	"strings"

	"outrigger.dev/outrigger/internal/parcel"
)

// A placing brings the recipe's files from the build's folder to where they belong.
type placing struct {
	files []parcel.Content
	argv  []string
}

// placing makes one for the machine. Each file is written beside its place and renamed.
func (v *visit) placing(r Recipe) placing {
	var p placing
	var text strings.Builder
	text.WriteString(placeUnix)
	name := "place.sh"
	p.argv = []string{"sh", v.dir + "/" + name}
	if v.windows() {
		text.Reset()
		text.WriteString(placeWindows)
		name = "place.ps1"
		p.argv = []string{"powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", v.dir + "/" + name}
	}
	for i, f := range r.sorted() {
		staged := fmt.Sprintf("file%d", i)
		p.files = append(p.files, parcel.Content{Name: staged, Mode: 0o600, Data: f.Content})
		if v.windows() {
			fmt.Fprintf(&text, "Place %s %s\n", psQuote(v.dir+"/"+staged), psQuote(f.Path))
		} else {
			fmt.Fprintf(&text, "place %s %s %o\n", quote(v.dir+"/"+staged), homeQuote(f.Path), f.Mode.Perm())
		}
	}
	if len(r.Files) > 0 {
		p.files = append(p.files, parcel.Content{Name: name, Mode: 0o700, Data: []byte(text.String())})
	}
	return p
}

const placeUnix = `set -e
place() {
	if [ -d "$2" ]; then echo "$2: is a folder" >&2; exit 1; fi
	mkdir -p -- "$(dirname -- "$2")"
	cp -- "$1" "$2.outrigger"
	chmod "$3" "$2.outrigger" || { rm -f -- "$2.outrigger"; exit 1; }
	mv -f -- "$2.outrigger" "$2"
}
`

const placeWindows = `$ErrorActionPreference = 'Stop'
function Place([string]$From, [string]$To) {
	if ($To.StartsWith('~/')) { $To = Join-Path $HOME $To.Substring(2) }
	if (Test-Path -PathType Container -LiteralPath $To) { throw "${To}: is a folder" }
	$null = New-Item -ItemType Directory -Force -Path (Split-Path -Parent $To)
	Copy-Item -Force -LiteralPath $From -Destination $To
}
`

// quote quotes s for a Unix shell, homeQuote a path that may begin with "~/".
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func homeQuote(p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		return `"$HOME"/` + quote(rest)
	}
	return quote(p)
}

// psQuote quotes s for PowerShell.
func psQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
