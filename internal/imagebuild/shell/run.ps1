# Run as powershell -File THIS SCRIPT TRACE: carries out SCRIPT, with the line that failed
# written to TRACE. An error that nobody catches ends it; the exit code of a program is the
# script's only where the script says so, or where it is the last.
param([string]$Script, [string]$Trace)
$ErrorActionPreference = 'Stop'
$global:LASTEXITCODE = 0
try {
	& $Script
	$code = $LASTEXITCODE
} catch {
	$at = $_.InvocationInfo
	$line = [string]$at.Line
	$us = [string][char]0x1f
	$record = 'fail' + $us + '1' + $us + '0' + $us + 'e' + $us + $line.Trim() + $us + $at.ScriptName + ':' + $at.ScriptLineNumber + $us + 'run.ps1:0' + [string][char]0x1e
	[IO.File]::AppendAllText($Trace, $record)
	[Console]::Error.WriteLine(($_ | Out-String).TrimEnd())
	$code = 1
}
exit $code
