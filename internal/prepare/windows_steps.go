package prepare

import (
	"fmt"
	"strings"
)

// quotePS quotes s for PowerShell.
func quotePS(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// keyFileWindows sets $f to the file that OpenSSH for Windows reads: one for all
// administrators, since a member of that group is not asked for a file of its own.
const keyFileWindows = `$admin = ([Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()).IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
$f = if ($admin) { "$env:ProgramData\ssh\administrators_authorized_keys" } else { "$env:USERPROFILE\.ssh\authorized_keys" }
`

func lookKeyWindows(w Want, _ Power) Script {
	return Script{Text: fmt.Sprintf(keyFileWindows+`$line = %s; $mark = %s
if (Test-Path $f) { $all = @(Get-Content $f); if ($all -contains $line) { 'here=yes' }; 'stale=' + @($all | Where-Object { $_.EndsWith($mark) -and $_ -ne $line }).Count }
`, quotePS(keyLine(w)), quotePS(" "+mark(w)))}
}

// withKeysWindows writes the lines of authorized_keys without ours, and more. It also lets only SYSTEM
// and administrators at their file, else sshd ignores it.
func withKeysWindows(w Want, more string) Script {
	return Script{Text: fmt.Sprintf(keyFileWindows+`$line = %s; $mark = %s
New-Item -ItemType Directory -Force (Split-Path $f) | Out-Null
$all = @(if (Test-Path $f) { Get-Content $f | Where-Object { -not $_.EndsWith($mark) } })%s
[IO.File]::WriteAllLines($f, [string[]]$all)
if ($admin) { icacls $f /inheritance:r /grant '*S-1-5-32-544:F' /grant '*S-1-5-18:F' | Out-Null }
`, quotePS(keyLine(w)), quotePS(" "+mark(w)), more)}
}

func addKeyWindows(w Want, _ Seen) Script { return withKeysWindows(w, " + $line") }

func removeKeyWindows(w Want, _ Power) Script { return withKeysWindows(w, "") }

func lookDiskWindows(Want, Power) Script {
	return Script{Text: "'free=' + [math]::Floor((Get-PSDrive $env:SystemDrive[0]).Free / 1024)\n"}
}

func lookClockWindows(Want, Power) Script {
	return Script{Text: "'now=' + [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()\n"}
}

// setClockWindows asks the time service, and sets the clock itself where that has
// nobody to ask.
func setClockWindows(_ Want, s Seen) Script {
	return Script{Text: fmt.Sprintf(`w32tm /resync /force | Out-Null
if ($LASTEXITCODE -ne 0) { Set-Date ([DateTimeOffset]::FromUnixTimeSeconds(%d).LocalDateTime) | Out-Null }
`, s.Ended.Unix())}
}
